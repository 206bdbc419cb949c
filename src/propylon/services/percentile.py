"""A running percentile of latencies: after how long is an answer late enough to hedge the request?

Latencies are counted in buckets each 5 % wider than the one before, so what is read is within 2.5 % of the percentile
of what was counted, whatever its distribution. Old counts fade: all are halved whenever they have become twice as many
as are to be remembered. The bucket of the percentile is kept between two calls and moved by what came meanwhile, so
that nothing is sorted.

Source: C. Masson, J. Rim, H. Lee, "DDSketch: A fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019, for the buckets; J. Dean, L. Barroso, "The Tail at Scale", CACM 2013, for hedging after the 95th
percentile.
"""

from __future__ import annotations

from bisect import bisect
from math import exp, log
from typing import Final

_LOWEST: Final = 0.0001  # seconds; everything faster is in the first bucket
_HIGHEST: Final = 100.0  # seconds; everything slower is in the last one
_WIDTH: Final = log(1.05)
_LAST: Final = int(log(_HIGHEST / _LOWEST) / _WIDTH)
# Where each bucket ends, but the last. Searching them is quicker than a logarithm.
_ENDS: Final = [_LOWEST * exp((bucket + 1) * _WIDTH) for bucket in range(_LAST)]


class Percentile:
    """The value below which a share `q` of the latest latencies is."""

    __slots__ = ("_above", "_at", "_counts", "_late", "_minimum", "_most", "_total")

    def __init__(self, q: float = 0.95, samples: int = 2000, minimum: int = 20) -> None:
        """Begin with none.

        Args:
            q: the share, between 0 and 1; 0.95 for the 95th percentile.
            samples: how many are remembered, at least; the fewer, the noisier. A rise is followed within about as
                many, a fall within five times as many: until then too few are late, not too many.
            minimum: how many are needed to tell anything.
        """
        self._late = 1 - q
        self._most = samples * 2
        self._minimum = minimum
        self._counts = [0.0] * (_LAST + 1)
        self._total = 0.0
        self._at = 0  # the bucket of the percentile, when it was asked for last
        self._above = 0.0  # counts in the buckets above that one

    def add(self, seconds: float) -> None:
        """Count one latency."""
        bucket = bisect(_ENDS, seconds)
        self._counts[bucket] += 1
        if bucket > self._at:
            self._above += 1
        self._total = total = self._total + 1
        if total >= self._most:
            self._fade()

    def value(self) -> float | None:
        """Return the percentile in seconds, or `None` while there are too few."""
        if self._total < self._minimum:
            return None
        counts, at, above = self._counts, self._at, self._above
        late = self._late * self._total
        while above > late:
            at += 1
            above -= counts[at]
        while at and above + counts[at] <= late:
            above += counts[at]
            at -= 1
        self._at, self._above = at, above
        return _LOWEST * exp((at + 0.5) * _WIDTH)

    def _fade(self) -> None:
        self._counts = [count / 2 for count in self._counts]
        self._total = sum(self._counts)
        self._above = sum(self._counts[self._at + 1 :])
