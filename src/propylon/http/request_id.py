"""Request ids: which ones of a client are kept, and how new ones are made.

Rules of the file:

- An id ends up in headers, log lines, trace attributes and shell command lines, so only bytes that mean
  nothing in any of them are accepted from outside (`is_safe`).
- A new id is a UUIDv7 (RFC 9562, section 5.7), so ids sort by time. Within one millisecond the low bits grow
  by a random step (section 6.2, method 2): no two ids of one worker can be equal in that millisecond, and the
  26 bits that follow the clock are drawn anew each millisecond, which keeps workers apart.
- Clock and randomness are passed in; nothing here needs the randomness to be secret.
"""

import re
from collections.abc import Callable
from typing import Final

MAX_ID_BYTES: Final = 128
"""Longest id taken over from a client. A traceparent has 55 bytes, an AWS trace id up to 100."""

# Letters and digits, the punctuation of UUIDs, base64, ULIDs, URNs and trace ids. Left out on purpose: space, quotes,
# comma and semicolon (header lists, CSV), '%' '$' '{' '<' (format strings, lookups, HTML), backslash, controls.
_SAFE: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

_LOW_LIMIT: Final = (1 << 48) - (1 << 32) - 1
_STEP_BITS: Final = 32


def is_safe(value: bytes) -> bool:
    """Tell whether an id sent by a client may be kept: 1 to 128 bytes of `A-Za-z0-9._:/+=@-`."""
    return _SAFE.fullmatch(value) is not None


class RequestIds:
    """Makes request ids; one instance a worker.

    `now_ms` gives Unix time in milliseconds; `randbits(n)` gives an integer of n random bits.
    """

    __slots__ = ("_low", "_ms", "_now_ms", "_prefix", "_randbits")

    def __init__(self, now_ms: Callable[[], int], randbits: Callable[[int], int]) -> None:
        self._now_ms = now_ms
        self._randbits = randbits
        self._ms = -1
        self._low = 0
        self._prefix = b""

    def __call__(self) -> bytes:
        """Return a new id: 36 bytes, lower-case UUIDv7 text."""
        ms = self._now_ms()
        if ms != self._ms or self._low > _LOW_LIMIT:
            self._renew(ms)
        self._low = low = self._low + 1 + self._randbits(_STEP_BITS)
        return b"%b%012x" % (self._prefix, low)

    def _renew(self, ms: int) -> None:
        """Start a new millisecond: 12 + 14 random bits after the clock, and a random start below."""
        bits = self._randbits(73)
        self._ms = ms
        # The top bit of the low part starts at zero, so that the steps of one millisecond have room (RFC 9562, 6.2).
        self._low = bits & 0x7FFF_FFFF_FFFF
        self._prefix = b"%08x-%04x-7%03x-%04x-" % (
            ms >> 16 & 0xFFFF_FFFF,
            ms & 0xFFFF,
            bits >> 61,
            0x8000 | bits >> 47 & 0x3FFF,
        )
