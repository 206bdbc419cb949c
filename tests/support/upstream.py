"""A scripted upstream: an HTTP/1.1 server that does exactly what a test tells it, and remembers every byte it got.

A script is a coroutine that is started for each connection:

    async def script(connection: UpstreamConnection) -> None:
        request = await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok")

`answer(...)` makes the usual script: one canned answer a request, the last one repeated.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from .deadline import PATIENCE, within
from .oracle import Message, RequestOracle

Script = Callable[["UpstreamConnection"], Awaitable[None]]
Answer = bytes | Callable[[Message], bytes]


class PeerGone(Exception):
    """The gateway ended the connection while the script waited for bytes; ends the script quietly."""


def ok(body: bytes = b"ok", *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """A response with a content-length; `lines` are further header lines without CRLF."""
    head = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    """A 200 response with a chunked body."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def without_body(raw: bytes) -> bytes:
    """The head of a response: what answers a HEAD (RFC 9110 9.3.2)."""
    head, end, _ = raw.partition(b"\r\n\r\n")
    return head + end


def answer(*answers: Answer) -> Script:
    """A script that gives one of `answers` to each whole request, across connections, repeating the last."""
    left = list(answers)

    async def script(connection: UpstreamConnection) -> None:
        while True:
            request = await connection.request()
            chosen = left.pop(0) if len(left) > 1 else left[0]
            raw = chosen if isinstance(chosen, bytes) else chosen(request)
            connection.send(without_body(raw) if request.method == b"HEAD" else raw)

    return script


class UpstreamConnection(asyncio.Protocol):
    """One connection the gateway made to the upstream."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.received = bytearray()
        self.oracle = RequestOracle()
        self.eof = False
        self.lost = False
        self._handed_out = 0
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport

    def __repr__(self) -> str:
        state = "lost" if self.lost else "eof" if self.eof else "open"
        return f"<UpstreamConnection {state}, {len(self.oracle.requests)} requests, {len(self.received)} bytes>"

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.upstream.accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.oracle.feed(data)
        self._tell()

    def eof_received(self) -> bool:
        self.eof = True
        self._tell()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof = self.lost = True
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self.upstream.tell()

    # What scripts and tests call.

    async def until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until `ready()`; PeerGone when the gateway ends the connection first. For scripts: no deadline."""
        while not ready():
            if self.eof:
                raise PeerGone(what)
            await self._changed.wait()

    async def head(self) -> Message:
        """The next request as soon as its head is there."""
        index = self._handed_out
        await self.until(lambda: len(self.oracle.requests) > index, "the head of a request")
        self._handed_out += 1
        return self.oracle.requests[index]

    async def body_of(self, request: Message) -> bytes:
        """The whole body of a request; PeerGone when it was cut."""
        await self.until(lambda: request.complete, "the end of a request body")
        return bytes(request.body)

    async def body_bytes(self, request: Message, count: int) -> None:
        """Wait until at least `count` bytes of a body are there."""
        await self.until(lambda: len(request.body) >= count, f"{count} bytes of a request body")

    async def request(self) -> Message:
        """The next request, whole."""
        request = await self.head()
        await self.body_of(request)
        return request

    async def gone(self, seconds: float = PATIENCE) -> None:
        """Assert that the gateway ends this connection within `seconds`."""
        async with within(seconds, f"the gateway closes {self!r}"):
            while not self.eof:
                await self._changed.wait()

    def send(self, data: bytes) -> None:
        """Write bytes; nothing is checked."""
        if not self.lost:
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Stop taking bytes, so that the gateway meets a full socket."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._writable.clear()
        self._tell()

    def resume_writing(self) -> None:
        self._writable.set()

    async def drained(self, *, on_full: Callable[[], None]) -> None:
        """Return once the gateway has taken what was sent; call `on_full` if it does not take it for 0.2 s."""
        try:
            await asyncio.wait_for(self._writable.wait(), 0.2)
        except TimeoutError:
            on_full()
            await self._writable.wait()

    def half_close(self) -> None:
        """Send FIN, still read."""
        self._transport.write_eof()

    def close(self) -> None:
        """Send what was written, then FIN."""
        self._transport.close()

    def reset(self) -> None:
        """Send RST: drop everything at once."""
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


class ScriptedUpstream:
    """A server on a free port of 127.0.0.1 (or on a Unix socket) that runs `script` for each connection."""

    def __init__(self, script: Script, *, unix: Path | None = None) -> None:
        self.connections: list[UpstreamConnection] = []
        self.failures: list[BaseException] = []
        self.port = 0
        self.tolerant = False  # True: what arrives need not be HTTP (tunnels)
        self._script = script
        self._unix = unix
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server

    @property
    def authority(self) -> str:
        """host:port, as it must stand in the Host header towards this upstream."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL to name this upstream in a configuration."""
        return f"http://{self.authority}"

    @property
    def requests(self) -> list[Message]:
        """Every request whose head arrived, in order of connection."""
        return [request for connection in self.connections for request in connection.oracle.requests]

    @property
    def received(self) -> bytes:
        """Every byte that arrived, in order of connection."""
        return b"".join(bytes(connection.received) for connection in self.connections)

    async def start(self) -> Self:
        """Listen."""
        loop = asyncio.get_running_loop()
        if self._unix is not None:
            self._server = await loop.create_unix_server(lambda: UpstreamConnection(self), str(self._unix))
        else:
            self._server = await loop.create_server(lambda: UpstreamConnection(self), "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop_listening(self) -> None:
        """Refuse further connections; those that are open stay."""
        self._server.close()

    def accepted(self, connection: UpstreamConnection) -> None:
        """Called by a new connection: start the script for it."""
        self.connections.append(connection)
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.tell()

    async def _run(self, connection: UpstreamConnection) -> None:
        try:
            await self._script(connection)
        except PeerGone:
            pass
        except Exception as problem:
            self.failures.append(problem)
        self.tell()

    def tell(self) -> None:
        """Wake who waits in `until`."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, ready: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait until `ready()`, looked at after each event on any connection."""
        async with within(seconds, f"upstream: {what}"):
            while not ready():
                await self._changed.wait()

    def check(self) -> None:
        """Fail if a script failed, or if the gateway sent anything that is not a clean HTTP/1.1 request."""
        assert not self.failures, f"the upstream script failed: {self.failures}"
        if not self.tolerant:
            faults = [connection.oracle.error for connection in self.connections if connection.oracle.error]
            assert not faults, f"the gateway sent upstream: {faults}"

    def forget_faults(self) -> None:
        """Drop what `check` would fail for, and the connections it came from."""
        self.failures.clear()
        for connection in self.connections:
            if connection.oracle.error is not None:
                connection.oracle.error = None
                connection.reset()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            if not connection.lost:
                connection.reset()
        if kind is None:
            self.check()
