"""How long a connection to an endpoint may have been idle and still be safe: a decision, without I/O.

An endpoint that closes an idle connection may do so while a request is on its way (RFC 9112 9.3.1). A request that
may be sent twice is then sent again; any other fails. So the others get a connection that was idle for less than the
endpoint is known to wait, less a margin, or a new one.
"""

from __future__ import annotations

from math import inf
from typing import Final

ASSUMED: Final = 1.0
"""Seconds that an endpoint is taken to wait before anything is known of it: less than any common default."""

MARGIN_SHARE: Final = 0.25
MARGIN_MAX: Final = 1.0
"""The margin in seconds, for the time on the wire and a busy event loop."""


class IdleAge:
    """What is known of one endpoint.

    Attributes:
        safe: seconds that a connection may have been idle to carry a request that cannot be sent twice.
        limit: seconds after which an idle connection is closed, as the endpoint has told its time.
    """

    __slots__ = ("_told", "_waits", "limit", "safe")

    def __init__(self) -> None:
        self._told = self.limit = inf
        self._set(ASSUMED)

    def tell(self, seconds: float) -> None:
        """Take the time of a Keep-Alive field."""
        if seconds != self._told:
            self._told = seconds
            self._set(seconds)
            self.limit = self.safe

    def closed(self, seconds: float) -> None:
        """Record that the endpoint has closed a connection that was idle for some seconds.

        It need not be its time, but that of a restart: so what survives for longer counts again.
        """
        if seconds < self._waits:
            self._set(seconds)

    def survived(self, seconds: float) -> None:
        """Record that a connection was idle for some seconds and is still open."""
        if self._waits < seconds <= self._told:
            self._set(seconds)

    def _set(self, seconds: float) -> None:
        self._waits = seconds
        self.safe = seconds - min(MARGIN_MAX, seconds * MARGIN_SHARE)
