"""What goes wrong in TLS with clients, counted by cause and told in few words.

A port on the internet is scanned all day. So each cause is logged when it comes up first, and from then on once a
minute at the most, with how often it came up meanwhile. The counts are exact.
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
    "truncated": "the connection ended without close_notify",
}
_QUIET: Final = frozenset(("truncated",))
"""Too common to be worth a line: many clients just close."""

log = logging.getLogger("propylon.tls")


class TlsFailures:
    """Counts of one listener.

    Attributes:
        counts: how often each cause came up: a word of `EXPLAINED`, or OpenSSL's own name in lower case.
    """

    __slots__ = ("_address", "_clock", "_told", "counts")

    def __init__(self, address: str, clock: Callable[[], float] = monotonic) -> None:
        """`address` names the listener in the log; `clock` gives seconds."""
        self._address = address
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}
        self.counts: dict[str, int] = {}

    def count(self, cause: str) -> None:
        """Count a failure, and log it if it has not been logged for a minute."""
        total = self.counts[cause] = self.counts.get(cause, 0) + 1
        if cause in _QUIET:
            return
        now = self._clock()
        since, before = self._told.get(cause, (-LOG_SECONDS, 0))
        if now - since >= LOG_SECONDS:
            self._told[cause] = (now, total)
            times = total - before
            log.info("%s: %s%s", self._address, EXPLAINED.get(cause, cause), f" ({times} times)" if times > 1 else "")

    def count_error(self, error: ssl.SSLError) -> None:
        """Count what OpenSSL raised, by its reason."""
        self.count(cause_of(error))


def cause_of(error: ssl.SSLError) -> str:
    """Return the cause of an error of OpenSSL; the reasons it has are finite, and none is text of the client."""
    reason = (error.reason or "").lower()
    if reason in ("wrong_version_number", "packet_length_too_long", "bad_record_type", "unexpected_message"):
        return "bad_record"
    return reason or "unknown"
