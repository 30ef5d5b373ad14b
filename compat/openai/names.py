"""The form of the names that a client gives to functions and schemas."""

import re

from compat.errors import invalid

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_name(name: str, param: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise invalid(param, "1 to 64 letters, digits, underscores or dashes.")
