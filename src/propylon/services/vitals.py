"""Load, latency and health of an address, shared by all its services.

Vitals outlive configurations, for as long as the address is used.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING, Final

from propylon.services.ejection import Ejection

if TYPE_CHECKING:
    from propylon.services.service import Service

EWMA_ALPHA: Final = 0.2
"""Weight of a new latency in the plain average, as in the Real-Time API Gateway."""

PEAK_DECAY_SECONDS: Final = 10.0
"""Time constant of the peak-sensitive average, the default of Finagle and Linkerd."""


class Vitals:
    """Load, latency and health of one address.

    Attributes:
        url: the address, in canonical form.
        inflight: exchanges in flight, including streams and tunnels.
        ewma: the plain moving average of seconds to the response's head; `None` before the first.
        peak_seconds, peak_at: the peak-sensitive average of the same (Finagle's "peak EWMA") and its time: it rises to
            a slow response at once, and decays while there is none, so that an endpoint that was slow is tried again.
        ejection: passive health, by the outcomes of real requests.
        complaints: active health: the reason of each failing check.
        users: the services to notify of changes of its health.
    """

    __slots__ = ("complaints", "ejection", "ewma", "inflight", "peak_at", "peak_seconds", "url", "users")

    def __init__(self, url: str) -> None:
        self.url = url
        self.inflight = 0
        self.ewma: float | None = None
        self.ejection = Ejection()
        self.complaints: dict[object, str] = {}
        self.users: set[Service] = set()
        self.peak_seconds = 0.0
        self.peak_at = 0.0

    def __repr__(self) -> str:
        return f"<Vitals {self.url} inflight={self.inflight}>"

    def record(self, seconds: float, now: float, failed: bool = False) -> None:
        """Record the latency of a response's head; `now` is of `time.monotonic`.

        A failure may be fast, so it never lowers the peak.
        """
        ewma, peak = self.ewma, self.peak_seconds
        self.ewma = seconds if ewma is None else ewma + EWMA_ALPHA * (seconds - ewma)
        if seconds > peak:
            self.peak_seconds = seconds
        elif failed:
            return
        else:
            self.peak_seconds = seconds + (peak - seconds) * exp((self.peak_at - now) / PEAK_DECAY_SECONDS)
        self.peak_at = now

    def forget(self) -> None:
        """Discard latencies after a recovery: those of the outage do not predict current ones."""
        self.ewma = None
        self.peak_seconds = 0.0
