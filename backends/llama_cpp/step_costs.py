"""What a decode step costs by its number of rows, learned from steps.

Pure: no library, no clock. The machine's mood and longer contexts change all costs together, so what one step
shows about its own number of rows counts a little for all the others.
"""

from bisect import bisect_left, insort

_OWN_WEIGHT = 0.2
_COMMON_WEIGHT = 0.1
_LARGEST_SURPRISE = 2.0
"""A step that took more than so many times what was expected was held up by something else."""


class StepCosts:
    def __init__(self) -> None:
        self._rows: list[int] = []
        self._relative: dict[int, float] = {}
        self._scale = 1.0

    def measured(self, rows: int, step_s: float) -> None:
        """Learn from a step of `rows` rows whose logits were all wanted."""
        if rows <= 0 or step_s <= 0.0:
            return
        if rows not in self._relative:
            insort(self._rows, rows)
            self._relative[rows] = step_s / self._scale
            return
        surprise = step_s / (self._relative[rows] * self._scale)
        surprise = min(max(surprise, 1 / _LARGEST_SURPRISE), _LARGEST_SURPRISE)
        self._relative[rows] *= surprise**_OWN_WEIGHT
        self._scale *= surprise**_COMMON_WEIGHT

    def step_s(self, rows: int) -> float | None:
        """Seconds that a step is expected to take; None: nothing is known yet.

        Between known numbers of rows a straight line; beyond them in proportion, which is never too hopeful.
        """
        if not self._rows or rows <= 0:
            return None
        place = bisect_left(self._rows, rows)
        if place == len(self._rows):
            largest = self._rows[-1]
            return self._known(largest) * rows / largest
        right = self._rows[place]
        if right == rows or place == 0:
            return self._known(right)
        left = self._rows[place - 1]
        share = (rows - left) / (right - left)
        return self._known(left) * (1 - share) + self._known(right) * share

    def _known(self, rows: int) -> float:
        return self._relative[rows] * self._scale
