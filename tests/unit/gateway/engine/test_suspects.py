"""Which requests are to blame for deaths."""

from backends.protocol import EmbedParameters, Job, Text
from gateway.engine.suspects import KEPT_S, MOST_KEPT, Suspects


def job(job_id: str, text: str = "x", *, stream: bool = True) -> Job:
    return Job(job_id, "m", "embed", EmbedParameters(), [Text(text)], stream)


def test_two_deaths_convict_the_content_whatever_the_job() -> None:
    suspects = Suspects()
    suspects.accuse([job("a")], 0)
    assert not suspects.convicted(job("b"), 0)
    suspects.accuse([job("b", stream=False)], 1)
    assert suspects.convicted(job("c"), 2)
    assert not suspects.convicted(job("c", "other"), 2)
    assert not suspects.convicted(job("c"), 1 + KEPT_S)


def test_one_death_counts_once_for_content_that_was_asked_twice() -> None:
    suspects = Suspects()
    suspects.accuse([job("a"), job("b")], 0)
    assert not suspects.convicted(job("c"), 0)


def test_an_end_acquits() -> None:
    suspects = Suspects()
    suspects.accuse([job("a")], 0)
    suspects.acquit(job("b"))
    suspects.accuse([job("c")], 0)
    assert not suspects.convicted(job("d"), 0)


def test_it_keeps_no_more_than_it_may() -> None:
    suspects = Suspects()
    for _ in range(2):
        suspects.accuse([job("first", "first")], 0)
    suspects.accuse([job(str(i), str(i)) for i in range(MOST_KEPT)], 1)
    assert not suspects.convicted(job("first", "first"), 1)
