"""Which pictures take the next step together. Pure.

All pictures of one size can share a step, wherever each is on its way. Those that have the fewest steps left
go first, so that they come to an end; one that has been passed over too often goes before all others, so that
none is kept waiting by a stream of shorter ones.
"""

from collections.abc import Hashable, Sequence
from typing import Literal, Protocol

PATIENCE = 4
"""Steps in which a picture may be passed over."""


class Turn(Protocol):
    """A picture on its way."""

    @property
    def group(self) -> Hashable:
        """Only those of one group share a step."""
        ...

    @property
    def steps_left(self) -> int: ...

    @property
    def last_turn(self) -> int:
        """Number of the step that it last took part in, or after which it came."""
        ...

    @property
    def cost(self) -> float:
        """What it adds to a step."""
        ...


def together(running: Sequence[Turn], turn: int, *, most: int, budget: float) -> list[int]:
    """Places in `running`, in order of arrival, of those that take step number `turn`: at least one.

    `most` of them, and their costs stay within `budget` unless a single one is over it.
    """
    order = sorted(range(len(running)), key=lambda place: _urgency(running[place], turn))
    chosen: list[int] = []
    spent = 0.0
    for place in order:
        one = running[place]
        if one.group != running[order[0]].group:
            continue
        if chosen and (len(chosen) == most or spent + one.cost > budget):
            break
        chosen.append(place)
        spent += one.cost
    return chosen


def _urgency(one: Turn, turn: int) -> tuple[int, int]:
    waited = turn - one.last_turn - 1
    return (0, one.last_turn) if waited >= PATIENCE else (1, one.steps_left)


Work = Literal["denoise", "decode", "wait"]


def next_work(*, running: bool, to_decode: bool, decoded_last: bool) -> Work:
    """Steps and decoding take turns: a picture that is done waits for one step, a running one for one decode.

    wait: there is nothing but pictures that are being written.
    """
    if to_decode and not (running and decoded_last):
        return "decode"
    return "denoise" if running else "wait"


def may_begin(*, finished: int, running: int, begun_now: int) -> bool:
    """Whether another prompt may begin in this step.

    Not while finished pictures wait to be decoded: pictures of few steps would else come in ones and twos
    instead of together. Where others are on their way only one a step, for reading a prompt takes time.
    """
    return finished == 0 and (running == 0 or begun_now == 0)
