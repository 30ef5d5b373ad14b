"""Subtitles: times, escapes, cues."""

import re

from hypothesis import given
from hypothesis import strategies as st

from backends.protocol import TranscriptSegment
from compat.openai.subtitles import srt, vtt


def segment(text: str, start_s: float = 0.0, end_s: float = 1.0) -> TranscriptSegment:
    return TranscriptSegment(0, start_s, end_s, text)


def test_srt() -> None:
    said = [
        segment(" Hello,\n\n you --> there <b>. ", 0, 1.5),
        segment(" "),
        segment("End", 3599.9996, 360_000),
    ]
    assert srt(said) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello, you -> there <b>.\n\n"
        "2\n01:00:00,000 --> 100:00:00,000\nEnd\n\n"
    )


def test_vtt() -> None:
    said = [segment(" Tom & Jerry --> <v>", 61.25, 62)]
    assert vtt(said) == "WEBVTT\n\n00:01:01.250 --> 00:01:02.000\nTom &amp; Jerry --&gt; &lt;v&gt;\n\n"


def test_silence() -> None:
    assert (srt([]), vtt([])) == ("", "WEBVTT\n\n")


times = st.floats(-1, 1e6)


@given(st.lists(st.tuples(st.text(), times, times)))
def test_a_cue_is_three_lines_whatever_is_said(said: list[tuple[str, float, float]]) -> None:
    text = srt([segment(*one) for one in said])
    cues = text.split("\n\n")[:-1]
    assert len(cues) == sum(bool(one[0].split()) for one in said)
    for number, cue in enumerate(cues, 1):
        counted, line, spoken = cue.split("\n")
        assert counted == str(number)
        assert spoken
        found = re.fullmatch(r"(\d\d+:[0-5]\d:[0-5]\d,\d{3}) --> (\d\d+:[0-5]\d:[0-5]\d,\d{3})", line)
        assert found
        assert len(found[1]) != len(found[2]) or found[1] <= found[2]
