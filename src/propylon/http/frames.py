"""Boundaries of WebSocket frames in one direction of a connection, without buffering payload (RFC 6455 5).

Rules of this file: bytes in, bytes out. Payload is passed on as it arrives and never copied; only incomplete headers
and control frames are buffered. Every rule that can be checked from headers is checked before the first byte of a
frame is passed on; a violation raises `WebSocketError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from propylon.http.websocket import (
    ABNORMAL,
    CLOSE,
    MAX_CONTROL_BYTES,
    PONG,
    PROTOCOL_ERROR,
    TOO_BIG,
    Close,
    WebSocketError,
    apply_mask,
    read_close,
)

if TYPE_CHECKING:
    from propylon.http.permessage_deflate import InflatedSize

# Meaning of the first byte of a frame, which depends on whether a fragmented message is open.
_BAD, _UNFRAGMENTED, _FIRST, _MIDDLE, _LAST, _CONTROL = range(6)
_FINAL: Final = 0x80
_RSV: Final = 0x70
_RSV1: Final = 0x40
_MASKED: Final = 0x80
_NO_FAST_PATH: Final = bytes(256)
_IGNORED: Final = Close(ABNORMAL)  # in place of a Close frame of a peer that broke the protocol


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """Maximum size of a frame and of a message in bytes; None for no limit but that of the protocol.

    A frame is measured as it is sent, a message as it is for its receiver.
    """

    frame: int | None = None
    message: int | None = None


def _kinds(extensions: bytes, inside: bool) -> bytes:
    """Return the table from first byte to kind of frame; `extensions` are the negotiated ones.

    permessage-deflate uses RSV1 on the first frame of a message (RFC 7692 6). Unknown extensions may use any bit.
    """
    known = extensions.strip().lower()
    foreign = bool(known) and any(not name.strip().startswith(b"permessage-deflate") for name in known.split(b","))
    table = bytearray(256)
    for first in range(256):
        opcode, reserved, final = first & 0x0F, first & _RSV, first & _FINAL
        if opcode in (8, 9, 10):
            allowed, kind = 0, _CONTROL if final else _BAD
        elif inside:
            allowed, kind = 0, (_LAST if final else _MIDDLE) if opcode == 0 else _BAD
        else:
            allowed, kind = _RSV1 if known else 0, (_UNFRAGMENTED if final else _FIRST) if opcode in (1, 2) else _BAD
        if foreign or not reserved & ~allowed:
            table[first] = kind
    return bytes(table)


class FrameReader:
    """Track the frames of one peer.

    Attributes:
        messages: number of data messages begun.
        bytes: bytes received, headers included.
        close: content of the peer's Close frame, once received. Bytes after it are dropped (RFC 6455 5.5.1).
        token: the payload of the gateway's own ping; pongs with it are not passed on.
        event: a Close frame was received, or a muted reader has reached the end of a frame; reset by the caller.
    """

    __slots__ = (
        "_fast", "_fresh", "_head", "_inside", "_key", "_left", "_limits", "_masked", "_message", "_meter", "_metered",
        "_muted", "_overhead", "_passing", "_short", "_skipping", "_table", "bytes", "close", "event", "messages",
        "token",
    )  # fmt: skip

    def __init__(self, masked: bool, extensions: bytes, limits: FrameLimits, meter: InflatedSize | None = None) -> None:
        """Make the reader of one peer.

        Args:
            masked: the peer is a client and must mask; a server must not (RFC 6455 5.1).
            extensions: the negotiated ones.
            meter: bounds the size of compressed messages; without it they are measured as they are sent.
        """
        self._fresh, self._inside = _kinds(extensions, False), _kinds(extensions, True)
        self._table = self._fresh
        self._limits = limits
        self._masked = _MASKED if masked else 0
        self._overhead = 6 if masked else 2
        # Frames on the fast path have at most 125 bytes, so only a smaller limit disables it.
        self._short = self._fresh if min(limits.frame or 126, limits.message or 126) > 125 else _NO_FAST_PATH
        self._meter = meter
        if meter is not None:  # compressed messages are not short
            self._short = bytes(_BAD if first & _RSV1 else kind for first, kind in enumerate(self._short))
        self._metered = False  # the open message is compressed, and measured by the meter
        self._key = b""  # mask of the open frame of such a message, rotated to its next byte
        self._fast = self._short
        self._head = b""
        self._left = 0
        self._message = 0
        self._muted = self._skipping = False
        self._passing = True
        self.messages = self.bytes = 0
        self.close: Close | None = None
        self.token = b""
        self.event = False

    @property
    def between_frames(self) -> bool:
        """Whether the bytes passed on end at a frame boundary, so that another frame may follow."""
        return not self._left or not self._passing

    @property
    def between_messages(self) -> bool:
        """Whether the bytes passed on end at a message boundary."""
        return self.between_frames and (self._table is self._fresh or self._skipping)

    @property
    def cut_off(self) -> bool:
        """Whether nothing follows any more (`ignore`), though the bytes passed on end in the middle of a frame."""
        return self.close is _IGNORED and not self.between_frames

    @property
    def muted(self) -> bool:
        """Whether `mute` was called."""
        return self._muted

    def ignore(self) -> None:
        """Drop all further bytes: after a protocol error the next frame boundary is unknown."""
        self.close = _IGNORED
        self.mute()

    def skip_message(self) -> None:
        """Drop the rest of an open message; the next one is passed on again."""
        if not self.between_messages:
            self._skipping = True
            self._passing = False

    def mute(self) -> None:
        """Pass on no further frame; an open one is still passed on to its end."""
        self._muted = True
        self._fast = _NO_FAST_PATH

    def feed(self, data: bytes) -> bytes:
        """Parse received bytes and return those to be passed on.

        Raises:
            WebSocketError: a protocol error; its `passed` bytes are still to be passed on.
        """
        size = len(data)
        self.bytes += size
        # Fast path: the data is exactly one short unfragmented message.
        if size > 1 and self._fast[data[0]] == _UNFRAGMENTED and not self._left and not self._head:
            length = data[1] ^ self._masked
            if length < 126 and length + self._overhead == size:
                self.messages += 1
                return data
        return self._walk(data)

    def _walk(self, data: bytes) -> bytes:
        """Parse frame by frame; the result is joined from runs of complete and partial frames."""
        if self.close is _IGNORED:
            return b""
        if self._head:
            data = self._head + data
            self._head = b""
        size, at = len(data), 0
        run = 0 if self._passing else -1  # start of the current run of bytes to pass on; -1 outside of one
        begun = -1  # start of the current frame; -1 in an earlier read
        pieces: list[bytes] = []
        try:
            while at < size:
                if self._left:
                    step = min(self._left, size - at)
                    if self._metered:
                        self._measure(data[at : at + step])
                    self._left -= step
                    self.event |= self._muted and not self._left
                elif self.close is not None:
                    break
                else:
                    begun = at
                    step, passing = self._begin(data, at, size)
                    if not step:
                        self._head = data[at:]
                        break
                    if passing != self._passing:
                        self._passing = passing
                        if passing:
                            run = at
                        else:
                            pieces.append(data[run:at])
                            run = -1
                at += step
        except WebSocketError as error:
            if self._left and begun >= 0:  # nothing of this frame has been passed on
                self._left, at = 0, begun
            error.passed = b"".join(pieces) + (data[run:at] if run >= 0 else b"")
            raise
        if run >= 0:
            pieces.append(data[run:at])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin(self, data: bytes, at: int, size: int) -> tuple[int, bool]:
        """Parse the header at `at`; return the bytes to consume (0: incomplete), and whether to pass the frame on.

        A control frame is consumed whole, of other frames only the header: `_left` is set to the payload size.
        """
        if size - at < 2:
            return 0, False
        kind = self._table[data[at]]
        if kind == _BAD:
            raise WebSocketError(PROTOCOL_ERROR, "bad opcode, reserved bit or fragment")
        short = data[at + 1] ^ self._masked
        if short > 127:
            raise WebSocketError(PROTOCOL_ERROR, "frame is not masked" if self._masked else "frame is masked")
        head = self._overhead
        if short < 126:
            length = short
        elif kind == _CONTROL:
            raise WebSocketError(PROTOCOL_ERROR, f"control frame over {MAX_CONTROL_BYTES} bytes")
        else:
            more = 2 if short == 126 else 8
            head += more
            if size - at < 2 + more:
                return 0, False
            length = int.from_bytes(data[at + 2 : at + 2 + more], "big")
            self._check_length(length, more)
        if size - at < head:
            return 0, False
        if kind != _CONTROL:
            if kind in (_UNFRAGMENTED, _FIRST):
                self._skipping = False
                self._begin_message(data[at] & _RSV1)
            self._count(kind, length)
            if self._metered:
                self._key = data[at + head - 4 : at + head] if self._masked else b""
                if not length:
                    self._measure(b"")
            self._left = length
            return head, not self._muted and not self._skipping
        if size - at < head + length:
            return 0, False
        passing = self._control(data[at : at + head + length], head)
        return head + length, passing and not self._muted

    def _check_length(self, length: int, size: int) -> None:
        """Check that an extended length has its minimal encoding and a zero top bit (RFC 6455 5.2)."""
        if length < (126 if size == 2 else 65536) or length >> 63:
            raise WebSocketError(PROTOCOL_ERROR, "bad frame length")

    def _count(self, kind: int, length: int) -> None:
        """Update the state of fragmentation (RFC 6455 5.4), and check a data frame against the limits."""
        self._message += length
        limits = self._limits
        if (limits.frame is not None and length > limits.frame) or (
            limits.message is not None and self._message > limits.message and not self._metered
        ):
            raise WebSocketError(TOO_BIG, "message_too_big")
        if kind in (_UNFRAGMENTED, _FIRST):
            self.messages += 1
        if kind == _FIRST:
            self._table = self._inside
            self._fast = _NO_FAST_PATH
        elif kind == _LAST:
            self._table = self._fresh
            if not self._muted:
                self._fast = self._short

    def _begin_message(self, compressed: int) -> None:
        """Start to measure a message."""
        self._message = 0
        if compressed and self._meter is not None and not self._muted:
            self._metered = True
            self._meter.begin()

    def _measure(self, payload: bytes) -> None:
        """Measure a part of a compressed message."""
        assert self._meter is not None
        size = len(payload)
        if key := self._key:
            payload = apply_mask(payload, key)
            turn = size % 4
            self._key = key[turn:] + key[:turn]
        last = size == self._left and self._table is self._fresh  # the end of its last frame
        self._metered = not last
        self._meter.add(payload, last=last)

    def _control(self, frame: bytes, head: int) -> bool:
        """Process a complete control frame; return whether it is passed on."""
        opcode = frame[0] & 0x0F
        if opcode == CLOSE:
            self.close = read_close(self._payload(frame, head))
            self.event = True
            self._fast = _NO_FAST_PATH
        elif opcode == PONG and self.token and self._payload(frame, head) == self.token:
            return False
        return True

    def _payload(self, frame: bytes, head: int) -> bytes:
        return apply_mask(frame[head:], frame[head - 4 : head]) if self._masked else frame[head:]
