"""Writing of HTTP/1.1 responses: status lines, framing, bodies (RFC 9112 4, 6, 7)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from propylon.engine.sides import UNKNOWN
from propylon.http.chunked import last_chunk
from propylon.http.field_case import title_case
from propylon.http.phrases import PHRASES
from propylon.transport.flow import FlowControl
from propylon.transport.unsent import unsent_bytes

if TYPE_CHECKING:
    import asyncio

    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Head
    from propylon.http.headers import Pair

STATUS_LINES: Final = {status: b"HTTP/1.1 %d %b\r\n" % (status, phrase) for status, phrase in PHRASES.items()}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
JOIN_BYTES: Final = 16384  # larger pieces are not concatenated with their chunk size


class ResponseWriter(FlowControl):
    """The part of a connection that writes responses; without a transport it writes nothing.

    Attributes:
        exchange: the exchange in flight, if any.
        deadline: when `check` is due for the connection (`time.monotonic`).
    """

    __slots__ = ("_chunking", "_keep", "_minor", "_stalled", "_transport", "deadline", "exchange")

    def __init__(self) -> None:
        super().__init__()
        self.exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._minor = 1  # minor version of the request
        self._keep = True
        self._chunking = self._stalled = False
        self.deadline = inf

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        """Send a complete response."""
        x = self.exchange
        if self._transport is not None and x is not None:
            fields = self._connection_fields(head)
            # `join` takes two thirds of the time of a format.
            data = b"".join((status_line(head), head.block, added, fields, b"\r\n", body))
            if x.snapshot.title_case:
                data = title_case(data)
            x.bytes_out += len(data)
            self._transport.write(data)

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        """Send the head of a response whose body follows."""
        self._chunking = length == UNKNOWN and self._minor == 1
        if self._chunking:
            added += b"transfer-encoding: chunked\r\n"
        elif length == UNKNOWN:
            self._keep = False  # HTTP/1.0 has no chunks: the body ends with the connection (RFC 9112 6.3)
        x = self.exchange
        if self._transport is None or x is None:
            return
        data = b"%b%b%b%b\r\n" % (status_line(head), head.block, added, self._connection_fields(head))
        if x.snapshot.title_case:
            data = title_case(data)
        x.bytes_out += len(data)
        self._transport.write(data)
        if self._stalled and (source := x.response_source) is not None:
            source.hold(self)  # the client has not read the previous response yet

    def send_interim(self, head: Head) -> None:
        """Send a 1xx response; HTTP/1.0 has none (RFC 9110 15.2)."""
        x = self.exchange
        if self._transport is not None and x is not None and self._minor == 1:
            data = b"%b%b\r\n" % (status_line(head), head.block)
            if x.snapshot.title_case:
                data = title_case(data)
            x.bytes_out += len(data)
            self._transport.write(data)

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""
        x = self.exchange
        if self._transport is None or x is None:
            return
        size = len(data)
        if self._stalled:
            self._unsent += size  # so that progress is visible while bytes are added
        elif self.deadline == inf:
            self._watch()
        x.bytes_out += size
        if not self._chunking:
            self._transport.write(data)
            return
        line = b"%x\r\n" % size
        x.bytes_out += len(line) + 2
        if size > JOIN_BYTES:
            # Not `writelines`: that of asyncio ignores the write buffer's limit in Python 3.12.0 to 3.13.1.
            self._transport.write(line)
            self._transport.write(data)
            self._transport.write(b"\r\n")
        else:
            self._transport.write(b"%b%b\r\n" % (line, data))

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body, with trailers if the client accepts them (RFC 9110 6.5.1)."""
        x = self.exchange
        if self._chunking and self._transport is not None and x is not None:
            data = last_chunk(trailers if x.fields.wants_trailers else [])
            x.bytes_out += len(data)
            self._transport.write(data)
        self._chunking = False

    def _connection_fields(self, head: Head) -> bytes:
        """Decide whether the connection is kept after this response, and return the fields for that."""
        raise NotImplementedError

    def _watch(self) -> None:
        """Watch that the client acknowledges what is written from now on."""
        raise NotImplementedError

    def _line(self) -> asyncio.Transport | None:
        return self._transport

    def _count_unsent(self) -> int:
        return unsent_bytes(self._transport)


def status_line(head: Head) -> bytes:
    """Return the status line, with its CRLF; a status that is not registered has an empty reason (RFC 9112 4)."""
    if head.reason is None:
        return STATUS_LINES.get(head.status) or b"HTTP/1.1 %d \r\n" % head.status
    return b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)
