"""After how many seconds without an answer a second endpoint is asked: as configured, or later than most answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.services.percentile import Percentile

if TYPE_CHECKING:
    from propylon.services.settings import Hedging


class HedgeDelay:
    """The delay of one service.

    Attributes:
        latencies: what its answers take, if that decides.
    """

    __slots__ = ("_fixed", "latencies")

    def __init__(self, settings: Hedging) -> None:
        self._fixed = settings.delay
        self.latencies = Percentile() if settings.delay is None else None

    def add(self, seconds: float) -> None:
        """Learn what an answer has taken."""
        if self.latencies is not None:
            self.latencies.add(seconds)

    def value(self) -> float | None:
        """Return the delay in seconds; `None` while too few answers are known."""
        return self._fixed if self.latencies is None else self.latencies.value()
