"""Decodes a JSON body into a typed request and names the parameter of every fault.

Owns the translation of decoder errors to `param` and a message for people. Must not know any API's fields.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from compat.allowed import allowed_values
from compat.errors import InvalidRequest, missing
from compat.scan import holds_nul, scan

T = TypeVar("T")

_AT = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`$")
_FIELD = re.compile(r"Object (?P<fault>contains unknown|missing required) field `(?P<name>.*?)`", re.DOTALL)
_UNSOUND = re.compile("[\0\ud800-\udfff]")
_MAX_PARAM = 200
_CHOICES = ("Invalid enum value", "Invalid value")
_LOCATE_BYTES = 64 * 1024
"""A broken body up to this size is read a second time to say which parameter broke it."""


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The request in `body`. Raises InvalidRequest, never anything else. Costs time in `body`'s length."""
    scan(body)
    request = decode_part(body, decoder, "")
    if holds_nul(body):
        path = _locate(body)
        raise InvalidRequest(f"'{path or 'body'}' holds a NUL character.", path, "invalid_value")
    return request


def decode_part(raw: bytes, decoder: msgspec.json.Decoder[T], root: str) -> T:
    """As `decode`, for a value that was kept raw under the parameter `root`."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _explain(str(error), root, decoder.type) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        path = _joined(root, _locate(raw) or "")
        if path:
            raise InvalidRequest(
                f"'{path}' is not valid JSON: it must be valid Unicode and finite numbers.",
                path,
                "invalid_json",
            ) from None
        reason = str(error) if isinstance(error, msgspec.DecodeError) else "it is not valid UTF-8"
        raise InvalidRequest(f"The request body is not valid JSON: {reason}.", None, "invalid_json") from None
    except RecursionError:
        raise InvalidRequest(
            "The request body is nested too deeply.", root or None, "body_too_complex"
        ) from None


def convert(tree: object, kind: type[T]) -> T:
    """The request in values that are no JSON: texts stand for numbers and booleans. Raises InvalidRequest."""
    try:
        return msgspec.convert(tree, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _explain(str(error), "", kind) from None


def _explain(error: str, root: str, kind: Any) -> InvalidRequest:
    """A decoder's message as a refusal that names the parameter by its dotted path; `kind` was decoded."""
    at = _AT.search(error)
    path = (at["path"] if at else "").removesuffix("[...]").lstrip(".")
    text = error[: at.start()] if at else error
    base = _joined(root, path)
    if field := _FIELD.match(text):
        param = f"{base}.{field['name']}".lstrip(".")[:_MAX_PARAM]
        if field["fault"] == "missing required":
            return missing(param)
        return InvalidRequest(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
    param = base[:_MAX_PARAM]
    text = text[:_MAX_PARAM].replace("`", "")
    if not param:
        return InvalidRequest(f"The request body must be a JSON object: {text}.", None, "invalid_type")
    code = "invalid_type" if ", got " in text else "invalid_value"
    if text.startswith(_CHOICES) and (values := allowed_values(kind, path)):
        text += f"; it must be {_listed(values)}"
    return InvalidRequest(f"Invalid '{param}': {text}.", param, code)


def _listed(values: list[str]) -> str:
    names = [f"'{value}'" for value in values]
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _joined(root: str, path: str) -> str:
    return root + path if not root or not path or path.startswith("[") else f"{root}.{path}"


def _locate(body: bytes) -> str | None:
    """Path of the first text that is not Unicode or holds NUL, or number that is not finite."""
    if len(body) > _LOCATE_BYTES:
        return None
    try:
        value = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return next(_faults(value, ""), None)


def _faults(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            name = f"{path}.{key}".lstrip(".")
            if not _sound(key):
                yield (path or name.encode("utf-8", "replace").decode())[:_MAX_PARAM]
            yield from _faults(inner, name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _faults(inner, f"{path}[{index}]")
    elif (isinstance(value, str) and not _sound(value)) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        yield path[:_MAX_PARAM]


def _sound(text: str) -> bool:
    return _UNSOUND.search(text) is None
