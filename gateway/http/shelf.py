"""Decides which pictures are kept for their addresses, and which must go: the oldest first.

Owns names, sizes and ages, no file. Pure: the time comes in, the names of what must go come out.
"""

from msgspec import Struct


class Place(Struct, frozen=True):
    size_bytes: int
    expires_at: float


class Shelf:
    """Holds `most_count` pictures of `most_bytes` together, each for `keep_s`. `now` never runs backwards."""

    def __init__(self, most_bytes: int, most_count: int, keep_s: float) -> None:
        self._most_bytes = most_bytes
        self._most_count = most_count
        self._keep_s = keep_s
        self._places: dict[str, Place] = {}
        """The oldest first."""
        self._bytes = 0

    def has_room_for(self, sizes: list[int]) -> bool:
        """Whether pictures of these sizes can be kept together, if all others go."""
        return sum(sizes) <= self._most_bytes and len(sizes) <= self._most_count

    def put(self, name: str, size_bytes: int, now: float) -> list[str]:
        """Keep one more; names of those that must go for it. There must be room for it by itself."""
        assert self.has_room_for([size_bytes])
        gone = self.expire(now)
        while self._bytes + size_bytes > self._most_bytes or len(self._places) >= self._most_count:
            gone.append(self._take_oldest())
        self._places[name] = Place(size_bytes, now + self._keep_s)
        self._bytes += size_bytes
        return gone

    def left_s(self, name: str, now: float) -> float:
        """For how long a picture is kept yet, seconds; 0: it is not kept."""
        place = self._places.get(name)
        return max(0.0, place.expires_at - now) if place else 0.0

    def expire(self, now: float) -> list[str]:
        """Names of those whose time is over, which are forgotten here."""
        gone: list[str] = []
        while (next_at := self.next_expiry()) is not None and next_at <= now:
            gone.append(self._take_oldest())
        return gone

    def next_expiry(self) -> float | None:
        """When the time of the oldest is over; None: there is none."""
        return next((place.expires_at for place in self._places.values()), None)

    def _take_oldest(self) -> str:
        name = next(iter(self._places))
        self._bytes -= self._places.pop(name).size_bytes
        return name
