"""A sliding window of outcomes: a ring of buckets, each a slice of time, like Hystrix's rolling statistics.

An outcome is dropped with its bucket, so it counts for at least `seconds` less one bucket and for less than `seconds`.
Adding is a few operations; a gap of any length costs at most one turn of the ring.

Source: https://github.com/Netflix/Hystrix/wiki/How-it-Works, "Circuit Breaker" and its rolling buckets.
"""

from __future__ import annotations


class Window:
    """Counts of outcomes and failures of the last `seconds`.

    If time does not advance or goes back, outcomes are added to the newest bucket.

    Attributes:
        seconds: how long an outcome counts at most.
    """

    __slots__ = (
        "_all", "_all_sum", "_at", "_ends", "_failed", "_failed_sum", "_newest", "_per_second", "_slice",
        "seconds",
    )  # fmt: skip

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self.seconds = seconds
        self._per_second = buckets / seconds
        self._slice = -1  # number of the newest slice, counted from the clock's zero
        self._ends = 0.0  # when that slice is over
        self._at = 0  # its index in the ring
        self._all = [0] * buckets
        self._failed = [0] * buckets
        self._newest = 0  # outcomes in the newest bucket, not yet in the ring
        self._all_sum = 0
        self._failed_sum = 0

    def __repr__(self) -> str:
        return f"<Window {self._failed_sum} of {self._all_sum + self._newest} failed>"

    def add(self, now: float) -> None:
        """Count one success."""
        if now >= self._ends:
            self._advance(now)
        self._newest += 1

    def add_failure(self, now: float) -> None:
        """Count one failure."""
        self.add(now)
        self._failed[self._at] += 1
        self._failed_sum += 1

    def total(self, now: float) -> int:
        """Return the number of outcomes."""
        if now >= self._ends:
            self._advance(now)
        return self._all_sum + self._newest

    def failures(self, now: float) -> int:
        """Return the number of failures."""
        if now >= self._ends:
            self._advance(now)
        return self._failed_sum

    def clear(self) -> None:
        """Drop all outcomes."""
        self._all = [0] * len(self._all)
        self._failed = [0] * len(self._failed)
        self._newest = self._all_sum = self._failed_sum = 0

    def _advance(self, now: float) -> None:
        """Advance the ring to the slice of `now`, and clear expired buckets."""
        size = len(self._all)
        number = int(now * self._per_second)
        steps = number - self._slice
        self._slice = number
        self._ends = (number + 1) / self._per_second
        if steps >= size:
            self.clear()
            return
        at = self._at
        self._all[at] += self._newest
        self._all_sum += self._newest
        self._newest = 0
        for _ in range(steps):
            at = at + 1 if at + 1 < size else 0
            self._all_sum -= self._all[at]
            self._failed_sum -= self._failed[at]
            self._all[at] = self._failed[at] = 0
        self._at = at
