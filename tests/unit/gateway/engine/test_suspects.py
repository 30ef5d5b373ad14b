"""Which requests are to blame for deaths."""

from backends.protocol import EmbedParameters, Job, Text
from gateway.engine.job_queue import JobEntry
from gateway.engine.suspects import KEPT_S, MOST_KEPT, Suspects


def entry(job_id: str, text: str = "x", *, stream: bool = True) -> JobEntry:
    job = Job(job_id, "m", "embed", EmbedParameters(), [Text(text)], stream)
    return JobEntry(job, "key", 0.0, 600.0, 90.0)


def test_two_deaths_convict_the_content_whatever_the_job() -> None:
    suspects = Suspects()
    suspects.accuse([entry("a")], 0)
    assert suspects.suspected(entry("b"), 0)
    assert not suspects.convicted(entry("b"), 0)
    suspects.accuse([entry("b", stream=False)], 1)
    assert suspects.convicted(entry("c"), 2)
    assert not suspects.convicted(entry("c", "other"), 2)
    assert not suspects.convicted(entry("c"), 1 + KEPT_S)
    assert not suspects.suspected(entry("c"), 1 + KEPT_S)


def test_one_death_counts_once_for_content_that_was_asked_twice() -> None:
    suspects = Suspects()
    suspects.accuse([entry("a"), entry("b")], 0)
    assert not suspects.convicted(entry("c"), 0)


def test_an_end_acquits() -> None:
    suspects = Suspects()
    suspects.accuse([entry("a")], 0)
    suspects.acquit(entry("b"))
    assert not suspects.suspected(entry("b"), 0)
    suspects.accuse([entry("c")], 0)
    assert not suspects.convicted(entry("d"), 0)


def test_two_suspects_do_not_run_beside_each_other() -> None:
    suspects = Suspects()
    one, another, sound = entry("a", "one"), entry("b", "another"), entry("c", "sound")
    assert suspects.may_run_beside(one, [another, sound], 0), "nobody is suspected"
    suspects.accuse([one, another], 0)
    assert not suspects.may_run_beside(one, [sound, another], 0)
    assert suspects.may_run_beside(one, [sound], 0)
    assert suspects.may_run_beside(sound, [one], 0)
    assert suspects.may_run_beside(one, [entry("d", "one")], 0), "the same suspect"
    assert suspects.may_run_beside(one, [another], KEPT_S)


def test_it_keeps_no_more_than_it_may() -> None:
    suspects = Suspects()
    for _ in range(2):
        suspects.accuse([entry("first", "first")], 0)
    suspects.accuse([entry(str(i), str(i)) for i in range(MOST_KEPT)], 1)
    assert not suspects.convicted(entry("first", "first"), 1)
