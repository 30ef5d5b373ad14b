"""How translation refuses a request. gateway/http/errors.py alone turns it into an answer."""


class InvalidRequest(Exception):
    """The request's own fault: a 400 whose envelope carries `param` and `code`.

    `message` goes to the client: it may name parameters and limits, and must not repeat long input.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def unsupported(param: str, message: str = "") -> InvalidRequest:
    """A parameter that the API knows and this server or model does not honour."""
    text = message or f"'{param}' is not supported by this server."
    return InvalidRequest(text, param, "unsupported_parameter")


def invalid(param: str, message: str) -> InvalidRequest:
    """A parameter with a value that cannot be accepted."""
    return InvalidRequest(f"Invalid '{param}': {message}", param, "invalid_value")


def missing(param: str) -> InvalidRequest:
    """A parameter that the request must give."""
    return InvalidRequest(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
