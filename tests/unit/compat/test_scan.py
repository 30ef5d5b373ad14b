"""The pass over a body before it is decoded."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.errors import InvalidRequest
from compat.scan import MAX_COST, MAX_DEPTH, holds_nul, scan

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_what_a_writer_of_json_writes_passes(value: Any, ascii_only: bool, indent: int | None) -> None:
    scan(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_no_bytes_break_it(body: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        scan(body)


@given(st.text(min_size=1, max_size=20).filter(lambda key: key.isprintable()), VALUES)
def test_a_key_given_twice_is_found_in_every_spelling(key: str, value: Any) -> None:
    for one in (json.dumps(key), json.dumps(key, ensure_ascii=False)):
        body = f'{{{json.dumps(key)}: 1, "x{len(key)}": [{json.dumps(value)}], {one} : 2}}'
        with pytest.raises(InvalidRequest) as caught:
            scan(body.encode())
        assert caught.value.code == "duplicate_key"


def test_equal_keys_of_different_objects_are_no_duplicates() -> None:
    scan(b'{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}')


@pytest.mark.parametrize(
    "text", ['{\\"a\\":1,\\"a\\":2}', "{[", "\\\\", '\\"', "x" * 300_000, '\\"' * 100_000, "\\n" * 3000]
)
def test_what_stands_in_a_text_is_text(text: str) -> None:
    scan(f'{{"a": "{text}", "b": "{text}"}}'.encode())
    with pytest.raises(InvalidRequest):
        scan(f'{{"a": "{text}", "a": "{text}"}}'.encode())


def test_depth_is_bounded() -> None:
    scan(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(InvalidRequest, match="nested"):
        scan(b"[" * (MAX_DEPTH + 1))


@pytest.mark.parametrize("piece", [b"1,", b'"",', b"{},", b"[],", b'{"a":1},'])
def test_what_there_is_to_decode_is_bounded(piece: bytes) -> None:
    scan(b'{"input":[' + piece * 1000 + b"0]}")
    with pytest.raises(InvalidRequest) as caught:
        scan(b'{"input":[' + piece * MAX_COST + b"0]}")
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    "body", [b'"' * 2_000_000, b" " * 4_000_000, b'"' + b'\\"' * 1_000_000, b"\\" * 1_000_000]
)
def test_nothing_makes_it_quadratic(body: bytes) -> None:
    """A quadratic pass over these takes hours, so that ending at all is the proof."""
    with contextlib.suppress(InvalidRequest):
        scan(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'"\u0000"', True),
        (rb'"\\u0000"', False),
        (rb'"\\\u0000"', True),
        (rb'"\\u0000\u0000"', True),
        (rb'""', False),
    ],
)
def test_the_escape_of_nul_is_told_from_its_looks(body: bytes, expected: bool) -> None:
    assert holds_nul(body) is expected
    assert ("\0" in json.loads(body)) is expected
