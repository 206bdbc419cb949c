"""The chunked transfer coding, both ways (RFC 9112 7.1).

Every deviation is refused: parser differentials here cause request smuggling. CRLF ends each line, sizes are hex digits
only, extensions are checked, counted and dropped, trailers are counted and kept apart from the headers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from propylon.http.claims import ANYONE, FOLDED, taken_from
from propylon.http.refusal import Refusal

if TYPE_CHECKING:
    from propylon.http.headers import Pair

MAX_SIZE_DIGITS = 16  # 2**64 - 1
MAX_LINE_BYTES = 1024  # size and extensions of one chunk
MAX_EXTENSION_BYTES = 4096  # extensions of one message: unused in practice, except by floods (CVE-2023-39326)
MAX_TRAILER_BYTES = 8192
MAX_TRAILER_FIELDS = 32

# chunk-ext (RFC 9112 7.1.1): tokens or quoted strings, without bytes that another parser could take as a line end.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d})((?:%b)*)" % (MAX_SIZE_DIGITS, _EXTENSION))
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
LAST_CHUNK = b"0\r\n\r\n"
_LF = 10
_SIZES = {form % size: size for size in range(1, 4096) for form in (b"%x", b"%X")}
"""Sizes of up to three hex digits, without leading zeros."""


# Decoder states. Integers, since CPython 3.11 makes a function call for each access to an Enum member.
_READ_SIZE, _READ_DATA, _READ_DATA_END, _READ_TRAILER, _COMPLETE = range(5)


class ChunkedDecoder:
    """Decoder of one body, fed in pieces of any size.

    Attributes:
        done: the last chunk and the trailer section have been read.
        rest: bytes after the body; they belong to the next message.
        size: payload bytes so far.
        trailers: the trailer fields.
    """

    __slots__ = (
        "_buffer", "_extension_bytes", "_left", "_state", "_trailer_bytes", "code", "done", "rest", "size", "trailers",
    )  # fmt: skip

    def __init__(self, code: str) -> None:
        """`code`: code of each `Refusal`: read.bad_chunk for a client, relay.bad_chunk for an endpoint."""
        self.code = code
        self.done = False
        self.rest = b""
        self.size = 0
        self.trailers: list[Pair] = []
        self._state = _READ_SIZE
        self._buffer = b""
        self._left = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Decode received bytes and return the payload. Raises `Refusal` at the first invalid byte."""
        # Fast path for streams: the data is exactly one chunk.
        if self._state == _READ_SIZE and not self._buffer:
            line = data[:4].partition(b"\r")[0]
            start = len(line) + 2
            size = _SIZES.get(line, -1)
            if len(data) == start + size + 2 and data[start - 1] == _LF and data.endswith(b"\r\n"):
                self.size += size
                return [data[start:-2]]
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        payload: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not self.done:
            if self._state == _READ_DATA:
                piece = data[position : position + self._left]
                payload.append(piece)
                self.size += len(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _READ_DATA_END
            elif self._state == _READ_DATA_END:
                if end - position < 2 and data[position] == 13:
                    break
                if data[position : position + 2] != b"\r\n":
                    raise Refusal(self.code, "chunk data is not followed by CRLF (RFC 9112 7.1)")
                position += 2
                self._state = _READ_SIZE
            else:
                line_end = self._line_end(data, position)
                if line_end < 0:
                    break
                self._line(data[position:line_end])
                position = line_end + 2
        if self.done:
            self.rest = data[position:]
        else:
            self._buffer = data[position:]
        return payload

    def _line_end(self, data: bytes, start: int) -> int:
        """Return the position of the CRLF that ends the line at `start`; -1 if it has not arrived."""
        limit = MAX_LINE_BYTES if self._state == _READ_SIZE else MAX_TRAILER_BYTES
        end = data.find(b"\r\n", start, start + limit + 2)
        line = data[start : end if end >= 0 else min(len(data), start + limit + 2)]
        if end < 0 and line.endswith(b"\r"):
            line = line[:-1]
        if b"\n" in line or b"\r" in line:
            raise Refusal(self.code, "a chunk line does not end in CRLF (RFC 9112 7.1)")
        if end < 0 and self._state == _READ_SIZE and line and line[:1] not in b"0123456789abcdefABCDEF":
            raise Refusal(self.code, "a chunk size is not hexadecimal (RFC 9112 7.1)")
        if len(line) > limit:
            raise Refusal(self.code, f"a line of the chunked coding is longer than {limit} bytes")
        return end

    def _line(self, line: bytes) -> None:
        if self._state == _READ_TRAILER:
            self._trailer(line)
            return
        match = _LINE.fullmatch(line)
        if not match:
            raise Refusal(self.code, "a chunk size line is malformed (RFC 9112 7.1)")
        self._extension_bytes += len(match[2])
        if self._extension_bytes > MAX_EXTENSION_BYTES:
            raise Refusal(self.code, f"more than {MAX_EXTENSION_BYTES} bytes of chunk extensions")
        self._left = int(match[1], 16)
        self._state = _READ_DATA if self._left else _READ_TRAILER

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._state = _COMPLETE
            self.done = True
            return
        self._trailer_bytes += len(line)
        match = _TRAILER.fullmatch(line)
        if not match:
            raise Refusal(self.code, "a trailer field is malformed (RFC 9112 7.1.2)")
        if self._trailer_bytes > MAX_TRAILER_BYTES or len(self.trailers) >= MAX_TRAILER_FIELDS:
            raise Refusal(self.code, "the trailer section is too large")
        self.trailers.append((match[1], match[2].rstrip(b" \t")))


# RFC 9110 6.5.1: fields for framing, routing, authentication, control and content must not come in trailers.
_NEVER_TRAILERS = (
    b"content-", b"transfer-encoding", b"host", b"authorization", b"proxy-", b"cookie", b"set-cookie", b"cache-control",
    b"connection", b"expect", b"te", b"trailer", b"upgrade", b"max-forwards", b"pragma", b"range", b"if-", b"age",
    b"expires", b"date", b"location", b"retry-after", b"vary", b"warning", b"www-authenticate", b"x-forwarded-",
    b"forwarded", b"x-request-id", b"x-user", b"x-consumer", b"keep-alive",
)  # fmt: skip


def last_chunk(trailers: list[Pair]) -> bytes:
    """Return the last chunk with those fields that are allowed as trailers (RFC 9110 6.5.1)."""
    kept = [b"%b: %b\r\n" % pair for pair in trailers if _is_trailer(pair[0].lower().translate(FOLDED))]
    return b"0\r\n%b\r\n" % b"".join(kept)


def _is_trailer(name: bytes) -> bool:
    """Return whether a field may come behind a body; a claim about the client never does."""
    return not name.startswith(_NEVER_TRAILERS) and taken_from(name) == ANYONE
