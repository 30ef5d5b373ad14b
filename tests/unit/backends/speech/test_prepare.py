"""What a request may ask of a voice, and what is said where it may not."""

import pytest

from backends.base import JobError
from backends.protocol import Item, Job, SpeakParameters, Text, Tokens
from backends.speech.item import Piece
from backends.speech.prepare import Repertoire, SpeechPreparer
from backends.speech.settings import aliases
from config.parameters import OPENAI_VOICES, SpeechParameters


class Words(SpeechPreparer):
    def pieces(self, text: str, voice: str, language: str) -> list[Piece]:
        return [Piece(f"{voice}/{language}/{word}") for word in text.split()]


HELLO = Text("hello there")
PREPARER = Words(Repertoire(["anna", "ben"], {"alloy": "ben"}, ["en", "de"]))


def prepare(item: Item = HELLO, **asked: object) -> list[str]:
    job = Job("j", "m", "speak", SpeakParameters(**asked), [item])  # type: ignore[arg-type]
    return [piece.text for prepared in PREPARER.prepare(job) for piece in prepared.pieces]


def test_defaults_are_the_first() -> None:
    assert prepare() == ["anna/en/hello", "anna/en/there"]


def test_names_aliases_and_languages() -> None:
    assert prepare(voice="ben", language="DE")[0] == "ben/de/hello"
    assert prepare(voice="alloy")[0] == "ben/en/hello"


@pytest.mark.parametrize(
    ("asked", "param", "says"),
    [
        ({"voice": "bne"}, "voice", "anna, ben; did you mean 'ben'"),
        ({"voice": "zzz"}, "voice", "anna, ben"),
        ({"language": "fr"}, "language", "en, de"),
        ({"speed": 0.2}, "speed", "0.25 to 4"),
        ({"speed": float("nan")}, "speed", "0.25 to 4"),
        ({"speed": 4.5}, "speed", "0.25 to 4"),
        ({"instructions": "whisper"}, "instructions", "cannot follow"),
        ({"seed": -1}, "seed", "0 to"),
    ],
)
def test_refusals_name_the_parameter(asked: dict[str, object], param: str, says: str) -> None:
    with pytest.raises(JobError) as caught:
        prepare(**asked)
    assert caught.value.param == param
    assert says in caught.value.message


@pytest.mark.parametrize("item", [Text(" "), Tokens([1])])
def test_what_cannot_be_spoken_is_refused(item: Item) -> None:
    with pytest.raises(JobError) as caught:
        prepare(item)
    assert caught.value.param == "input"


def test_openais_names_mean_the_default_voice_unless_said_otherwise() -> None:
    assert aliases(SpeechParameters(), ["heart", "fable"]) == {
        name: "heart" for name in OPENAI_VOICES if name != "fable"
    }
    assert aliases(SpeechParameters(voice_aliases={"me": "fable"}), ["heart", "fable"]) == {"me": "fable"}


def test_an_alias_for_a_voice_that_is_not_there_is_found_out() -> None:
    with pytest.raises(ValueError, match=r"voice_aliases\.me: there is no voice 'x'; there are: heart"):
        aliases(SpeechParameters(voice_aliases={"me": "x"}), ["heart"])
