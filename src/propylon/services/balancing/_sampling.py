"""Weighted random draws of one endpoint, or of two different ones.

Without `avoid` a draw is O(1) for equal weights and O(log n) otherwise. With `avoid` a few draws are tried, then the
remaining endpoints are listed once, so the number of iterations is bounded.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, permutations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.services.endpoint import Endpoint

TRIES: Final = 4
"""Draws before the remaining endpoints are listed; enough unless most are to be avoided."""

LISTED: Final = 240
"""Maximum number of precomputed pairs: those of 16 endpoints."""


class Sampler:
    """Draws from a fixed list of endpoints.

    Attributes:
        endpoints: the endpoints drawn from, at least one.
        equal: whether all have the same weight.
        total: the sum of their weights.
    """

    __slots__ = ("_all_pairs", "_cumulative", "_last", "_pair_count", "_random", "endpoints", "equal", "total")

    def __init__(self, endpoints: Sequence[Endpoint], random: Callable[[], float]) -> None:
        self.endpoints = tuple(endpoints)
        self.equal = len({endpoint.weight for endpoint in endpoints}) == 1
        # Floats, like the values looked up: comparing floats with integers takes several times as long.
        self._cumulative = list(accumulate(float(endpoint.weight) for endpoint in endpoints))
        self.total = self._cumulative[-1]
        self._last = len(self.endpoints) - 1
        self._pair_count = len(self.endpoints) * self._last
        self._all_pairs = list(permutations(self.endpoints, 2)) if self.equal and self._pair_count <= LISTED else []
        self._random = random

    def one(self) -> Endpoint:
        """Draw one endpoint."""
        if self.equal:
            return self.endpoints[int(self._random() * len(self.endpoints))]
        return self.endpoints[bisect_right(self._cumulative, self._random() * self.total)]

    def two(self) -> tuple[Endpoint, Endpoint]:
        """Draw two different endpoints without replacement. There must be at least two."""
        if self._all_pairs:
            return self._all_pairs[int(self._random() * self._pair_count)]
        endpoints = self.endpoints
        if self.equal:
            # One random number for both: the index of one of n * (n - 1) pairs.
            first, second = divmod(int(self._random() * self._pair_count), self._last)
            if second >= first:
                second += 1
            return endpoints[first], endpoints[second]
        cumulative = self._cumulative
        first = bisect_right(cumulative, self._random() * self.total)
        weight = endpoints[first].weight
        at = self._random() * (self.total - weight)
        if at >= cumulative[first] - weight:
            at += weight
        # The last index is the limit, as a sum of floats may be rounded up to the total.
        return endpoints[first], endpoints[bisect_right(cumulative, at, 0, self._last)]

    def one_but(self, avoid: Collection[Endpoint]) -> Endpoint:
        """Draw one endpoint, one of `avoid` only if there is no other."""
        for _ in range(TRIES):
            endpoint = self.one()
            if endpoint not in avoid:
                return endpoint
        return self.without(avoid).one()

    def two_but(self, avoid: Collection[Endpoint]) -> tuple[Endpoint, Endpoint]:
        """Draw two endpoints, one of `avoid` only if there is no other; the same twice if only one remains."""
        if self._last:
            for _ in range(TRIES):
                first, second = self.two()
                if first not in avoid and second not in avoid:
                    return first, second
        remaining = self.without(avoid)
        return remaining.two() if remaining._last else (remaining.endpoints[0], remaining.endpoints[0])

    def without(self, avoid: Collection[Endpoint]) -> Sampler:
        """Return a sampler of the endpoints not in `avoid`; itself if none remains. O(n)."""
        remaining = [endpoint for endpoint in self.endpoints if endpoint not in avoid]
        return Sampler(remaining, self._random) if remaining else self
