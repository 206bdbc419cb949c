"""Counts of what happened lately: a ring of buckets, each a slice of time, as Hystrix's rolling statistics.

An outcome is forgotten with its bucket, so it counts for at least `seconds` less one bucket and for less than
`seconds`. Adding is a few operations; a gap of any length costs one turn of the ring at the most.

Source: https://github.com/Netflix/Hystrix/wiki/How-it-Works, "Circuit Breaker" and its rolling buckets.
"""

from __future__ import annotations


class Window:
    """Outcomes of the last `seconds`, and how many of them were failures.

    Time that stands still or goes back adds to the newest bucket.

    Attributes:
        seconds: how long an outcome counts at the most.
    """

    __slots__ = (
        "_all", "_all_sum", "_at", "_ends", "_failed", "_failed_sum", "_newest", "_per_second", "_slice",
        "seconds",
    )  # fmt: skip

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self.seconds = seconds
        self._per_second = buckets / seconds
        self._slice = -1  # the number of the newest bucket's slice of time, counted from the clock's zero
        self._ends = 0.0  # when that slice is over
        self._at = 0  # where it is in the ring
        self._all = [0] * buckets
        self._failed = [0] * buckets
        self._newest = 0  # outcomes in the newest bucket, before they are put into the ring
        self._all_sum = 0
        self._failed_sum = 0

    def __repr__(self) -> str:
        return f"<Window {self._failed_sum} of {self._all_sum + self._newest} failed>"

    def add(self, now: float) -> None:
        """Count one outcome that is no failure."""
        if now >= self._ends:
            self._turn(now)
        self._newest += 1

    def add_failure(self, now: float) -> None:
        """Count one failure."""
        self.add(now)
        self._failed[self._at] += 1
        self._failed_sum += 1

    def total(self, now: float) -> int:
        """Return how many outcomes there were."""
        if now >= self._ends:
            self._turn(now)
        return self._all_sum + self._newest

    def failures(self, now: float) -> int:
        """Return how many of them were failures."""
        if now >= self._ends:
            self._turn(now)
        return self._failed_sum

    def clear(self) -> None:
        """Forget everything."""
        self._all = [0] * len(self._all)
        self._failed = [0] * len(self._failed)
        self._newest = self._all_sum = self._failed_sum = 0

    def _turn(self, now: float) -> None:
        """Make the slice of `now` the newest, and empty the buckets whose time is over."""
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
