"""What watchers hear."""

from gateway.engine.bulletin import MOST_UNREAD, Bulletin, ModelEvent


def event(number: int) -> ModelEvent:
    return ModelEvent(event="ready", model="m", version=number, state="ready", at=0.0)


async def test_every_watcher_hears_all_from_its_beginning() -> None:
    bulletin = Bulletin()
    early = bulletin.watch([event(0)])
    bulletin.publish(event(1))
    with bulletin.watch([]) as late:
        bulletin.publish(event(2))
        assert await early.next() == [event(0), event(1), event(2)]
        assert await late.next() == [event(2)]
    bulletin.publish(event(3))
    late.end()
    assert await late.next() == [], "it had left"


async def test_one_that_does_not_read_is_let_go_and_told() -> None:
    bulletin = Bulletin()
    watcher = bulletin.watch([])
    for number in range(MOST_UNREAD + 5):
        bulletin.publish(event(number))
    assert len(await watcher.next()) == MOST_UNREAD
    assert await watcher.next() == []
    assert watcher.behind


async def test_the_end_comes_after_what_was_told() -> None:
    bulletin = Bulletin()
    watcher = bulletin.watch([])
    bulletin.publish(event(1))
    bulletin.close()
    bulletin.publish(event(2))
    assert await watcher.next() == [event(1)]
    assert await watcher.next() == []
    assert not watcher.behind
