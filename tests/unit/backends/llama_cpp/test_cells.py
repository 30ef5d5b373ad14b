"""The count of cells against one that writes down every cell."""

from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.cells import Cells

IDS = range(4)


class Naive:
    """Each cell is an object; sequences are lists of them."""

    def __init__(self) -> None:
        self.held: dict[int, list[object]] = {seq_id: [] for seq_id in IDS}

    def total(self) -> int:
        return len({id(cell) for held in self.held.values() for cell in held})

    def added(self, order: list[int]) -> list[int]:
        seen: set[int] = set()
        counts = []
        for seq_id in order:
            fresh = {id(cell) for cell in self.held[seq_id]} - seen
            counts.append(len(fresh))
            seen |= fresh
        return counts


_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["grow", "share", "cut"]), st.integers(0, 3), st.integers(0, 3), st.floats(0, 1)
    ),
    max_size=40,
)


@given(_ACTIONS, st.permutations(IDS))
def test_it_counts_as_one_who_writes_down_every_cell(
    actions: list[tuple[str, int, int, float]], order: list[int]
) -> None:
    cells, naive = Cells(), Naive()
    for action, seq_id, other, share in actions:
        held = naive.held[seq_id]
        part = round(len(held) * share)
        if action == "grow":
            tokens = round(9 * share)
            cells.grow(seq_id, tokens)
            held += [object() for _ in range(tokens)]
        elif action == "cut":
            cells.cut(seq_id, part)
            del held[part:]
        elif part and not naive.held[other]:
            cells.share(seq_id, other, part)
            naive.held[other] = held[:part]
        assert cells.total == naive.total()
        assert [cells.length(one) for one in IDS] == [len(naive.held[one]) for one in IDS]
        assert set(cells.holders()) == {one for one in IDS if naive.held[one]}
        assert cells.added(order) == naive.added(order)


def test_a_shared_cell_is_free_when_the_last_holder_leaves() -> None:
    cells = Cells()
    cells.grow(0, 10)
    cells.share(0, 1, 6)
    cells.cut(0)
    assert (cells.total, cells.length(1)) == (6, 6)
    cells.cut(1)
    assert cells.total == 0


def test_what_follows_a_shared_beginning_is_each_ones_own() -> None:
    cells = Cells()
    cells.grow(0, 10)
    cells.share(0, 1, 10)
    cells.grow(0, 2)
    cells.grow(1, 3)
    assert cells.total == 15
    assert cells.added([1, 0]) == [13, 2]


def test_growing_by_nothing_leaves_nothing() -> None:
    cells = Cells()
    cells.grow(0, 0)
    assert list(cells.holders()) == []
    cells.grow(1, 5)
    cells.share(1, 0, 5)
    assert cells.total == 5
