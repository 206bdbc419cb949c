"""What is known about an address, whoever uses it: how busy it is, how fast, and whether it is well.

Vitals outlive configurations: an address that stays keeps what has been learned about it.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING, Final

from propylon.services.ejection import Ejection

if TYPE_CHECKING:
    from propylon.services.service import Service

EWMA_ALPHA: Final = 0.2
"""Weight of a new latency in the plain average, as the Real-Time API Gateway has it."""

PEAK_DECAY_SECONDS: Final = 10.0
"""Time constant of the peak-sensitive average, as Finagle's and Linkerd's default."""


class Vitals:
    """Of one address.

    Attributes:
        url: the address, in its canonical spelling.
        inflight: exchanges under way there, streams and tunnels too.
        ewma: the plain moving average of seconds to the response's head; `None` before the first.
        peak_seconds, peak_at: the peak-sensitive average of the same (Finagle's "peak EWMA"), and when it was that: it
            jumps to a slow answer, and sinks while there is none, so that an endpoint that was slow is tried again.
        ejection: passive health: whether real requests have failed there too often.
        complaints: active health: why each check that fails does so.
        users: the services that want to know when its health changes.
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
        """Learn how long a response's head took; `now` is of `time.monotonic`.

        To fail may be fast, and must not look so: it never lowers the peak.
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
        """Forget latencies: it was ill, and what it took then says nothing about what it takes now."""
        self.ewma = None
        self.peak_seconds = 0.0
