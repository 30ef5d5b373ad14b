"""A decoder's faults as refusals that name the parameter."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.decoding import decode
from compat.errors import InvalidRequest
from compat.openai.chat import decode_chat
from compat.openai.embeddings import decode_embedding


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: list[Inner] = []


DECODER = msgspec.json.Decoder(Outer)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, "invalid_json"),
        (b"[1]", None, "invalid_type"),
        (b"{}", "name", "missing_required_parameter"),
        (b'{"name":1}', "name", "invalid_type"),
        (b'{"name":"a","x y":1}', "x y", "unknown_parameter"),
        (b'{"name":"a","inner":[{},{"size":"1"}]}', "inner[1].size", "invalid_type"),
        (b'{"name":"a","inner":[{"x":1}]}', "inner[0].x", "unknown_parameter"),
        (b'{"name":"\xff"}', "name", "invalid_json"),
        (b'{"name":"a","inner":[{"size":NaN}]}', "inner[0].size", "invalid_json"),
    ],
)
def test_faults_name_their_parameter(body: bytes, param: str | None, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(body, DECODER)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_sound_body_is_decoded() -> None:
    assert decode(b'{"name":"a","inner":[{"size":2}]}', DECODER) == Outer("a", [Inner(2)])


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    for reader in (decode_chat, decode_embedding):
        with pytest.raises(InvalidRequest):
            reader(body)


MUTABLE = json.dumps(
    {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "é\n"}]}],
        "stop": ["a"],
        "seed": 1,
    }
).encode()


@given(st.integers(0, len(MUTABLE) - 1), st.binary(max_size=3))
def test_no_mutation_raises_anything_else(position: int, piece: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        decode_chat(MUTABLE[:position] + piece + MUTABLE[position + 1 :])
