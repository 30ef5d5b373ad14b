"""Who holds which cells of the cache: a count kept beside llama.cpp's, which tells nobody.

Pure: no library. A sequence's tokens are a chain of spans; sequences that share a beginning share its spans,
and a span's cells are free when nobody holds it any more.
"""

from collections.abc import Iterable


class _Span:
    """Consecutive tokens that are held by the same sequences."""

    __slots__ = ("holders", "length")

    def __init__(self, length: int, holders: set[int]) -> None:
        self.length = length
        self.holders = holders


class Cells:
    """`total`: cells in use, each counted once however many sequences hold it."""

    def __init__(self) -> None:
        self.total = 0
        self._chains: dict[int, list[_Span]] = {}

    def holders(self) -> Iterable[int]:
        """Ids that hold anything."""
        return self._chains.keys()

    def length(self, seq_id: int) -> int:
        """Tokens that a sequence holds."""
        return sum(span.length for span in self._chains.get(seq_id, ()))

    def grow(self, seq_id: int, tokens: int) -> None:
        """New tokens at a sequence's end, in cells of its own."""
        if tokens == 0:
            return
        chain = self._chains.setdefault(seq_id, [])
        self.total += tokens
        if chain and len(chain[-1].holders) == 1:
            chain[-1].length += tokens
        else:
            chain.append(_Span(tokens, {seq_id}))

    def share(self, source: int, target: int, length: int) -> None:
        """`target`, which holds nothing, joins in the first `length` tokens of `source`."""
        assert not self._chains.get(target)
        self._split(source, length)
        shared: list[_Span] = []
        for span in self._chains.get(source, ()):
            if length <= 0:
                break
            span.holders.add(target)
            shared.append(span)
            length -= span.length
        assert length == 0, "the source holds fewer tokens"
        self._chains[target] = shared

    def cut(self, seq_id: int, length: int = 0) -> None:
        """A sequence gives up everything from token `length` on."""
        if length:
            self._split(seq_id, length)
        chain = self._chains.get(seq_id, [])
        while chain and length < sum(span.length for span in chain):
            span = chain.pop()
            span.holders.discard(seq_id)
            if not span.holders:
                self.total -= span.length
        if not chain:
            self._chains.pop(seq_id, None)

    def added(self, order: Iterable[int]) -> list[int]:
        """For each sequence the cells that those before it do not hold."""
        seen: set[int] = set()
        counts: list[int] = []
        for seq_id in order:
            fresh = [span for span in self._chains.get(seq_id, ()) if id(span) not in seen]
            seen.update(map(id, fresh))
            counts.append(sum(span.length for span in fresh))
        return counts

    def _split(self, seq_id: int, length: int) -> None:
        """Make a border between spans after `length` tokens, for everybody who holds the span there."""
        for span in self._chains.get(seq_id, ()):
            if 0 < length < span.length:
                rest = _Span(span.length - length, set(span.holders))
                span.length = length
                for holder in span.holders:
                    chain = self._chains[holder]
                    chain.insert(chain.index(span) + 1, rest)
                return
            length -= span.length
            if length <= 0:
                return
