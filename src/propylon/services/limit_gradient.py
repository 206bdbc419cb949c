"""A concurrency limit found by watching latency: when answers take longer than usual, requests wait in the service.

Once a second the limit is multiplied by the gradient, usual latency over present latency, kept within 0.5 and 1, and a
few are added, so that it grows while there is no sign of a queue. The present is the mean of that second, the usual a
moving average over ten minutes. An overload that lasts as long becomes usual: `max` is what bounds it then.

Source: Gradient2Limit and WindowedLimit of https://github.com/Netflix/concurrency-limits, with their constants. What is
added: the gradient is no higher than the share of successes, and the time of a failure is not taken, since a service
that refuses at once is not fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_WINDOW_SECONDS: Final = 1.0
_WINDOW_SAMPLES: Final = 10  # a mean of fewer says too little
_SMOOTHING: Final = 0.2  # how much of the new limit is taken over
_QUEUE: Final = 4  # how many more are tried while latency is as usual
_LOWEST_GRADIENT: Final = 0.5
_LONG_WINDOWS: Final = 600
_LONG_WEIGHT: Final = 2 / (_LONG_WINDOWS + 1)
_WARM_UP_WINDOWS: Final = 10  # a plain mean of the first ones
_DRIFT: Final = 0.9  # what is usual sinks so quickly while it is more than twice the present


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSettings:
    """Attributes:
    start: the limit at first.
    min: it never falls below; at least 1.
    max: it never grows above.
    tolerance: latency may rise to so many times the usual one before the limit shrinks.
    """

    start: int = 20
    min: int = 20
    max: int = 200
    tolerance: float = 1.5


class GradientLimit:
    """Attributes:
    limit: how many requests may be under way now.
    usual: the seconds an answer usually takes; 0 before the first window is over.
    """

    __slots__ = (
        "_busiest", "_count", "_ends", "_exact", "_failed", "_settings", "_sum", "_windows", "limit", "usual",
    )  # fmt: skip

    def __init__(self, settings: GradientSettings) -> None:
        self._settings = settings
        self._exact = float(min(max(settings.start, settings.min), settings.max))
        self._ends = 0.0
        self._windows = 0
        self._busiest = 0
        self._count = 0
        self._failed = 0
        self._sum = 0.0
        self.limit = int(self._exact)
        self.usual = 0.0

    def __repr__(self) -> str:
        return f"<GradientLimit {self.limit}>"

    def sample(self, seconds: float, inflight: int, failed: bool, now: float) -> None:
        """Learn how a request went.

        Args:
            seconds: how long it took.
            inflight: how many were under way with it; while they are less than half the limit, it does not hold
                anybody back, and stays as it is.
            failed: refused for overload, timed out, or broken.
            now: the time of `time.monotonic`.
        """
        self._count += 1
        if inflight > self._busiest:
            self._busiest = inflight
        if failed:
            self._failed += 1
        else:
            self._sum += seconds
        if now >= self._ends and self._count >= _WINDOW_SAMPLES:
            self._end_window(now)

    def _end_window(self, now: float) -> None:
        answered = self._count - self._failed
        gradient = answered / self._count
        if answered:
            present = self._sum / answered
            self._learn(present)
            if present > 0:
                gradient = min(gradient, self._settings.tolerance * self.usual / present)
        if self._busiest * 2 >= self.limit:
            self._move(max(_LOWEST_GRADIENT, gradient))
        self._ends = now + _WINDOW_SECONDS
        self._busiest = self._count = self._failed = 0
        self._sum = 0.0

    def _learn(self, present: float) -> None:
        self._windows += 1
        weight = 1 / self._windows if self._windows <= _WARM_UP_WINDOWS else _LONG_WEIGHT
        self.usual += weight * (present - self.usual)
        if self.usual > 2 * present:
            self.usual *= _DRIFT

    def _move(self, gradient: float) -> None:
        settings = self._settings
        exact = self._exact
        exact += _SMOOTHING * (exact * gradient + _QUEUE - exact)
        self._exact = min(max(exact, float(settings.min)), float(settings.max))
        self.limit = int(self._exact)
