"""The value of the Date field, rendered once a second (RFC 9110 5.6.7)."""

from __future__ import annotations

from email.utils import formatdate
from time import time

_second = 0
_text = b""


def http_date() -> bytes:
    """Return the current time as an IMF-fixdate."""
    global _second, _text
    now = int(time())
    if now != _second:
        _second, _text = now, formatdate(now, usegmt=True).encode("ascii")
    return _text
