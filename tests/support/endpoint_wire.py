"""A connection to an endpoint, driven without a socket: what it writes, and what becomes of what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from propylon.engine.exchange import Exchange
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.idle_age import IdleAge
from tests.support.fakes import FakeClient, FakeTransport, exchange


class Pool:
    """Counts what comes back."""

    def __init__(self) -> None:
        self.given_back: list[object] = []
        self.lost_count = 0
        self.idle_age = IdleAge()

    def give_back(self, connection: object) -> None:
        self.given_back.append(connection)

    def lost(self, connection: object) -> None:
        self.lost_count += 1


class Sink:
    """Collects a body."""

    def __init__(self) -> None:
        self.data = b""
        self.trailers: list[tuple[bytes, bytes]] | None = None

    def write_body(self, data: bytes) -> None:
        self.data += data

    def end_body(self, trailers: list[tuple[bytes, bytes]]) -> None:
        assert self.trailers is None
        self.trailers = trailers


class Wire:
    """A connection with a fake transport, a pool that counts, and an exchange that waits."""

    def __init__(self, method: bytes = b"GET", *, send: bool = True) -> None:
        self.pool = Pool()
        self.connection = EndpointConnection(cast("Any", self.pool))
        self.connection.adopted = True
        self.transport = FakeTransport()
        self.connection.connection_made(cast("Any", self.transport))
        self.client = FakeClient()
        self.notified = 0
        self.begin(method)
        if send:
            self.connection.send(method, b"a", b"/", b"", b"", None)
            assert self.transport.take() == method + b" / HTTP/1.1\r\nhost: a\r\n\r\n"

    def begin(self, method: bytes = b"GET") -> None:
        self.x = exchange(client=self.client, method=method)
        self.x.start(self._waiting(self.x))
        self.connection.begin(self.x)

    async def _waiting(self, x: Exchange) -> None:
        while True:
            await x.pause()
            self.notified += 1

    def feed(self, *pieces: bytes) -> Wire:
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def eof(self, error: Exception | None = None) -> Wire:
        """Let the endpoint close, as a transport reports it."""
        if error is None:
            assert not self.connection.eof_received()
        self.connection.connection_lost(error)
        return self

    @property
    def body(self) -> bytes:
        """The body that has arrived and is whole."""
        assert self.connection.complete
        body = self.connection.body
        return body if isinstance(body, bytes) else body.held()

    @property
    def code(self) -> str:
        assert self.connection.error is not None
        return self.connection.error.code

    def kept(self) -> bool:
        """Finish the exchange, and say whether the connection went back to the pool."""
        self.connection.finish()
        if self.pool.given_back:
            assert self.pool.given_back == [self.connection]
            assert not self.transport.closing
            return True
        assert self.transport.closing
        return False


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"
TRAILERS = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: 1\r\n\r\n"
EMPTY = b"HTTP/1.1 304 x\r\ncontent-length: 5\r\n\r\n"
INTERIM = b"HTTP/1.1 103 x\r\nlink: a\r\n\r\nHTTP/1.1 100 x\r\n\r\n" + LENGTH


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]
