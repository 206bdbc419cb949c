"""A ring of hashes: which endpoint a key belongs to, the same in every process, and little changed by a change.

Each endpoint has points on the ring in proportion to its weight, and a key belongs to the endpoint of the next point
(D. Karger et al., "Consistent Hashing and Random Trees", 1997). Points are made of the URL alone by BLAKE2b (RFC 7693),
so when an endpoint goes, only its keys move, and when it comes back, they come back. The heaviest endpoint has
`POINTS` of them, and each other one the first few of its own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from hashlib import blake2b
from struct import unpack
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from propylon.services.endpoint import Endpoint

POINTS: Final = 128
"""Of the heaviest endpoint: shares then differ by about a tenth, and 1,000 endpoints make a ring in less than 0.1 s."""

# A point is one number: where it is, and in its low bits whose it is. So the ring is sorted and searched at full speed.
_INDEX_BITS: Final = 20
_INDEX: Final = (1 << _INDEX_BITS) - 1


class Ring:
    """Endpoints on a ring."""

    __slots__ = ("_counts", "_free", "_indexes", "_made", "_owners", "_ring")

    def __init__(self) -> None:
        self._counts: dict[Endpoint, int] = {}
        self._indexes: dict[Endpoint, int] = {}
        self._owners: dict[int, Endpoint] = {}
        self._free: list[int] = []
        self._made: dict[str, list[int]] = {}
        self._ring: array[int] = array("Q")

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Put `endpoints` on the ring; the points of those that stay as they are stay where they are."""
        heaviest = max(endpoint.weight for endpoint in endpoints)
        before = self._counts
        self._counts = now = {each: max(1, round(POINTS * each.weight / heaviest)) for each in endpoints}
        made = self._made
        self._made = {each.url: made.get(each.url) or _points(each.url) for each in endpoints}
        gone = {self._indexes.pop(each) for each, count in before.items() if now.get(each) != count}
        for index in gone:
            del self._owners[index]
        self._free += gone
        points = [point for point in self._ring if point & _INDEX not in gone] if gone else list(self._ring)
        for endpoint, count in now.items():
            if endpoint not in self._indexes:
                index = self._place(endpoint)
                points += [point | index for point in self._made[endpoint.url][:count]]
        points.sort()  # what stayed is in order, so this costs little but the first time
        self._ring = array("Q", points)

    def _place(self, endpoint: Endpoint) -> int:
        """Give an endpoint an index: one that became free, or else the next one."""
        index = self._free.pop() if self._free else len(self._owners)
        self._owners[index] = endpoint
        self._indexes[endpoint] = index
        return index

    def walk(self, key: bytes) -> Iterator[Endpoint]:
        """Yield the endpoint that a key belongs to, then those of the points behind it, once around."""
        ring, owners = self._ring, self._owners
        begin = bisect_right(ring, int.from_bytes(blake2b(key, digest_size=8).digest(), "little"))
        for at in range(begin, begin + len(ring)):
            yield owners[ring[at if at < len(ring) else at - len(ring)] & _INDEX]


def _points(url: str) -> list[int]:
    """Return the places of an endpoint's points, with room for an index."""
    text = url.encode("utf-8")
    points: list[int] = []
    for number in range(POINTS // 8):
        points += unpack("<8Q", blake2b(b"%b#%d" % (text, number)).digest())
    return [point & ~_INDEX for point in points]
