"""Field names in capitals, `Content-Length`, for devices that compare names by case, against RFC 9110 5.1."""

from __future__ import annotations

import re
from typing import Final

from propylon.http.memo import Memo

_LOWER: Final = re.compile(rb"\r\n([a-z][a-z0-9-]*):")
_IRREGULAR: Final = {
    b"content-md5": b"Content-MD5", b"dnt": b"DNT", b"etag": b"ETag",
    b"te": b"TE", b"www-authenticate": b"WWW-Authenticate", b"x-request-id": b"X-Request-ID",
    b"x-xss-protection": b"X-XSS-Protection",
}  # fmt: skip
_WRITTEN: Final[Memo[bytes, bytes]] = Memo(lambda name: b"\r\n%b:" % (_IRREGULAR.get(name) or name.title()))


def title_case(message: bytes) -> bytes:
    """Return a message, or its head, with capitals in the names that have none; the length is the same."""
    head, end, body = message.partition(b"\r\n\r\n")
    return _LOWER.sub(lambda found: _WRITTEN[found[1]], head) + end + body
