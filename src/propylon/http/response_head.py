"""Response heads from endpoints, read strictly and remembered (RFC 9112 4-6).

A head is rendered once for the client: `block` holds every end-to-end field as lines, so what is not changed by a
policy costs nothing to forward. What breaks a rule here is the endpoint's fault: `Refusal` head.bad.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from propylon.http.fields import CONNECTION_BOUND, content_length, is_chunked, nominated, split_response_fields, tokens
from propylon.http.refusal import Refusal

if TYPE_CHECKING:
    from propylon.http.headers import Pair

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_DROPPED = CONNECTION_BOUND | {b"x-request-id", b"content-length"}
MAX_FIELDS = 200  # twice what a client may send: endpoints are ours, yet a broken one must not fill the memory


class ResponseHead:
    """The status line and header section of a response.

    Attributes:
        status: 100 to 599.
        line: the status line for an HTTP/1.1 client, with its CRLF.
        visible: the fields a policy sees and a client gets: without those that end at this hop.
        block: `visible` as lines.
        length: Content-Length in bytes, or -1.
        has_date: whether the endpoint dated its message (RFC 9110 6.6.1).
    """

    __slots__ = (
        "block", "chunked", "close", "has_date", "keep_alive", "length", "line", "minor", "status", "upgrade",
        "visible",
    )  # fmt: skip

    def __init__(self, raw: bytes) -> None:
        first, _, block = raw.partition(b"\r\n")
        match = _STATUS_LINE.fullmatch(first)
        if not match:
            raise Refusal("head.bad", "the status line is malformed (RFC 9112 4)")
        minor, status, reason = match.groups()
        self.minor, self.status = int(minor), int(status)
        self.line = b"HTTP/1.1 %b %b\r\n" % (status, reason or b"")
        pairs = split_response_fields(block)
        if len(pairs) > MAX_FIELDS:
            raise Refusal("head.bad", f"more than {MAX_FIELDS} header fields")
        self.visible: tuple[Pair, ...] = ()
        self.block = b""
        self._classify([(name, value.rstrip(b" \t")) for name, value in pairs])

    def _classify(self, pairs: list[Pair]) -> None:
        lengths: list[bytes] = []
        codings: list[bytes] = []
        options: list[bytes] = []
        self.has_date = False
        self.upgrade = b""
        for name, value in pairs:
            key = name.lower()
            if key == b"content-length":
                lengths.append(value)
            elif key == b"transfer-encoding":
                codings.append(value)
            elif key == b"connection":
                options += tokens(value)
            elif key == b"date":
                self.has_date = True
            elif key == b"upgrade":
                self.upgrade = value
        self._read_framing(lengths, codings)
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        dropped = _DROPPED | nominated(options)
        visible = [pair for pair in pairs if pair[0].lower() not in dropped]
        if self.length >= 0 and self.status >= 200 and self.status != 204:  # RFC 9110 8.6
            visible.append((b"content-length", b"%d" % self.length))
        self.visible = tuple(visible)
        self.block = b"".join([b"%b: %b\r\n" % pair for pair in visible])

    def _read_framing(self, lengths: list[bytes], codings: list[bytes]) -> None:
        """Decide where the body ends. Two answers would desynchronise the connection (RFC 9112 6.3)."""
        self.length = -1
        self.chunked = False
        if codings:
            if lengths or len(codings) > 1 or self.minor == 0:
                raise Refusal("head.bad", "ambiguous framing: Transfer-Encoding and something else (RFC 9112 6.1)")
            self.chunked = is_chunked(codings[0], "head.bad", "head.bad")
        elif lengths:
            if len(lengths) > 1:
                raise Refusal("head.bad", "more than one Content-Length field (RFC 9110 8.6)")
            self.length = content_length(lengths[0], "head.bad")

    def has_body(self, method: bytes) -> bool:
        """Say whether a body follows the head, given the request's method (RFC 9112 6.3, rules 1 and 2)."""
        return not (method == b"HEAD" or self.status in (204, 304) or self.status < 200 or self.length == 0)

    def allows_reuse(self) -> bool:
        """Say whether the connection may carry another request afterwards (RFC 9112 9.3)."""
        return self.keep_alive if self.minor == 0 else not self.close
