"""A concurrency limit derived from latency: when it rises above the usual, requests are queueing in the service.

Once a second the limit is multiplied by the gradient, usual latency over current latency, clamped to 0.5 and 1, and a
few are added, so that it grows while there is no queue. The current latency is the mean of that second, the usual one a
moving average over ten minutes. An overload that lasts as long becomes usual: then only `max` bounds the limit.

Source: Gradient2Limit and WindowedLimit of https://github.com/Netflix/concurrency-limits, with their constants. What is
added: the gradient is at most the share of successes, and latencies of failures are ignored, since an immediate refusal
does not mean a fast service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_WINDOW_SECONDS: Final = 1.0
_WINDOW_SAMPLES: Final = 10  # a mean of fewer is too noisy
_SMOOTHING: Final = 0.2  # weight of the new limit
_QUEUE: Final = 4  # added while latency is as usual
_LOWEST_GRADIENT: Final = 0.5
_LONG_WINDOWS: Final = 600
_LONG_WEIGHT: Final = 2 / (_LONG_WINDOWS + 1)
_WARM_UP_WINDOWS: Final = 10  # a plain mean of the first windows
_DRIFT: Final = 0.9  # factor of the usual latency while it is more than twice the current one


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSettings:
    """Attributes:
    start: the initial limit.
    min: its minimum; at least 1.
    max: its maximum.
    tolerance: latency may rise to this multiple of the usual one before the limit shrinks.
    """

    start: int = 20
    min: int = 20
    max: int = 200
    tolerance: float = 1.5


class GradientLimit:
    """Attributes:
    limit: how many requests may be in flight now.
    usual: usual latency in seconds; 0 before the end of the first window.
    """

    __slots__ = (
        "_count",
        "_ends",
        "_failed",
        "_max_inflight",
        "_settings",
        "_sum",
        "_value",
        "_windows",
        "limit",
        "usual",
    )  # fmt: skip

    def __init__(self, settings: GradientSettings) -> None:
        self._settings = settings
        self._value = float(min(max(settings.start, settings.min), settings.max))
        self._ends = 0.0
        self._windows = 0
        self._max_inflight = 0
        self._count = 0
        self._failed = 0
        self._sum = 0.0
        self.limit = int(self._value)
        self.usual = 0.0

    def __repr__(self) -> str:
        return f"<GradientLimit {self.limit}>"

    def sample(self, seconds: float, inflight: int, failed: bool, now: float) -> None:
        """Record the outcome of a request.

        Args:
            seconds: its duration.
            inflight: requests in flight, this one included; while below half the limit, the limit has no effect and
                does not change.
            failed: refused for overload, timed out, or broken.
            now: the time of `time.monotonic`.
        """
        self._count += 1
        if inflight > self._max_inflight:
            self._max_inflight = inflight
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
            current = self._sum / answered
            self._update_usual(current)
            if current > 0:
                gradient = min(gradient, self._settings.tolerance * self.usual / current)
        if self._max_inflight * 2 >= self.limit:
            self._update_limit(max(_LOWEST_GRADIENT, gradient))
        self._ends = now + _WINDOW_SECONDS
        self._max_inflight = self._count = self._failed = 0
        self._sum = 0.0

    def _update_usual(self, current: float) -> None:
        self._windows += 1
        weight = 1 / self._windows if self._windows <= _WARM_UP_WINDOWS else _LONG_WEIGHT
        self.usual += weight * (current - self.usual)
        if self.usual > 2 * current:
            self.usual *= _DRIFT

    def _update_limit(self, gradient: float) -> None:
        settings = self._settings
        value = self._value
        value += _SMOOTHING * (value * gradient + _QUEUE - value)
        self._value = min(max(value, float(settings.min)), float(settings.max))
        self.limit = int(self._value)
