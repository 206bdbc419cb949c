"""A raw HTTP/1.1 client: sends the bytes it is told, cut where it is told, and reads answers with h11 as the judge."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import h11

from .deadline import PATIENCE, within
from .oracle import MAX_HEAD, Fields, faults_of_framing, faults_of_head, fields_of, values_of

READ = 65536


class ConnectionEnded(AssertionError):
    """The connection ended before a whole answer had come; `partial` is what had come of it."""

    def __init__(self, message: str, partial: Reply | None = None) -> None:
        super().__init__(message)
        self.partial = partial


@dataclass(slots=True)
class Reply:
    """One final response, with the informational ones (1xx) that came before it."""

    status: int
    headers: Fields
    body: bytearray = field(default_factory=bytearray)
    informational: list[int] = field(default_factory=list)
    head: bytes = b""
    trailers: Fields = field(default_factory=list)

    def all(self, name: str) -> list[bytes]:
        """Every value of a header, in order."""
        return values_of(self.headers, name)

    def header(self, name: str) -> str | None:
        """The one value of a header, None when absent; a header that came twice fails the test."""
        found = self.all(name)
        assert len(found) < 2, f"{name} came {len(found)} times: {found}"
        return found[0].decode("latin-1") if found else None

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(bytes(self.body))


class RawClient:
    """One client connection. Use as `async with RawClient(port) as client:`."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, unix: str | None = None) -> None:
        self.broken = False  # a send failed because the gateway had closed
        self._address = unix or (host, port)
        family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        if not unix:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._ended = False

    async def connect(self) -> Self:
        """Open the connection."""
        try:
            async with within(PATIENCE, f"connect to {self._address}"):
                await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        except BaseException:
            self._socket.close()
            raise
        return self

    async def send(self, data: bytes, *, cuts: Iterable[int] = ()) -> None:
        """Send `data` in pieces that end at the offsets `cuts`; the event loop turns between pieces."""
        edges = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(data)), len(data)]
        for start, stop in pairwise(edges):
            try:
                async with within(5, "the gateway reads what is sent"):
                    await asyncio.get_running_loop().sock_sendall(self._socket, data[start:stop])
            except ConnectionError:
                self.broken = True
                return
            if stop != len(data):
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    async def send_all(self, data: bytes) -> None:
        """Send a lot of data, however long the gateway takes to read it."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def send_bytewise(self, data: bytes) -> None:
        """Send `data` one byte at a time."""
        await self.send(data, cuts=range(1, len(data)))

    def half_close(self) -> None:
        """Send FIN, still read."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST: drop everything at once."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def _read(self) -> bytes:
        if self._ended:
            return b""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, READ)
        except ConnectionError:
            data = b""
        self._ended = not data
        self._buffer += data
        return data

    async def read_some(self, seconds: float = PATIENCE) -> bytes:
        """The next bytes, b"" at the end of the connection; they are not seen by `reply` any more."""
        async with within(seconds, "bytes from the gateway"):
            if not self._buffer:
                await self._read()
        data, self._buffer = self._buffer, b""
        return data

    async def read_until(self, mark: bytes, seconds: float = PATIENCE) -> bytes:
        """The bytes up to and with `mark`."""
        async with within(seconds, f"{mark!r} from the gateway"):
            while mark not in self._buffer:
                if not await self._read():
                    raise ConnectionEnded(f"ended before {mark!r}, after {self._buffer[:300]!r}")
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    async def until_closed(self, seconds: float = PATIENCE) -> bytes:
        """Everything up to the end of the connection."""
        async with within(seconds, f"the gateway closes the client connection (so far: {self._buffer[:200]!r})"):
            while await self._read():
                pass
        data, self._buffer = self._buffer, b""
        return data

    async def assert_closed(self, seconds: float = PATIENCE) -> None:
        """The gateway ends the connection, and sends nothing more before it does."""
        rest = await self.until_closed(seconds)
        assert rest == b"", f"bytes after the last answer: {rest[:300]!r}"

    async def reply(self, method: str = "GET", seconds: float = PATIENCE) -> Reply:
        """Read one whole final response to a `method` request; h11 must agree with every byte of it.

        Raises ConnectionEnded (with what had come as `.partial`) when the connection ends before the response does.
        """
        reading = _Reading(method)
        raw, self._buffer = self._buffer, b""
        reading.feed(raw)
        async with within(seconds, f"an answer to {method} (so far: {raw[:200]!r})"):
            while not reading.finished(self._ended):
                await self._read()
                data, self._buffer = self._buffer, b""
                reading.feed(data)
        self._buffer = reading.rest
        assert reading.reply is not None
        return reading.reply

    async def ask(self, request: bytes, method: str | None = None) -> Reply:
        """Send a request and read its answer; the method is read from the request line when not given."""
        await self.send(request)
        return await self.reply(method or request.split(b" ", 1)[0].decode("latin-1"))

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Reading:
    """The reading of one response: bytes in, a `reply` out."""

    def __init__(self, method: str) -> None:
        self.reply: Reply | None = None
        self.rest = b""
        self._raw = b""
        self._informational: list[int] = []
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self._parser.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> None:
        if data:
            if self.reply is None:
                self._raw += data
            self._parser.receive_data(data)

    def finished(self, ended: bool) -> bool:
        """Read on; True when the response is whole."""
        try:
            if ended and not self._parser.trailing_data[1]:
                self._parser.receive_data(b"")
            return self._advance()
        except h11.RemoteProtocolError as problem:
            if ended:
                raise ConnectionEnded(f"ended inside a response: {problem}", self.reply) from None
            raise AssertionError(f"the gateway answered what h11 refuses: {problem}; {self._raw[:300]!r}") from None

    def _advance(self) -> bool:
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.InformationalResponse):
                self._informational.append(event.status_code)
                self._raw = self._raw.partition(b"\r\n\r\n")[2]
            elif isinstance(event, h11.Response):
                self._start(event)
            elif isinstance(event, h11.Data):
                assert self.reply is not None
                self.reply.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert self.reply is not None
                self.reply.trailers = list(event.headers)
                self.rest = self._parser.trailing_data[0]
                return True
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionEnded("the gateway closed without an answer", None)
            else:
                return False

    def _start(self, event: h11.Response) -> None:
        head = self._raw.partition(b"\r\n\r\n")[0]
        headers = fields_of(head)
        fault = faults_of_head(head) or faults_of_framing(headers)
        assert fault is None, f"the gateway answered with {fault}"
        self.reply = Reply(event.status_code, headers, informational=self._informational, head=head)


def request_bytes(
    target: bytes = b"/", *lines: bytes, method: bytes = b"GET", body: bytes | None = None, host: bytes = b"a.example"
) -> bytes:
    """A clean request: `lines` are further header lines without CRLF, a body gets its content-length."""
    head = [method + b" " + target + b" HTTP/1.1", b"host: " + host, *lines]
    if body is not None:
        head.append(b"content-length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + (body or b"")
