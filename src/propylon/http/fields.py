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
from propylon.http.memo import Memo

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FOLDED = bytes.maketrans(b"_.", b"--")
# What no field line holds besides its CRLF: every control character but HTAB (RFC 9110 5.5).
_FORBIDDEN = bytes(byte for byte in range(32) if byte != 9) + b"\x7f"
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


class FieldName:
    """A field's name, checked and classified once: there are few names, and they come with every message.

    Attributes:
        text: as the peer wrote it.
        key: in lower case.
        special: the gateway itself has something to do with it.
        alias: it has `_` or `.`, which CGI-like services confuse with `-`.
    """

    __slots__ = ("alias", "key", "special", "text")

    def __init__(self, text: bytes, special: frozenset[bytes], code: str) -> None:
        if not _TOKEN.fullmatch(text):
            raise Refusal(code, "a header name is no token (RFC 9110 5.1)")
        self.text = text
        self.key = text.lower()
        # A service that speaks CGI reads `X_User` as `X-User`, so neither spelling gets past (CVE-2026-54763).
        self.special = self.key.translate(_FOLDED) in special
        self.alias = b"_" in text or b"." in text


def split_fields(block: bytes, names: Memo[bytes, FieldName], code: str) -> list[tuple[FieldName, bytes]]:
    """Split a header section, each line with its CRLF, into names and values without the white space around them.

    Args:
        names: turns the bytes before a colon into a `FieldName`, or raises `Refusal`.
        code: what a `Refusal` is raised with.
    """
    lines = block.split(b"\r\n")
    if lines.pop() or len(block.translate(None, _FORBIDDEN)) != len(block) - 2 * len(lines):
        raise Refusal(code, _what_is_wrong(block))
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Refusal(code, _what_is_wrong(block))
        try:
            fields.append((names[name], value.strip(b" \t")))
        except Refusal:
            raise Refusal(code, _what_is_wrong(block)) from None
    return fields


def check_fields(pairs: Iterable[Pair], names: Memo[bytes, FieldName], code: str) -> list[tuple[FieldName, bytes]]:
    """Check fields that came as pairs, by the rules of `split_fields`."""
    fields = []
    for name, value in pairs:
        if len(value.translate(None, _FORBIDDEN)) != len(value):
            raise Refusal(code, "a header value has a control character (RFC 9110 5.5)")
        fields.append((names[name], value.strip(b" \t")))
    return fields


def _what_is_wrong(block: bytes) -> str:
    """Say which line broke which rule."""
    for number, line in enumerate(block.split(b"\r\n"), 1):
        name, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            return f"header line {number} begins with white space: line folding is obsolete (RFC 9112 5.2)"
        if line and not colon:
            return f"header line {number} has no colon (RFC 9112 5)"
        if colon and not name:
            return f"header line {number} has an empty name (RFC 9110 5.1)"
        if name[-1:] in (b" ", b"\t"):
            return f"header line {number} has white space before the colon (RFC 9112 5.1)"
        if bad := name.translate(None, _TOKEN_BYTES):
            return f"header line {number} has byte 0x{bad[0]:02x} in its name (RFC 9110 5.1)"
        if len(value) != len(value.translate(None, _FORBIDDEN)):
            return f"header line {number} has a control character in its value (RFC 9110 5.5)"
    return "the header section is malformed (RFC 9112 5)"


_TOKEN_BYTES = bytes(byte for byte in range(256) if _TOKEN.fullmatch(bytes([byte])))


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


class ConnectionOptions:
    """What a Connection field says (RFC 9110 7.6.1).

    Attributes:
        nominated: names of fields that end at this hop, besides those that always do. Fields that carry identity,
            framing or routing stay whatever a peer says, or anybody could delete them.
    """

    __slots__ = ("close", "keep_alive", "nominated", "upgrade")

    def __init__(self, value: bytes) -> None:
        options = tokens(value)
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        self.upgrade = b"upgrade" in options
        further = set(options).difference(CONNECTION_BOUND)
        self.nominated = frozenset(option for option in further if not option.startswith(_NEVER_NOMINATED))


OPTIONS: Memo[bytes, ConnectionOptions] = Memo(ConnectionOptions)
"""`OPTIONS[value]` is what the Connection field `value` says; several fields are joined with commas."""


def render(pairs: Iterable[Pair]) -> bytes:
    """Write fields as lines, each with its CRLF."""
    parts: list[bytes] = []
    for name, value in pairs:
        parts += (name, b": ", value, b"\r\n")
    return b"".join(parts)
