"""Draws endpoints by weighted chance: one of them, or two that differ.

Without `avoid` a draw is O(1) for equal weights and O(log n) otherwise. With it a few draws are tried, and then the
endpoints that are left are listed once, so nothing here loops for long.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, permutations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.services.endpoint import Endpoint

TRIES: Final = 4
"""Draws before the endpoints that are left are listed; enough unless most of them are to be avoided."""

LISTED: Final = 240
"""Pairs that are made in advance, at the most: those of 16 endpoints."""


class Sampler:
    """Draws from a fixed list of endpoints.

    Attributes:
        endpoints: what is drawn from, one or more.
        equal: whether all have the same weight.
        total: the sum of their weights.
    """

    __slots__ = ("_last", "_listed", "_pairs", "_random", "_sums", "endpoints", "equal", "total")

    def __init__(self, endpoints: Sequence[Endpoint], random: Callable[[], float]) -> None:
        self.endpoints = tuple(endpoints)
        self.equal = len({endpoint.weight for endpoint in endpoints}) == 1
        # Floats, as what is looked up in them: comparing them with whole numbers takes several times as long.
        self._sums = list(accumulate(float(endpoint.weight) for endpoint in endpoints))
        self.total = self._sums[-1]
        self._last = len(self.endpoints) - 1
        self._pairs = len(self.endpoints) * self._last
        self._listed = list(permutations(self.endpoints, 2)) if self.equal and self._pairs <= LISTED else []
        self._random = random

    def one(self) -> Endpoint:
        """Draw one endpoint."""
        if self.equal:
            return self.endpoints[int(self._random() * len(self.endpoints))]
        return self.endpoints[bisect_right(self._sums, self._random() * self.total)]

    def two(self) -> tuple[Endpoint, Endpoint]:
        """Draw two endpoints that differ, the second as if the first were not there. There must be two."""
        if self._listed:
            return self._listed[int(self._random() * self._pairs)]
        endpoints = self.endpoints
        if self.equal:
            # One number for both: which of the n * (n - 1) pairs.
            first, second = divmod(int(self._random() * self._pairs), self._last)
            if second >= first:
                second += 1
            return endpoints[first], endpoints[second]
        sums = self._sums
        first = bisect_right(sums, self._random() * self.total)
        weight = endpoints[first].weight
        at = self._random() * (self.total - weight)
        if at >= sums[first] - weight:
            at += weight
        # The last one is the limit, as a sum of floats may be rounded up to the total.
        return endpoints[first], endpoints[bisect_right(sums, at, 0, self._last)]

    def one_but(self, avoid: Collection[Endpoint]) -> Endpoint:
        """Draw one endpoint, one of `avoid` only if there is no other."""
        for _ in range(TRIES):
            endpoint = self.one()
            if endpoint not in avoid:
                return endpoint
        return self.without(avoid).one()

    def two_but(self, avoid: Collection[Endpoint]) -> tuple[Endpoint, Endpoint]:
        """Draw two endpoints, of `avoid` only if there is no other; the same twice if only one is left."""
        if self._last:
            for _ in range(TRIES):
                first, second = self.two()
                if first not in avoid and second not in avoid:
                    return first, second
        left = self.without(avoid)
        return left.two() if left._last else (left.endpoints[0], left.endpoints[0])

    def without(self, avoid: Collection[Endpoint]) -> Sampler:
        """Return a sampler of the endpoints that are not in `avoid`; this one if none is left. It is O(n)."""
        left = [endpoint for endpoint in self.endpoints if endpoint not in avoid]
        return Sampler(left, self._random) if left else self
