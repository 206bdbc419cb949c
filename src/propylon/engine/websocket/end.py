"""One side of a tunnel: what reads and writes a byte stream that carries WebSocket frames and no HTTP any more.

It decides nothing: what it sees it tells the `Tunnel`, and what it is told it writes where a frame may begin.
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
    """Reads what its peer sends, and writes what the other end has read.

    Attributes:
        other: the other side.
        reader: follows the peer's frames.
        write: writes to the peer; does nothing once it is gone.
        close_sent: the peer has been sent a Close frame, ours or the other side's.
        gone: its connection is closed, or cannot be used any more.
        masks: frames made here are masked, as those of a client must be (RFC 6455 5.1).
        stall_at: when a peer that takes nothing is given up (`time.monotonic`); `inf` while it does.
    """

    __slots__ = (
        "_begun", "_early", "_ended", "_lingers", "_pending", "_seen", "_stalled", "_stream", "_tunnel", "close_sent",
        "gone", "masks", "other", "reader", "stall_at", "write",
    )  # fmt: skip

    other: End

    def __init__(self, tunnel: Tunnel, reader: FrameReader, masks: bool) -> None:
        self._tunnel = tunnel
        self.masks = masks
        super().__init__()
        self._stream: ByteStream | None = None
        self._early = b""
        self._pending: Close | None = None
        self._begun = self._ended = self._lingers = self._stalled = False
        self._seen = 0
        self.reader = reader
        self.write: Callable[[bytes], None] = _drop
        self.close_sent = self.gone = False
        self.stall_at = inf

    def __repr__(self) -> str:
        side = "endpoint" if self.masks else "client"
        return f"<End {side} {'gone' if self.gone else 'closing' if self.close_sent else 'open'}>"

    def take_over(self, stream: ByteStream | None) -> None:
        """Read and write `stream` from now on; `None` if its connection is closed already."""
        self._stream = stream
        if stream is not None:
            self._stalled, self._ended = stream.stalled, stream.ended
            self.write = stream.write
            self._early = stream.attach(self, self._tunnel.settings.max_buffered)  # it may stall at once

    def begin(self) -> None:
        """Take what happened before both sides were handed over."""
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

    # the stream's side

    def data_received(self, data: bytes) -> None:
        """Pass on what has arrived."""
        reader = self.reader
        try:
            passed = reader.feed(data)
        except WebSocketError as error:
            self.other.write(error.passed)
            self._tunnel.broken(self, error)
            return
        if passed:
            self.other.write(passed)
        if reader.event:
            reader.event = False
            self._tunnel.noticed(self)

    def eof_received(self) -> bool:
        """A WebSocket is not half-closed; only a peer that has said Close may still wait for the answer to it.

        With TLS there is no half: the connection is closed whatever is returned.
        """
        if self.reader.close is not None and not self.close_sent and self._may_half_close():
            return True
        self._tunnel.lost(self)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the connection that was here before, and the tunnel."""
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
        """The peer does not take what is written."""
        if not self._begun:
            self._stalled = True
            return
        self._unsent = self._count_unsent()
        self._tunnel.stalled(self)

    def resume_writing(self) -> None:
        """The peer takes it again."""
        self._stalled = False
        self.stall_at = inf
        self.other.release(self)

    # the tunnel's side

    def say(self, close: Close) -> None:
        """Send a Close frame, as soon as the frame under way has ended; nothing is sent behind it."""
        if self.gone or self.close_sent:
            return
        self.other.reader.mute()
        if self.other.between_frames:
            self._pending = None
            self.close_sent = True
            self.write(self._frame(ws.CLOSE, ws.close_payload(close)))
            if self._lingers:
                self._close_half()
        elif self.other.gone:  # the frame will never end
            self.finish()
        else:
            self._pending = close

    def say_pending(self) -> None:
        """Say what had to wait for the end of a frame."""
        if self._pending is not None:
            self.say(self._pending)

    def silent(self) -> bool:
        """Tell whether nothing has come from the peer since this was asked last."""
        before, self._seen = self._seen, self.reader.bytes
        return self._seen == before

    def heard(self) -> bool:
        """Tell whether anything has come since `silent` was asked."""
        return self.reader.bytes != self._seen

    def ping(self, token: bytes) -> bool:
        """Ping the peer, if a frame may begin now, and it is read and written at all; say whether it was pinged."""
        if self.held or self.stall_at < inf or not self.other.between_frames:
            return False
        self.reader.token = token
        self.write(self._frame(ws.PING, token))
        return True

    @property
    def between_frames(self) -> bool:
        """Whether what the other side has got of this peer ends with a frame."""
        return self.reader.between_frames

    @property
    def between_messages(self) -> bool:
        """Whether what the other side has got of this peer ends with a message."""
        return self.reader.between_messages

    def finish(self) -> None:
        """Close the connection once everything is written."""
        if self._stream is not None:
            self._stream.close()

    def linger(self) -> None:
        """Close our direction behind the Close frame, and go on reading until the peer closes too.

        Bytes that nobody reads would turn what was said into a reset (RFC 6455 7.1.1).
        """
        self._lingers = True
        if self.close_sent:
            self._close_half()

    def abort(self) -> None:
        """Cut the connection."""
        if self._stream is not None:
            self._stream.abort()

    def leave(self) -> None:
        """Take nothing more from the peer and send nothing more to it."""
        self.gone = True
        self.write = _drop
        self.stall_at = inf
        self.finish()

    def skip_message(self) -> None:
        """Pass on nothing more of a message that is under way: whoever had its beginning is gone."""
        self.reader.skip_message()

    def _line(self) -> ByteStream | None:
        return self._stream

    def _count_unsent(self) -> int:
        return 0 if self._stream is None else self._stream.unsent()

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
    """What a peer would get that is gone, or to which everything has been said."""
