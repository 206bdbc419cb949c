"""A body that arrives in pieces: handed on as it comes, or held until somebody reads it, never without bound.

A connection feeds a `Body`; whoever wants the bytes either reads them (`read`, from an async policy) or has them
passed on (`pipe`, the engine). Until then at most `HIGH_WATER_BYTES` are held and the connection is not read further.
A body that came whole with its head never becomes a `Body`: it is plain `bytes`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from propylon.engine.errors import GatewayError
from propylon.engine.sides import UNKNOWN

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.http.headers import Pair

HIGH_WATER_BYTES = 65536  # as uvloop's and asyncio's write buffers


class BodySource(Protocol):
    """Where a body comes from: a connection, or a file.

    Several may want it to wait: a body that holds enough, a policy that is busy, a connection that is full. It feeds
    while nobody holds it.
    """

    def hold(self, owner: object) -> None:
        """Stop feeding the body, until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Feed the body again, if nobody else holds it."""

    def body_wanted(self) -> None:
        """Learn that the body will be read: the moment for `100 Continue` (RFC 9110 10.1.1)."""


class BodySink(Protocol):
    """Where a body goes to."""

    def write_body(self, data: bytes) -> None:
        """Take a piece, which is never empty."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Take the end."""


class BodyTap(BodySink, Protocol):
    """What sees a body pass on its way to somebody else."""

    def fail_body(self, error: GatewayError) -> None:
        """Take that the end will not come here: it failed, or nobody wants it any more."""


class Body:
    """A body under way.

    Attributes:
        ended: the last byte has arrived.
        error: why the last byte will never arrive.
        length: how many bytes it has in all, or `UNKNOWN`.
        size: bytes that have arrived so far.
        watcher: an exchange that is notified of the end and of a failure.
    """

    __slots__ = (
        "_held", "_held_bytes", "_holding", "_sink", "_taps", "_trailers", "_waiter", "_wanted", "ended", "error",
        "length", "size", "source", "watcher",
    )  # fmt: skip

    def __init__(self, source: BodySource, length: int = UNKNOWN) -> None:
        self.source = source
        self.length = length
        self.ended = False
        self.size = 0
        self._taps: tuple[BodyTap, ...] = ()
        self._sink: BodySink | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._holding = False
        self._wanted = False
        self._trailers: list[Pair] = []
        self._waiter: asyncio.Future[None] | None = None
        self.error: GatewayError | None = None
        self.watcher: Exchange | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Make a body of what is all there already."""
        body = cls(_DELIVERED, len(data))
        if data:
            body.feed(data)
        body.end([])
        return body

    def feed(self, data: bytes) -> None:
        """Take a piece from the source."""
        self.size += len(data)
        for tap in self._taps:
            tap.write_body(data)
        sink = self._sink
        if sink is not None:
            sink.write_body(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HIGH_WATER_BYTES and not self._holding:
            self._holding = True
            self.source.hold(self)
        self._wake()

    def end(self, trailers: list[Pair]) -> None:
        """Take the end from the source."""
        self.ended = True
        self._trailers = trailers
        for tap in self._taps:
            tap.end_body(trailers)
        if self._sink is not None:
            self._sink.end_body(trailers)
        self._wake()

    def fail(self, error: GatewayError) -> None:
        """Take from the source that the end will never come; whoever reads gets `error`."""
        self.error = error
        self._fail_taps(error)
        self._wake()

    def pipe(self, sink: BodySink) -> None:
        """Pass on what is held and all that follows."""
        self._want()
        held, self._held, self._held_bytes = self._held, [], 0
        self._sink = sink
        for data in held:
            sink.write_body(data)
        if self.ended:
            sink.end_body(self._trailers)
        self._release()

    def tap(self, tap: BodyTap) -> None:
        """Let `tap` have what is held and all that follows, whoever reads it; it can hold nothing back.

        For a body that nobody has begun to read.
        """
        self._taps += (tap,)
        for data in self._held:
            tap.write_body(data)
        if self.ended:
            tap.end_body(self._trailers)
        elif self.error is not None:
            tap.fail_body(self.error)

    def untap(self, tap: BodyTap) -> None:
        """Tell `tap` nothing more."""
        self._taps = tuple(each for each in self._taps if each is not tap)

    def held(self) -> bytes:
        """Return what has arrived of a body that nobody has begun to read."""
        return b"".join(self._held)

    def detach(self) -> None:
        """Throw away what follows: nobody wants it any more. What is held of one that has ended can still be read."""
        if not self.ended:
            self._fail_taps(GatewayError("relay.client_gone"))
        if not self.ended or self._sink is not None:
            self._sink = _NOWHERE
            self._held.clear()
            self._held_bytes = 0
        self._release()

    def free(self) -> None:
        """Let go of its source and its exchange, which lead back to it: nothing more comes, or is wanted."""
        self.detach()
        self.source = _DELIVERED
        self.watcher = None

    async def read(self) -> bytes:
        """Wait for the next piece; empty at the end. For async policies only: it waits as a Task does.

        Raises:
            GatewayError: what `fail` was given.
        """
        self._want()
        while not self._held and not self.ended:
            if self.error is not None:
                raise self.error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._release()
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

    def _want(self) -> None:
        if not self._wanted and not self.ended:
            self._wanted = True
            self.source.body_wanted()

    def _release(self) -> None:
        if self._holding:
            self._holding = False
            self.source.release(self)

    def _fail_taps(self, error: GatewayError) -> None:
        taps, self._taps = self._taps, ()
        for tap in taps:
            tap.fail_body(error)

    def _wake(self) -> None:
        if self.watcher is not None and (self.ended or self.error is not None):
            self.watcher.notify()
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

    def hold(self, owner: object) -> None:
        """Nothing to stop."""

    def release(self, owner: object) -> None:
        """Nothing to go on with."""

    def body_wanted(self) -> None:
        """Nothing to ask for."""


_DELIVERED = _Delivered()
