"""Transcripts as subtitles, a cue a segment: SubRip (srt) and WebVTT (vtt, https://www.w3.org/TR/webvtt1/)."""

from collections.abc import Iterator, Sequence

from backends.protocol import TranscriptSegment

_ARROW = "-->"


def srt(segments: Sequence[TranscriptSegment]) -> str:
    """Cues are numbered from 1. The format has no escapes: an arrow in the text is written shorter."""
    return "".join(
        f"{number}\n{_times(segment, ',')}\n{text.replace(_ARROW, '->')}\n\n"
        for number, (segment, text) in enumerate(_cues(segments), 1)
    )


def vtt(segments: Sequence[TranscriptSegment]) -> str:
    cues = (f"{_times(segment, '.')}\n{_escaped(text)}\n\n" for segment, text in _cues(segments))
    return "WEBVTT\n\n" + "".join(cues)


def _cues(segments: Sequence[TranscriptSegment]) -> Iterator[tuple[TranscriptSegment, str]]:
    """Segments that say something; their text on one line, as an empty one would end the cue."""
    for segment in segments:
        if text := " ".join(segment.text.split()):
            yield segment, text


def _times(segment: TranscriptSegment, point: str) -> str:
    end_s = max(segment.start_s, segment.end_s)
    return f"{_time(segment.start_s, point)} {_ARROW} {_time(end_s, point)}"


def _time(seconds: float, point: str) -> str:
    """Hours have two digits or more."""
    milliseconds = round(max(0.0, seconds) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
