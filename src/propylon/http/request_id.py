"""Request ids: which client ids are accepted, and how new ones are generated.

Rules of the file:

- Ids are used in headers, log lines, trace attributes and shell command lines, so only bytes without a special
  meaning in any of them are accepted from clients (`is_safe`).
- A new id is a UUIDv7 (RFC 9562, section 5.7), so ids sort by time. Its last 12 bits count the ids of one
  millisecond (section 6.2, method 1); the 62 bits between clock and counter are random, renewed for each
  millisecond and when the counter overflows, so that workers do not collide.
- Clock and randomness are passed in; the randomness need not be secret.
"""

import re
from collections.abc import Callable
from typing import Final

MAX_ID_BYTES: Final = 128
"""Longest id accepted from a client. A traceparent has 55 bytes, an AWS trace id up to 100."""

# Letters and digits, the punctuation of UUIDs, base64, ULIDs, URNs and trace ids. Left out on purpose: space, quotes,
# comma and semicolon (header lists, CSV), '%' '$' '{' '<' (format strings, lookups, HTML), backslash, controls.
_SAFE: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,%d}" % MAX_ID_BYTES)

_COUNT: Final = tuple(b"%03x" % number for number in range(1 << 12))
"""The last three digits, precomputed: formatting a number would cost more than the rest of an id."""


def is_safe(value: bytes) -> bool:
    """Return whether a client's id is accepted: 1 to 128 bytes of `A-Za-z0-9._:/+=@-`."""
    return _SAFE.fullmatch(value) is not None


class RequestIds:
    """Generator of request ids; one instance a worker.

    `now` returns Unix time in seconds; `randbits(n)` returns an integer of n random bits.
    """

    __slots__ = ("_count", "_ms", "_now", "_prefix", "_randbits")

    def __init__(self, now: Callable[[], float], randbits: Callable[[int], int]) -> None:
        self._now = now
        self._randbits = randbits
        self._ms = -1
        self._count = 0
        self._prefix = b""

    def __call__(self) -> bytes:
        """Return a new id: 36 bytes, lower-case UUIDv7 text."""
        ms = int(self._now() * 1000)
        count = self._count + 1
        if ms != self._ms or count == len(_COUNT):
            self._renew(ms)
            count = 0
        self._count = count
        return self._prefix + _COUNT[count]

    def _renew(self, ms: int) -> None:
        """Draw the random bits of this millisecond: 12 before the variant, 14 + 36 after it."""
        bits = self._randbits(62)
        self._ms = ms
        self._prefix = b"%08x-%04x-7%03x-%04x-%09x" % (
            ms >> 16 & 0xFFFF_FFFF,
            ms & 0xFFFF,
            bits >> 50,
            0x8000 | bits >> 36 & 0x3FFF,
            bits & 0xF_FFFF_FFFF,
        )
