"""Which pictures are kept, and which go."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.shelf import Shelf


def test_the_oldest_go_for_the_newest() -> None:
    shelf = Shelf(most_bytes=10, most_count=3, keep_s=60)
    assert shelf.put("a", 4, 0) == []
    assert shelf.put("b", 4, 1) == []
    assert shelf.put("c", 7, 2) == ["a", "b"]
    assert (shelf.left_s("a", 2), shelf.left_s("c", 2)) == (0, 60)
    assert shelf.put("d", 1, 3) == shelf.put("e", 1, 4) == []
    assert shelf.put("f", 1, 5) == ["c"]


def test_their_time_is_over() -> None:
    shelf = Shelf(most_bytes=10, most_count=3, keep_s=60)
    assert shelf.next_expiry() is None
    shelf.put("a", 1, 0)
    shelf.put("b", 1, 10)
    assert (shelf.next_expiry(), shelf.left_s("a", 59), shelf.left_s("a", 60)) == (60, 1, 0)
    assert shelf.expire(59) == []
    assert shelf.expire(60) == ["a"]
    assert shelf.next_expiry() == 70
    assert shelf.put("c", 1, 70) == ["b"]
    assert shelf.left_s("unknown", 70) == 0


def test_what_would_fit_alone() -> None:
    shelf = Shelf(most_bytes=10, most_count=2, keep_s=60)
    assert shelf.has_room_for([5, 5])
    assert not shelf.has_room_for([5, 6])
    assert not shelf.has_room_for([1, 1, 1])


@given(st.lists(st.tuples(st.integers(1, 10), st.floats(0, 40)), max_size=60))
def test_bounds_hold_and_nothing_is_lost(puts: list[tuple[int, float]]) -> None:
    shelf = Shelf(most_bytes=20, most_count=5, keep_s=60)
    now, kept = 0.0, dict[str, tuple[int, float]]()
    for number, (size, pause) in enumerate(puts):
        now += pause
        for name in shelf.put(str(number), size, now):
            del kept[name]
        kept[str(number)] = (size, now)
        assert sum(size for size, _ in kept.values()) <= 20
        assert len(kept) <= 5
        assert all(now - since < 60 and shelf.left_s(name, now) > 0 for name, (_, since) in kept.items())
    assert sorted(shelf.expire(now + 60)) == sorted(kept)
