"""A concurrency limit found by additive increase and multiplicative decrease, as TCP finds its window.

It grows by one for each limit's worth of good answers, and shrinks by a tenth when one fails or takes too long. It
wants a service that says no, or a time after which an answer is worthless; where neither is at hand, see
`limit_gradient`.

Source: AIMDLimit of https://github.com/Netflix/concurrency-limits, with two rules of TCP (RFC 5681 3.1 and 3.2) instead
of its own: it grows by one a round trip and not by one an answer, and failures of one round trip shrink it once, so
that a burst of them does not take it to its minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class AimdSettings:
    """Attributes:
    start: the limit at first.
    min: it never falls below; at least 1.
    max: it never grows above.
    backoff: what is left of it after a failure, as a share below 1.
    slow: an answer that takes more seconds is a failure.
    """

    start: int = 20
    min: int = 20
    max: int = 200
    backoff: float = 0.9
    slow: float = 5.0


class AimdLimit:
    """Attributes:
    limit: how many requests may be under way now.
    """

    __slots__ = ("_cut_at", "_exact", "_settings", "limit")

    def __init__(self, settings: AimdSettings) -> None:
        self._settings = settings
        self._exact = float(min(max(settings.start, settings.min), settings.max))
        self._cut_at = -inf
        self.limit = int(self._exact)

    def __repr__(self) -> str:
        return f"<AimdLimit {self.limit}>"

    def sample(self, seconds: float, inflight: int, failed: bool, now: float) -> None:
        """Learn how a request went.

        Args:
            seconds: how long it took.
            inflight: how many were under way with it; when they are less than half the limit, it does not hold
                anybody back, and nothing is learned from a success.
            failed: refused for overload, timed out, or broken.
            now: the time of `time.monotonic`.
        """
        settings = self._settings
        exact = self._exact
        if failed or seconds > settings.slow:
            if now - seconds <= self._cut_at:  # it was sent before the limit was cut, and is no news
                return
            self._cut_at = now
            exact = max(float(settings.min), min(exact - 1, exact * settings.backoff))
        elif inflight * 2 < self.limit:
            return
        else:
            exact = min(float(settings.max), exact + 1 / exact)
        self._exact = exact
        self.limit = int(exact)
