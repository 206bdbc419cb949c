"""The delay of hedged requests: configured, or a percentile of latencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.services.percentile import Percentile

if TYPE_CHECKING:
    from propylon.services.settings import Hedging


class HedgeDelay:
    """The delay before a second endpoint is tried.

    Attributes:
        latencies: of the service's responses, unless the delay is configured.
    """

    __slots__ = ("_fixed", "latencies")

    def __init__(self, settings: Hedging) -> None:
        self._fixed = settings.delay
        self.latencies = Percentile() if settings.delay is None else None

    def add(self, seconds: float) -> None:
        """Record the latency of a response."""
        if self.latencies is not None:
            self.latencies.add(seconds)

    def value(self) -> float | None:
        """Return the delay in seconds; `None` while there are too few samples."""
        return self._fixed if self.latencies is None else self.latencies.value()
