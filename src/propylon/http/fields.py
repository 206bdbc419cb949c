"""Splitting and classifying header sections (RFC 9112 5, RFC 9110 5 and 7.6.1), the same for both directions.

Rules of this file: bytes in, bytes out; a section is checked whole before any field of it is believed; what is
ambiguous is refused (`Refusal`), never guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from propylon.http.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.http.headers import Pair

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]"  # field-vchar, obs-text, SP and HTAB; so no CR, LF or NUL
_FIELD = re.compile(rb"(%b+):[ \t]*(%b*)\r\n" % (_TOKEN, _TEXT))
_SECTION = re.compile(rb"(?:%b++:%b*+\r\n)*+" % (_TOKEN, _TEXT))
# RFC 9112 5.1 tells a proxy to remove white space before the colon of a response's field, and to refuse a request's.
_LOOSE_FIELD = re.compile(rb"(%b+)[ \t]*:[ \t]*(%b*)\r\n" % (_TOKEN, _TEXT))
_LOOSE_SECTION = re.compile(rb"(?:%b++[ \t]*+:%b*+\r\n)*+" % (_TOKEN, _TEXT))
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
_MAX_LENGTH = 2**63 - 1

CONNECTION_BOUND = frozenset(
    (
        b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
        b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
    )
)  # fmt: skip
"""Fields that end at this hop (RFC 9110 7.6.1, RFC 9113 3.2.1): never forwarded as they came."""

_NEVER_NOMINATED = (
    b"host", b"authorization", b"cookie", b"set-cookie", b"cache-control", b"content-", b"forwarded", b"x-forwarded-",
    b"x-real-ip", b"x-request-id", b"via", b"origin", b"location", b"www-authenticate", b"traceparent", b"date",
)  # fmt: skip


def split_request_fields(block: bytes) -> list[Pair]:
    """Split a request's header section, each line with its CRLF. Raises `Refusal` read.bad_field."""
    if not _SECTION.fullmatch(block):
        raise Refusal("read.bad_field", _what_is_wrong(block))
    return _FIELD.findall(block)


def split_response_fields(block: bytes) -> list[Pair]:
    """Split a response's header section, each line with its CRLF. Raises `Refusal` head.bad."""
    if not _LOOSE_SECTION.fullmatch(block):
        raise Refusal("head.bad", _what_is_wrong(block))
    return _LOOSE_FIELD.findall(block)


def _what_is_wrong(block: bytes) -> str:
    """Say which line broke which rule."""
    for number, line in enumerate(block.split(b"\r\n"), 1):
        if _SECTION.fullmatch(line + b"\r\n") or not line:
            continue
        name, colon, value = line.partition(b":")
        if line[:1] in b" \t":
            return f"header line {number} begins with white space: line folding is obsolete (RFC 9112 5.2)"
        if not colon:
            return f"header line {number} has no colon (RFC 9112 5)"
        if not name:
            return f"header line {number} has an empty name (RFC 9110 5.1)"
        if name[-1:] in b" \t":
            return f"header line {number} has white space before the colon (RFC 9112 5.1)"
        bad = re.search(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]", name)
        if bad:
            return f"header line {number} has byte 0x{bad.group()[0]:02x} in its name (RFC 9110 5.1)"
        bad = re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value)
        return f"header line {number} has byte 0x{bad.group()[0] if bad else 0:02x} in its value (RFC 9110 5.5)"
    return "the header section is malformed (RFC 9112 5)"


def content_length(value: bytes, code: str) -> int:
    """Read a Content-Length value strictly: digits, no sign, no list, no leading zero (RFC 9110 8.6)."""
    if not _LENGTH.fullmatch(value) or int(value) > _MAX_LENGTH:
        raise Refusal(code, "Content-Length is not one plain decimal number (RFC 9110 8.6)")
    return int(value)


def is_chunked(value: bytes, code: str, unknown: str) -> bool:
    """Read a Transfer-Encoding value; only `chunked` alone is understood (RFC 9112 6.1).

    Args:
        code: what is raised for a malformed value, `unknown`: for a coding this gateway does not implement.
    """
    if value.lower() == b"chunked":
        return True
    if re.fullmatch(rb"(?:gzip|x-gzip|deflate|compress|x-compress)(?:[ \t]*,[ \t]*chunked)?", value.lower()):
        raise Refusal(unknown, "the only transfer coding understood here is chunked (RFC 9112 6.1)")
    raise Refusal(code, "Transfer-Encoding is not exactly 'chunked' (RFC 9112 6.1)")


def tokens(value: bytes) -> list[bytes]:
    """Split a comma-separated list into lower-case elements, empty ones left out (RFC 9110 5.6.1)."""
    return [token for part in value.split(b",") if (token := part.strip(b" \t").lower())]


def nominated(options: Iterable[bytes]) -> frozenset[bytes]:
    """Return the field names that a Connection field takes away with this hop (RFC 9110 7.6.1).

    Fields that carry identity, framing or routing stay whatever a client says, or anybody could delete them.
    """
    return frozenset(option for option in options if not option.startswith(_NEVER_NOMINATED))


def render(pairs: Iterable[Pair]) -> bytes:
    """Write fields as lines, each with its CRLF."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])
