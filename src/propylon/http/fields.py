"""Parsing and classification of header sections (RFC 9112 5, RFC 9110 5 and 7.6.1), for requests and responses.

Rules of this file: bytes in, bytes out; a whole section is checked before any field of it is used; what is
ambiguous is refused (`Refusal`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from propylon.http.claims import ANYONE, FOLDED, NO_NAMES, Names, taken_from
from propylon.http.memo import Memo
from propylon.http.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.http.headers import Pair

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Bytes that a field line must not contain: every control character but HTAB (RFC 9110 5.5).
_FORBIDDEN = bytes(byte for byte in range(32) if byte != 9) + b"\x7f"
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
_MAX_LENGTH = 2**63 - 1

CONNECTION_BOUND = frozenset(
    (
        b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
        b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
    )
)  # fmt: skip
"""Hop-by-hop fields (RFC 9110 7.6.1, RFC 9113 3.2.1): never forwarded unchanged."""

_NEVER_NOMINATED = (
    b"host", b"authorization", b"cookie", b"set-cookie", b"cache-control", b"content-", b"forwarded", b"x-forwarded-",
    b"x-real-ip", b"x-request-id", b"via", b"origin", b"location", b"www-authenticate", b"traceparent", b"date",
)  # fmt: skip


class FieldName:
    """A field name, checked and classified once: few distinct names recur in every message.

    Attributes:
        text: as received.
        key: in lower case.
        special: the gateway itself evaluates the field.
        alias: it has `_` or `.`, which CGI-like services confuse with `-`.
    """

    __slots__ = ("alias", "key", "special", "text")

    def __init__(self, text: bytes, special: frozenset[bytes], code: str) -> None:
        if not _TOKEN.fullmatch(text):
            raise Refusal(code, "a header name is no token (RFC 9110 5.1)")
        self.text = text
        self.key = text.lower()
        # A CGI service reads `X_User` as `X-User`, so both spellings are filtered (CVE-2026-54763).
        self.special = self.key.translate(FOLDED) in special
        self.alias = b"_" in text or b"." in text


class RequestFieldName(FieldName):
    """The name of a request's field.

    Attributes:
        source: from whom the field is taken: ANYONE, TRUSTED or NOBODY (see `claims.py`).
    """

    __slots__ = ("source",)

    def __init__(self, text: bytes, special: frozenset[bytes], code: str, claims: Names = NO_NAMES) -> None:
        super().__init__(text, special, code)
        self.source = taken_from(self.key, claims)
        self.special = self.special or self.source != ANYONE


NameT = TypeVar("NameT", bound=FieldName)


def split_fields(block: bytes, names: Memo[bytes, NameT], code: str) -> list[tuple[NameT, bytes]]:
    """Split a header section, each line with its CRLF, into names and values without the white space around them.

    Args:
        names: maps the bytes before a colon to a `FieldName`, or raises `Refusal`.
        code: code of each `Refusal`.
    """
    lines = block.split(b"\r\n")
    if lines.pop() or len(block.translate(None, _FORBIDDEN)) != len(block) - 2 * len(lines):
        raise Refusal(code, _describe_error(block))
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Refusal(code, _describe_error(block))
        try:
            fields.append((names[name], value.strip(b" \t")))
        except Refusal:
            raise Refusal(code, _describe_error(block)) from None
    return fields


def check_fields(pairs: Iterable[Pair], names: Memo[bytes, NameT], code: str) -> list[tuple[NameT, bytes]]:
    """Check fields given as pairs, by the rules of `split_fields`."""
    fields = []
    for name, value in pairs:
        if len(value.translate(None, _FORBIDDEN)) != len(value):
            raise Refusal(code, "a header value has a control character (RFC 9110 5.5)")
        fields.append((names[name], value.strip(b" \t")))
    return fields


def _describe_error(block: bytes) -> str:
    """Describe which line broke which rule."""
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
    """Parse a Content-Length value strictly: digits, no sign, no list, no leading zero (RFC 9110 8.6)."""
    if not _LENGTH.fullmatch(value) or int(value) > _MAX_LENGTH:
        raise Refusal(code, "Content-Length is not one plain decimal number (RFC 9110 8.6)")
    return int(value)


def is_chunked(value: bytes, code: str, unknown: str) -> bool:
    """Parse a Transfer-Encoding value; only `chunked` alone is supported (RFC 9112 6.1).

    Args:
        code: error code for a malformed value; `unknown`: for a coding that is not implemented.
    """
    if value.lower() == b"chunked":
        return True
    if re.fullmatch(rb"(?:gzip|x-gzip|deflate|compress|x-compress)(?:[ \t]*,[ \t]*chunked)?", value.lower()):
        raise Refusal(unknown, "the only transfer coding understood here is chunked (RFC 9112 6.1)")
    raise Refusal(code, "Transfer-Encoding is not exactly 'chunked' (RFC 9112 6.1)")


def tokens(value: bytes) -> list[bytes]:
    """Split a comma-separated list into lower-case elements without the empty ones (RFC 9110 5.6.1)."""
    return [token for part in value.split(b",") if (token := part.strip(b" \t").lower())]


class ConnectionOptions:
    """The options of a Connection field (RFC 9110 7.6.1).

    Attributes:
        nominated: names of further hop-by-hop fields. Fields that carry identity, framing or routing are not accepted
            here, so that a peer cannot remove them.
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
"""`OPTIONS[value]` are the options of the Connection field `value`; several fields are joined with commas."""


def render(pairs: Iterable[Pair]) -> bytes:
    """Render fields as lines, each with its CRLF."""
    parts: list[bytes] = []
    for name, value in pairs:
        parts += (name, b": ", value, b"\r\n")
    return b"".join(parts)
