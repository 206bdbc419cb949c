"""A body that arrives in pieces: handed on as it comes, or held until somebody reads it, never without bound.

A connection feeds a `Body`; whoever wants the bytes either reads them (`read`, from an async policy) or has them
passed on (`pipe`, the engine). Until then at most `HIGH_WATER_BYTES` are held and the connection is not read further.
A body that came whole with its head never becomes a `Body`: it is plain `bytes`.
"""

from __future__ import annotations

import asyncio
from typing import IO, TYPE_CHECKING, Protocol

from propylon.engine.errors import GatewayError

if TYPE_CHECKING:
    from propylon.http.headers import Pair

HIGH_WATER_BYTES = 65536  # as uvloop's and asyncio's write buffers
SPOOL_MEMORY_BYTES = 1024 * 1024  # a spooled body is kept in memory up to here, beyond it goes to disk
FILE_PIECE_BYTES = 65536


class Source(Protocol):
    """Where a body comes from: a connection, or a file."""

    def pause_reading(self) -> None:
        """Stop feeding the body."""

    def resume_reading(self) -> None:
        """Feed the body again."""

    def body_wanted(self) -> None:
        """Learn that the body will be read: the moment for `100 Continue` (RFC 9110 10.1.1)."""


class Sink(Protocol):
    """Where a body goes to."""

    def write_body(self, data: bytes) -> None:
        """Take a piece, which is never empty."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Take the end."""


class Body:
    """A body under way.

    Attributes:
        ended: the last byte has arrived.
    """

    __slots__ = ("_held", "_held_bytes", "_paused", "_sink", "_trailers", "_waiter", "_wanted", "ended", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.ended = False
        self._sink: Sink | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._paused = False
        self._wanted = False
        self._trailers: list[Pair] = []
        self._waiter: asyncio.Future[None] | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Make a body of what is all there already."""
        body = cls(_DELIVERED)
        if data:
            body.feed(data)
        body.end([])
        return body

    def feed(self, data: bytes) -> None:
        """Take a piece from the source."""
        sink = self._sink
        if sink is not None:
            sink.write_body(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HIGH_WATER_BYTES:
            self._paused = True
            self.source.pause_reading()
        self._wake()

    def end(self, trailers: list[Pair]) -> None:
        """Take the end from the source."""
        self.ended = True
        self._trailers = trailers
        if self._sink is not None:
            self._sink.end_body(trailers)
        self._wake()

    def pipe(self, sink: Sink) -> None:
        """Pass on what is held and all that follows."""
        self._want()
        self._sink = sink
        held, self._held, self._held_bytes = self._held, [], 0
        for data in held:
            sink.write_body(data)
        if self.ended:
            sink.end_body(self._trailers)
        self._resume()

    def held(self) -> bytes:
        """Return what has arrived of a body that nobody has begun to read."""
        return b"".join(self._held)

    def detach(self) -> None:
        """Throw away what follows: nobody wants it any more."""
        self._sink = _NOWHERE
        self._held.clear()
        self._held_bytes = 0
        self._resume()

    async def read(self) -> bytes:
        """Wait for the next piece; empty at the end. For async policies only: it waits as a Task does."""
        self._want()
        while not self._held and not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._resume()
        return data

    async def read_all(self, limit: int, too_large: str) -> bytes:
        """Read to the end. Raises `GatewayError` with the code `too_large` beyond `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit:
                raise GatewayError(too_large, f"the body is larger than {limit} bytes")
            pieces.append(data)
        return b"".join(pieces)

    async def spool(self, limit: int, too_large: str) -> IO[bytes]:
        """Read to the end into a temporary file, which stays in memory while it is small."""
        from tempfile import SpooledTemporaryFile  # imports half of the standard library, and few need it

        file: IO[bytes] = SpooledTemporaryFile(max_size=SPOOL_MEMORY_BYTES)  # noqa: SIM115 - the exchange closes it
        try:
            while data := await self.read():
                if file.tell() + len(data) > limit:
                    raise GatewayError(too_large, f"the body is larger than {limit} bytes")
                file.write(data)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def _want(self) -> None:
        if not self._wanted and not self.ended:
            self._wanted = True
            self.source.body_wanted()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.source.resume_reading()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)


class _Nowhere:
    """The sink of a body nobody wants."""

    def write_body(self, data: bytes) -> None:
        """Drop it."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Drop it."""


_NOWHERE = _Nowhere()


class _Delivered:
    """The source of a body that has all arrived."""

    def pause_reading(self) -> None:
        """Nothing to pause."""

    def resume_reading(self) -> None:
        """Nothing to resume."""

    def body_wanted(self) -> None:
        """Nothing to ask for."""


_DELIVERED = _Delivered()


class FileSource:
    """Feeds a spooled file into a `Body`, one piece at a time, as fast as the sink takes it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._running = False
        self._paused = False
        self.body = Body(self)

    def body_wanted(self) -> None:
        """Begin once the sink is in place."""
        asyncio.get_running_loop().call_soon(self.resume_reading)

    def pause_reading(self) -> None:
        """Stop feeding the body."""
        self._paused = True

    def resume_reading(self) -> None:
        """Feed the body until its sink has enough."""
        self._paused = False
        if self._running or self.body.ended:
            return
        self._running = True
        try:
            while not self._paused and not self.body.ended:
                data = self._file.read(FILE_PIECE_BYTES) if not self._file.closed else b""
                if data:
                    self.body.feed(data)
                else:
                    self.body.end([])
        finally:
            self._running = False
