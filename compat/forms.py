"""Text parts of a multipart form as one tree of values, for the structs that requests are decoded into.

Must not know any route's fields: who calls says which names are lists and which are objects.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from compat.errors import InvalidRequest

_NAME = re.compile(r"(?P<name>[^\[\]]+)\[(?P<key>[^\[\]]*)\]")


def form_tree(
    texts: Sequence[tuple[str, str]], lists: Collection[str] = (), objects: Collection[str] = ()
) -> dict[str, Any]:
    """Values by name. Raises InvalidRequest for a name that stands twice and is no list's.

    A list's parts are all called `name` or `name[]`, an object's `name[key]`.
    """
    tree: dict[str, Any] = {}
    for sent, text in texts:
        match = _NAME.fullmatch(sent)
        name, key = (match["name"], match["key"]) if match else (sent, "")
        into, at = tree, sent
        if name in lists and not key:
            tree.setdefault(name, []).append(text)
            continue
        if name in objects and key:
            into, at = tree.setdefault(name, {}), key
        if not isinstance(into, dict) or at in into:
            raise InvalidRequest(f"'{sent}' is given twice.", sent, "duplicate_parameter")
        into[at] = text
    return tree
