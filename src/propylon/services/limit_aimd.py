"""A concurrency limit found by additive increase and multiplicative decrease, as TCP finds its window.

It grows by one for each limit's worth of successes, and shrinks by a tenth when a request fails or takes too long. It
needs a service that rejects requests under overload, or a latency that counts as a failure; otherwise use
`limit_gradient`.

Source: AIMDLimit of https://github.com/Netflix/concurrency-limits, with two rules of TCP (RFC 5681 3.1 and 3.2) instead
of its own: it grows by one a round trip and not by one a response, and failures of one round trip shrink it once, so
that a burst of them does not take it to its minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class AimdSettings:
    """Attributes:
    start: the initial limit.
    min: its minimum; at least 1.
    max: its maximum.
    backoff: the factor applied after a failure, below 1.
    slow: seconds after which a response counts as a failure.
    """

    start: int = 20
    min: int = 20
    max: int = 200
    backoff: float = 0.9
    slow: float = 5.0


class AimdLimit:
    """Attributes:
    limit: how many requests may be in flight now.
    """

    __slots__ = ("_reduced_at", "_settings", "_value", "limit")

    def __init__(self, settings: AimdSettings) -> None:
        self._settings = settings
        self._value = float(min(max(settings.start, settings.min), settings.max))
        self._reduced_at = -inf
        self.limit = int(self._value)

    def __repr__(self) -> str:
        return f"<AimdLimit {self.limit}>"

    def sample(self, seconds: float, inflight: int, failed: bool, now: float) -> None:
        """Record the outcome of a request.

        Args:
            seconds: its duration.
            inflight: requests in flight, this one included; below half the limit a success does not change it, since
                the limit had no effect.
            failed: refused for overload, timed out, or broken.
            now: the time of `time.monotonic`.
        """
        settings = self._settings
        value = self._value
        if failed or seconds > settings.slow:
            if now - seconds <= self._reduced_at:  # sent before the limit was reduced
                return
            self._reduced_at = now
            value = max(float(settings.min), min(value - 1, value * settings.backoff))
        elif inflight * 2 < self.limit:
            return
        else:
            value = min(float(settings.max), value + 1 / value)
        self._value = value
        self.limit = int(value)
