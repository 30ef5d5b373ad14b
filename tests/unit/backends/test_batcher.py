"""Which items share a forward call."""

from hypothesis import given
from hypothesis import strategies as st

from backends.batcher import Waiting, take


def padded(costs: list[int]) -> int:
    return max(costs) * len(costs)


def run(costs: list[int], *, max_cost: int = 100, max_items: int = 8, keys: str = "") -> list[int]:
    waiting = [Waiting(keys[i] if keys else "k", cost) for i, cost in enumerate(costs)]
    return take(waiting, max_cost=max_cost, max_items=max_items, padded_cost=padded)


def test_nothing_waits() -> None:
    assert run([]) == []


def test_items_of_like_cost_go_together() -> None:
    assert run([10, 90, 11, 12], max_cost=40) == [0, 2, 3]


def test_shorter_items_fill_the_padding_of_the_oldest() -> None:
    assert run([50, 10, 60], max_cost=100) == [1, 0]


def test_only_equal_keys_share_a_batch() -> None:
    assert run([1, 1, 1, 1], keys="abab") == [0, 2]


def test_an_item_over_the_budget_goes_alone() -> None:
    assert run([500, 1, 1], max_cost=100) == [0]


@given(
    st.lists(st.integers(1, 120), min_size=1, max_size=40),
    st.integers(1, 200),
    st.integers(1, 10),
)
def test_every_batch_keeps_the_bounds_and_holds_the_oldest(
    costs: list[int], max_cost: int, max_items: int
) -> None:
    batch = run(costs, max_cost=max_cost, max_items=max_items)
    assert 0 in batch
    assert len(set(batch)) == len(batch) <= max_items
    taken = [costs[i] for i in batch]
    assert taken == sorted(taken)
    assert len(batch) == 1 or padded(taken) <= max_cost
