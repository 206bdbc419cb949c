"""A transport as a byte stream: an HTTP/1.1 connection after a 101 (`ByteStream`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from propylon.transport.unsent import unsent_bytes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class StreamEnd(Protocol):
    """The receiver of a stream, with the methods of `asyncio.Protocol`."""

    def data_received(self, data: bytes) -> None:
        """Handle received bytes."""

    def eof_received(self) -> bool:
        """Handle the peer's FIN; return whether our direction stays open (half-close)."""

    def connection_lost(self, error: Exception | None) -> None:
        """Handle the end of the stream."""

    def pause_writing(self) -> None:
        """Pause writing: the peer does not read."""

    def resume_writing(self) -> None:
        """Resume writing."""


class TransportStream:
    """Reads and writes a transport that a connection has handed over.

    Attributes:
        write: the transport's own method, which saves one call a message.
        stalled: the peer does not read what was written before.
        ended: the peer has sent its FIN already.
    """

    __slots__ = ("_early", "_owner", "_transport", "ended", "stalled", "write")

    def __init__(
        self, transport: asyncio.Transport, owner: asyncio.Protocol, early: bytes, *, stalled: bool, ended: bool
    ) -> None:
        """Take over a transport from `owner`; `early` was received after the head."""
        self._transport = transport
        self._owner = owner
        self._early = early
        self.write: Callable[[bytes], None] = transport.write
        self.stalled = stalled
        self.ended = ended

    def attach(self, end: StreamEnd, high: int | None) -> bytes:
        """Attach `end` as receiver; return the bytes received before."""
        # asyncio and uvloop accept any object with the methods of a protocol.
        self._transport.set_protocol(cast("asyncio.Protocol", end))
        if high is not None:
            self._transport.set_write_buffer_limits(high=high)
        self._transport.resume_reading()
        early, self._early = self._early, b""
        return early

    def lost(self, error: Exception | None) -> None:
        """Report the loss to the connection that owned the transport."""
        self._owner.connection_lost(error)

    def pause_reading(self) -> None:
        """Pause reading."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading."""
        self._transport.resume_reading()

    def unsent(self) -> int:
        """Return the number of written bytes that the peer has not acknowledged."""
        return unsent_bytes(self._transport)

    def can_half_close(self) -> bool:
        """Return whether half-close is possible."""
        return self._transport.can_write_eof()

    def half_close(self) -> None:
        """Close our direction after everything is written."""
        self._transport.write_eof()

    def close(self) -> None:
        """Close once everything is written."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
