"""TLS failures of clients, counted and logged by cause.

A public port is scanned all the time. So each cause is logged at its first occurrence, and then at most once a minute
with the number of occurrences since. The counts are exact.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

LOG_SECONDS: Final = 60.0

EXPLAINED: Final = {
    "bad_record": "the client sent what is no TLS",
    "callback_failed": "the client asked for a server name that is none",
    "closed": "the client went away in the middle of the handshake",
    "connections": "no handshake was begun, for limits.connections are open",
    "plain_http": "the client spoke plain HTTP and was told to use https",
    "timeout": "the handshake was not over in time",
    "unknown": "an error of TLS for which OpenSSL gives no reason",
    "truncated": "the connection ended without close_notify",
}
_QUIET: Final = frozenset(("truncated",))
"""Not logged, since many clients close like this."""

log = logging.getLogger("propylon.tls")


class TlsFailures:
    """Failure counts of one listener.

    Attributes:
        counts: occurrences of each cause: a key of `EXPLAINED`, or OpenSSL's reason in lower case.
    """

    __slots__ = ("_address", "_clock", "_logged", "counts")

    def __init__(self, address: str, clock: Callable[[], float] = monotonic) -> None:
        """`address`: name of the listener in the log; `clock` returns seconds."""
        self._address = address
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}
        self.counts: dict[str, int] = {}

    def count(self, cause: str) -> None:
        """Count a failure, and log it unless it was logged within the last minute."""
        total = self.counts[cause] = self.counts.get(cause, 0) + 1
        if cause in _QUIET:
            return
        now = self._clock()
        since, before = self._logged.get(cause, (-LOG_SECONDS, 0))
        if now - since >= LOG_SECONDS:
            self._logged[cause] = (now, total)
            times = total - before
            what = EXPLAINED.get(cause) or f"OpenSSL says: {cause.replace('_', ' ')}"
            log.info("%s: %s%s", self._address, what, f" ({times} times)" if times > 1 else "")

    def count_error(self, error: ssl.SSLError) -> None:
        """Count an OpenSSL error by its reason."""
        self.count(cause_of(error))


def cause_of(error: ssl.SSLError) -> str:
    """Return the cause of an OpenSSL error: one of a finite set, never text of the client."""
    reason = (error.reason or "").lower()
    if reason in ("wrong_version_number", "packet_length_too_long", "bad_record_type", "unexpected_message"):
        return "bad_record"
    return reason or "unknown"
