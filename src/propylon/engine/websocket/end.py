"""One side of a tunnel: reads and writes a byte stream of WebSocket frames.

It decides nothing: it reports events to the `Tunnel`, and writes the tunnel's own frames between those passed on.
"""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING

from propylon.http import websocket as ws
from propylon.http.websocket import Close, WebSocketError
from propylon.transport.flow import FlowControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.sides import ByteStream
    from propylon.engine.websocket.tunnel import Tunnel
    from propylon.http.frames import FrameReader


class End(FlowControl):
    """Reads from its peer, and writes what the other end has read.

    Attributes:
        other: the other end.
        reader: parses the peer's frames.
        write: writes to the peer; does nothing once it is gone.
        close_sent: a Close frame was sent to the peer, the gateway's or the other peer's.
        gone: its connection is closed, or not used any more.
        sent_close: the Close frame that the gateway has sent to the peer, of its own or as an answer.
        masks: the gateway's frames are masked, as those of a client must be (RFC 6455 5.1).
        stall_at: deadline of a peer that does not read (`time.monotonic`); `inf` while it reads.
    """

    __slots__ = (
        "_acknowledged", "_begun", "_early", "_ended", "_heard_at", "_lingers", "_pending", "_seen", "_stalled",
        "_stream", "_tunnel", "close_sent", "gone", "masks", "other", "reader", "sent_close", "stall_at", "write",
    )  # fmt: skip

    other: End

    def __init__(self, tunnel: Tunnel, reader: FrameReader, masks: bool) -> None:
        self._tunnel = tunnel
        self.masks = masks
        super().__init__()
        self._stream: ByteStream | None = None
        self._early = b""
        self._pending: Close | None = None
        self.sent_close: Close | None = None
        self._begun = self._ended = self._lingers = self._stalled = False
        self._seen = self._acknowledged = 0
        self._heard_at = -inf
        self.reader = reader
        self.write: Callable[[bytes], None] = _drop
        self.close_sent = self.gone = False
        self.stall_at = inf

    def __repr__(self) -> str:
        side = "endpoint" if self.masks else "client"
        return f"<End {side} {'gone' if self.gone else 'closing' if self.close_sent else 'open'}>"

    def attach(self, stream: ByteStream | None) -> None:
        """Attach `stream`; `None` if its connection is closed already."""
        self._stream = stream
        if stream is not None:
            self._stalled, self._ended = stream.stalled, stream.ended
            self.write = stream.write
            self._early = stream.attach(self, self._tunnel.settings.max_buffered)  # it may pause writing at once

    def begin(self) -> None:
        """Process the events since `attach`: both ends are attached now."""
        self._begun = True
        if self._stream is None:
            self._tunnel.lost(self)
            return
        if self._stalled:
            self.pause_writing()
        early, self._early = self._early, b""
        if early:
            self.data_received(early)
        if self._ended:
            self._tunnel.lost(self)

    # called by the stream

    def data_received(self, data: bytes) -> None:
        """Parse frames, and pass them on."""
        reader = self.reader
        try:
            passed = reader.feed(data)
        except WebSocketError as error:
            self.other.write(error.passed)
            self._tunnel.protocol_error(self, error)
            return
        if passed:
            self.other.write(passed)
        if reader.event:
            reader.event = False
            self._tunnel.close_event(self)

    def eof_received(self) -> bool:
        """End the connection: a WebSocket has no half-close, except for a peer that waits for the answer to its Close.

        With TLS there is no half-close: the connection is closed in any case.
        """
        if self.reader.close is not None and not self.close_sent and self._may_half_close():
            return True
        self._tunnel.lost(self)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end to the stream and the tunnel."""
        stream, self._stream = self._stream, None
        self.write = _drop
        if stream is not None:
            stream.lost(error)
        tunnel = self._tunnel
        tunnel.lost(self)
        if tunnel.ended and self.other._stream is None:
            for end in (self, self.other):
                end.free()

    def free(self) -> None:
        """Let go of the tunnel, behind the last event of both sides: a circle would have to wait for the collector."""
        del self._tunnel

    def pause_writing(self) -> None:
        """Report that the peer does not read."""
        if not self._begun:
            self._stalled = True
            return
        self._unsent = self._count_unsent()
        self._tunnel.stalled(self)

    def resume_writing(self) -> None:
        """Release the other end: the peer reads again."""
        self._stalled = False
        self.stall_at = inf
        self.other.release(self)

    # called by the tunnel

    def send_close(self, close: Close) -> None:
        """Send a Close frame, once the current frame has ended; nothing is sent after it."""
        if self.gone or self.close_sent:
            return
        self.other.reader.mute()
        if self.other.between_frames:
            self._pending = None
            self.sent_close = close
            self.close_sent = True
            self.write(self._frame(ws.CLOSE, ws.close_payload(close)))
            if self._lingers:
                self._close_half()
        elif self.other.gone or self.other.reader.cut_off:  # the frame will never be complete
            self.finish()
        else:
            self._pending = close

    def send_pending_close(self) -> None:
        """Send a Close frame that waits for the end of a frame."""
        if self._pending is not None:
            self.send_close(self._pending)

    def silent(self) -> bool:
        """Return whether the peer has sent nothing since the last call."""
        before, self._seen = self._seen, self.reader.bytes
        return self._seen == before

    def active(self) -> bool:
        """Return whether the peer has sent anything since the last call of `silent`."""
        return self.reader.bytes != self._seen

    def deaf_for(self, now: float) -> float:
        """Return for how many seconds the peer's system has acknowledged none of what is sent to it.

        Counted from the first call that finds something unacknowledged.
        """
        unsent = self._count_unsent()
        acknowledged = self._written() - unsent
        if not unsent or acknowledged > self._acknowledged or self._heard_at == -inf:
            self._heard_at, self._acknowledged = now, acknowledged
        return now - self._heard_at

    def ping(self, token: bytes) -> bool:
        """Ping the peer, if no frame is incomplete and there is no backpressure; return whether it was pinged."""
        if self.held or self.stall_at < inf or not self.other.between_frames:
            return False
        self.reader.token = token
        self.write(self._frame(ws.PING, token))
        return True

    @property
    def between_frames(self) -> bool:
        """Whether the last frame passed on from this peer is complete."""
        return self.reader.between_frames

    @property
    def between_messages(self) -> bool:
        """Whether the last message passed on from this peer is complete."""
        return self.reader.between_messages

    def finish(self) -> None:
        """Close the connection once all is written."""
        if self._stream is not None:
            self._stream.close()

    def linger(self) -> None:
        """Half-close after the Close frame, and read on until the peer closes.

        Unread bytes would cause a reset, and the peer could lose the Close frame (RFC 6455 7.1.1).
        """
        self._lingers = True
        if self.close_sent:
            self._close_half()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._stream is not None:
            self._stream.abort()

    def detach(self) -> None:
        """Stop reading and writing, and close the connection."""
        self.gone = True
        self.write = _drop
        self.stall_at = inf
        self.finish()

    def skip_message(self) -> None:
        """Drop the rest of an incomplete message: the endpoint that got its beginning is gone."""
        self.reader.skip_message()

    def _line(self) -> ByteStream | None:
        return self._stream

    def _count_unsent(self) -> int:
        return 0 if self._stream is None else self._stream.unsent()

    def _written(self) -> int:
        """Return the bytes written to the peer, except for the gateway's own frames."""
        return self.other.reader.bytes

    def _may_half_close(self) -> bool:
        return self._stream is not None and self._stream.can_half_close()

    def _close_half(self) -> None:
        if self._may_half_close():
            assert self._stream is not None
            self._stream.half_close()
            self.write = _drop
        else:
            self.finish()

    def _frame(self, opcode: int, payload: bytes) -> bytes:
        return ws.control_frame(opcode, payload, os.urandom(4) if self.masks else None)


def _drop(data: bytes) -> None:
    """Drop data for a peer that is gone, or was sent a Close frame."""
