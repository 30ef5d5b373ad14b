"""Frames: what goes over the channel comes back the same, however it is cut."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.protocol import (
    MAX_FRAME_BYTES,
    MAX_PICTURE_DELTA_BYTES,
    Capacity,
    CaptionParameters,
    Chat,
    ChatMessage,
    Delta,
    EmbeddingResult,
    Failed,
    Finished,
    Frame,
    FrameBuffer,
    GatewayMessage,
    GenerateParameters,
    Inline,
    ItemDone,
    Job,
    Media,
    PaintParameters,
    PictureDelta,
    ProtocolError,
    StepStats,
    Submit,
    Text,
    Tokens,
    WorkerMessage,
    encode_frame,
    fitting,
)

FRAME = Frame(
    [
        Delta("a", 0, "x"),
        ItemDone("b", 1, EmbeddingResult(b"\0" * 8, 2, 3)),
        Failed("c", "timeout", "why"),
        Finished("d"),
    ],
    Capacity(1, 2, 3, 4),
    StepStats(step_s=0.5, running=2),
)
JOB = Job(
    "id",
    "m",
    "generate",
    GenerateParameters(stop=["x"], logit_bias={5: -1.0}),
    [Text("t"), Tokens([1, 2]), Chat([ChatMessage("user", "hé")])],
)


@pytest.mark.parametrize(("message", "kind"), [(FRAME, WorkerMessage), (Submit(JOB), GatewayMessage)])
def test_messages_come_back_the_same(message: Frame | Submit, kind: type) -> None:
    (body,) = FrameBuffer().feed(encode_frame(message))
    assert msgspec.msgpack.decode(body, type=kind) == message


def test_what_is_much_together_goes_in_several_frames() -> None:
    pictures = [PictureDelta("a", item, bytes(MAX_PICTURE_DELTA_BYTES), True) for item in range(20)]
    outputs = [*pictures, Finished("a")]
    pieces = list(fitting(outputs))
    assert [output for piece in pieces for output in piece] == outputs
    assert len(pieces) > 1
    for piece in pieces:
        encode_frame(Frame(piece, FRAME.capacity))
    assert list(fitting([])) == [[]]


def test_counts_of_untold_steps_are_told_with_the_next() -> None:
    untold = StepStats(step_s=0.5, running=2, prefix_queries=3, denoise_steps=2)
    told = StepStats(step_s=0.25, running=1, denoise_steps=1).after(untold)
    assert told == StepStats(step_s=0.25, running=1, prefix_queries=3, denoise_steps=3)


def test_a_picture_to_be_edited_is_media_like_any_other() -> None:
    picture = Media(Inline(b"x"))
    job = Job("id", "m", "edit", PaintParameters(images=[picture]), [Text("t")])
    assert job.has_media
    assert Job("id", "m", "caption", CaptionParameters(), [picture]).has_media
    assert not JOB.has_media


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 20))
def test_frames_survive_any_cut(bodies: list[bytes], size: int) -> None:
    data = b"".join(len(body).to_bytes(4, "little") + body for body in bodies)
    buffer = FrameBuffer()
    assert [body for i in range(0, len(data), size) for body in buffer.feed(data[i : i + size])] == bodies


def test_a_length_over_the_cap_is_found_before_its_bytes_come() -> None:
    with pytest.raises(ProtocolError):
        FrameBuffer().feed(b"\xff\xff\xff\xff")


def test_a_message_over_the_cap_is_not_sent() -> None:
    with pytest.raises(ProtocolError):
        encode_frame(Inline(b"\0" * (MAX_FRAME_BYTES + 1)))
