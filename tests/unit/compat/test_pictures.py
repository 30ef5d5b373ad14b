"""Pictures in JSON: what counts as one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.protocol import Inline, Media
from compat.errors import InvalidRequest
from compat.pictures import MAX_BYTES, is_data_url, read_pictures


@given(
    data=st.binary(min_size=1, max_size=300),
    head=st.sampled_from(["", "data:image/webp;base64,", "DATA:;x=1;BASE64,"]),
)
def test_bytes_come_back_as_they_were(data: bytes, head: str) -> None:
    text = head + base64.b64encode(data).decode()
    assert read_pictures([("image", text)]) == [Media(Inline(data), param="image")]


@given(text=st.text(max_size=50))
def test_any_text_is_a_picture_or_refused(text: str) -> None:
    try:
        read_pictures([("image", text)])
    except InvalidRequest as error:
        refused: InvalidRequest | None = error
    else:
        refused = None
    assert refused is None or refused.param == "image"


def test_all_pictures_together_have_a_limit() -> None:
    half = base64.b64encode(bytes(MAX_BYTES // 2)).decode()
    assert len(read_pictures([("a", half), ("b", half)])) == 2
    with pytest.raises(InvalidRequest) as caught:
        read_pictures([("a", half), ("b", half), ("c", "AAAA")])
    assert (caught.value.param, caught.value.code) == ("c", "image_too_large")


def test_which_texts_are_meant_as_pictures() -> None:
    assert is_data_url("data:image/png;base64,AAAA")
    assert is_data_url("DATA:IMAGE/PNG;base64,AAAA")
    assert not is_data_url("data: image processing")
