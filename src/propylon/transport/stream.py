"""A transport as a byte stream: what is left of a connection of HTTP/1.1 behind a 101 (`ByteStream`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from propylon.transport.unsent import unsent_bytes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class StreamEnd(Protocol):
    """What gets the bytes of a stream: the methods are those of `asyncio.Protocol`."""

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""

    def eof_received(self) -> bool:
        """Take the peer's FIN; return whether our direction stays open."""

    def connection_lost(self, error: Exception | None) -> None:
        """Take the end of the stream."""

    def pause_writing(self) -> None:
        """Write no more for now: the peer does not take it."""

    def resume_writing(self) -> None:
        """Write again."""


class TransportStream:
    """Reads and writes a transport in place of the connection that had it before.

    Attributes:
        write: the transport's own method, so that a message costs no call more.
        stalled: the peer does not take what was written before.
        ended: the peer has sent its FIN already.
    """

    __slots__ = ("_early", "_owner", "_transport", "ended", "stalled", "write")

    def __init__(
        self, transport: asyncio.Transport, owner: asyncio.Protocol, early: bytes, *, stalled: bool, ended: bool
    ) -> None:
        """Take a transport over from `owner`; `early` has arrived behind the head."""
        self._transport = transport
        self._owner = owner
        self._early = early
        self.write: Callable[[bytes], None] = transport.write
        self.stalled = stalled
        self.ended = ended

    def attach(self, end: StreamEnd, high: int | None) -> bytes:
        """Give `end` what arrives from now on; return what has arrived before."""
        # asyncio and uvloop take whatever has the methods of a protocol.
        self._transport.set_protocol(cast("asyncio.Protocol", end))
        if high is not None:
            self._transport.set_write_buffer_limits(high=high)
        self._transport.resume_reading()
        early, self._early = self._early, b""
        return early

    def lost(self, error: Exception | None) -> None:
        """Tell the connection that had the transport."""
        self._owner.connection_lost(error)

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def unsent(self) -> int:
        """Return how many of the bytes written the peer has not taken."""
        return unsent_bytes(self._transport)

    def can_half_close(self) -> bool:
        """Say whether one direction can be closed by itself; with TLS it cannot."""
        return self._transport.can_write_eof()

    def half_close(self) -> None:
        """Close our direction behind what was written."""
        self._transport.write_eof()

    def close(self) -> None:
        """Close once everything is written."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
