"""A body that arrives in pieces: passed on as it arrives, or held until it is read, with a bound.

A connection feeds a `Body`; its bytes are read (`read`, from an async policy) or passed on to a sink (`pipe`, by the
engine). Until then, the source is held once more than `HIGH_WATER_BYTES` have arrived. A body that arrived complete
with its head is plain `bytes` and no `Body`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from propylon.engine.errors import GatewayError
from propylon.engine.sides import UNKNOWN

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.offer import Offer
    from propylon.http.headers import Pair

HIGH_WATER_BYTES = 65536  # as uvloop's and asyncio's write buffers


class BodySource(Protocol):
    """The source of a body: a connection, a file, an iterator.

    It feeds the body while no owner holds it. There may be several: a full `Body`, a busy policy, a connection with
    backpressure.
    """

    def hold(self, owner: object) -> None:
        """Stop feeding the body, until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Resume feeding the body, if no other owner holds it."""

    def body_wanted(self) -> None:
        """Start feeding: the body will be read. A client is sent `100 Continue` now (RFC 9110 10.1.1)."""


class BodySink(Protocol):
    """The destination of a body."""

    def write_body(self, data: bytes) -> None:
        """Handle a piece, which is never empty."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Handle the end."""


class BodyTap(BodySink, Protocol):
    """An observer of a body on its way to a sink or reader."""

    def fail_body(self, error: GatewayError) -> None:
        """Handle that the end will not arrive: the body failed, or was discarded."""


class Body:
    """A body under way.

    Attributes:
        ended: the last byte has arrived.
        error: why the last byte will never arrive.
        length: in bytes, or `UNKNOWN`.
        offer: the offer of this request body to an endpoint, while it is open.
        size: bytes that have arrived so far.
        watcher: an exchange to notify of the end and of a failure.
    """

    __slots__ = (
        "_held", "_held_bytes", "_holding", "_sink", "_taps", "_trailers", "_waiter", "_wanted", "ended", "error",
        "length", "offer", "size", "source", "watcher",
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
        self.offer: Offer | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Make a body of data that has all arrived."""
        body = cls(_COMPLETE, len(data))
        if data:
            body.feed(data)
        body.end([])
        return body

    @property
    def wanted(self) -> bool:
        """Whether it is read or passed on, or was."""
        return self._wanted

    def feed(self, data: bytes) -> None:
        """Handle a piece from the source."""
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
        """Handle the end from the source."""
        self.ended = True
        self._trailers = trailers
        for tap in self._taps:
            tap.end_body(trailers)
        if self._sink is not None:
            self._sink.end_body(trailers)
        self._wake()

    def fail(self, error: GatewayError) -> None:
        """Handle a failure of the source; a reader gets `error`."""
        self.error = error
        self._fail_taps(error)
        self._wake()

    def pipe(self, sink: BodySink) -> None:
        """Pass what is held and all that follows to `sink`."""
        self._want()
        held, self._held, self._held_bytes = self._held, [], 0
        self._sink = sink
        for data in held:
            sink.write_body(data)
        if self.ended:
            sink.end_body(self._trailers)
        self._release()

    def tap(self, tap: BodyTap) -> None:
        """Copy what is held and all that follows to `tap`, which cannot hold the source.

        Only for a body that has not been read yet.
        """
        self._taps += (tap,)
        for data in self._held:
            tap.write_body(data)
        if self.ended:
            tap.end_body(self._trailers)
        elif self.error is not None:
            tap.fail_body(self.error)

    def untap(self, tap: BodyTap) -> None:
        """Remove `tap`."""
        self._taps = tuple(each for each in self._taps if each is not tap)

    def held(self) -> bytes:
        """Return what has arrived and has not been read or passed on."""
        return b"".join(self._held)

    def detach(self) -> None:
        """Discard what follows, and what is held of a body that has not ended; one that has can still be read."""
        if not self.ended:
            self._fail_taps(GatewayError("relay.client_gone"))
        if not self.ended or self._sink is not None:
            self._sink = _DISCARD
            self._held.clear()
            self._held_bytes = 0
        self._release()

    def free(self) -> None:
        """Discard what follows, and drop the references to its source and exchange, which refer back to it."""
        self.detach()
        self.source = _COMPLETE
        self.watcher = None

    async def read(self) -> bytes:
        """Return the next piece; empty at the end. For async policies only: it waits on a Future, within a Task.

        Raises:
            GatewayError: the error given to `fail`.
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
        """Read to the end. Raises `GatewayError` with the code `too_large` beyond `limit` bytes.

        Then what was read is held again: whoever catches the error can still pass the body on.
        """
        pieces: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            pieces.append(data)
            if size > limit:
                self._unread(pieces, size)
                raise GatewayError(too_large, f"the body is larger than {limit} bytes")
        return b"".join(pieces)

    def _unread(self, pieces: list[bytes], size: int) -> None:
        self._held[:0] = pieces
        self._held_bytes += size
        if self._held_bytes > HIGH_WATER_BYTES and not self._holding and not self.ended:
            self._holding = True
            self.source.hold(self)

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


class _Discard:
    """The sink of a discarded body."""

    def write_body(self, data: bytes) -> None:
        """Drop the piece."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Drop the end."""


_DISCARD = _Discard()


class _Complete:
    """The source of a body that has all arrived: it has nothing to do."""

    def hold(self, owner: object) -> None:
        """Do nothing."""

    def release(self, owner: object) -> None:
        """Do nothing."""

    def body_wanted(self) -> None:
        """Do nothing."""


_COMPLETE = _Complete()
