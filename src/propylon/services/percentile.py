"""A running percentile of latencies, for the delay of hedged requests.

Latencies are counted in buckets, each 5 % wider than the one before, so the result is within 2.5 % of the percentile of
the samples, whatever their distribution. Old samples decay: all counts are halved whenever their sum reaches twice the
number of samples to keep. The bucket of the percentile is kept between two calls and moved by the new samples, so that
nothing is sorted.

Source: C. Masson, J. Rim, H. Lee, "DDSketch: A fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019, for the buckets; J. Dean, L. Barroso, "The Tail at Scale", CACM 2013, for hedging after the 95th
percentile.
"""

from __future__ import annotations

from bisect import bisect
from math import exp, log
from typing import Final

_LOWEST: Final = 0.0001  # seconds; the first bucket has everything faster
_HIGHEST: Final = 100.0  # seconds; the last bucket has everything slower
_WIDTH: Final = log(1.05)
_LAST: Final = int(log(_HIGHEST / _LOWEST) / _WIDTH)
# Upper ends of the buckets except the last. A binary search is faster than a logarithm.
_ENDS: Final = [_LOWEST * exp((bucket + 1) * _WIDTH) for bucket in range(_LAST)]


class Percentile:
    """The `q`-quantile of recent latencies."""

    __slots__ = ("_above", "_at", "_counts", "_decay_at", "_minimum", "_tail", "_total")

    def __init__(self, q: float = 0.95, samples: int = 2000, minimum: int = 20) -> None:
        """Create an empty percentile.

        Args:
            q: the quantile, between 0 and 1; 0.95 for the 95th percentile.
            samples: minimum number of samples kept; fewer are noisier. A rise is followed within about as many, a
                fall within five times as many: until then the value is too high, not too low.
            minimum: samples required for a value.
        """
        self._tail = 1 - q
        self._decay_at = samples * 2
        self._minimum = minimum
        self._counts = [0.0] * (_LAST + 1)
        self._total = 0.0
        self._at = 0  # the bucket of the percentile at the last call
        self._above = 0.0  # samples in the buckets above that one

    def add(self, seconds: float) -> None:
        """Count one latency."""
        bucket = bisect(_ENDS, seconds)
        self._counts[bucket] += 1
        if bucket > self._at:
            self._above += 1
        self._total = total = self._total + 1
        if total >= self._decay_at:
            self._decay()

    def value(self) -> float | None:
        """Return the percentile in seconds, or `None` while there are too few samples."""
        if self._total < self._minimum:
            return None
        counts, at, above = self._counts, self._at, self._above
        tail = self._tail * self._total
        while above > tail:
            at += 1
            above -= counts[at]
        while at and above + counts[at] <= tail:
            above += counts[at]
            at -= 1
        self._at, self._above = at, above
        return _LOWEST * exp((at + 0.5) * _WIDTH)

    def _decay(self) -> None:
        self._counts = [count / 2 for count in self._counts]
        self._total = sum(self._counts)
        self._above = sum(self._counts[self._at + 1 :])
