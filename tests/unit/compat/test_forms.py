"""Text parts of a form, put together."""

import pytest

from compat.errors import InvalidRequest
from compat.forms import form_tree


def test_lists_objects_and_values() -> None:
    parts = [("model", "m"), ("tags", "a"), ("tags[]", "b"), ("vad[type]", "server_vad"), ("vad[n]", "1")]
    assert form_tree(parts, lists=("tags",), objects=("vad",)) == {
        "model": "m",
        "tags": ["a", "b"],
        "vad": {"type": "server_vad", "n": "1"},
    }


@pytest.mark.parametrize(
    "parts",
    [
        [("model", "a"), ("model", "b")],
        [("vad[n]", "1"), ("vad[n]", "2")],
        [("vad", "auto"), ("vad[n]", "1")],
        [("vad[n]", "1"), ("vad", "auto")],
    ],
)
def test_what_stands_twice(parts: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest, match="given twice") as refused:
        form_tree(parts, objects=("vad",))
    assert refused.value.param == parts[1][0]


@pytest.mark.parametrize("name", ["tags]", "tags[", "tags[0]", "[]", "model[]"])
def test_other_names_stay_as_they_were_sent(name: str) -> None:
    assert form_tree([(name, "a")], lists=("tags",)) == {name: "a"}
