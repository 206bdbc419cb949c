"""Messages of a tunnel for `on_message` hooks: complete, unmasked and inflated.

Only for routes with such hooks. Frames are checked as for every tunnel (`http/frames.py`); then the websockets library
assembles them to messages, which pass the hooks in order and are sent as one frame each. During an async hook the
following messages wait, and the sender is held.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import BLOCKING_SECONDS, check_blocking, is_awaitable, start_task
from propylon.engine.pipeline import NamedHook, failed
from propylon.engine.websocket.end import End
from propylon.engine.websocket.message import Message
from propylon.http import websocket as ws
from propylon.http.websocket import WebSocketError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.engine.websocket.tunnel import Tunnel
    from propylon.http.frames import FrameReader
    from propylon.http.permessage_deflate import DeflateParameters

DEFAULT_MAX_BYTES: Final = 1024 * 1024  # of an inflated message, unless `max_message` is set
TURN_BYTES: Final = 256 * 1024  # of inflated messages in one turn of the event loop
MESSAGE_COST: Final = 1024  # bytes of a turn that a message counts besides its content
MIN_DEFLATE_BYTES: Final = 64  # shorter messages hardly compress
_ZLIB_WINDOW_BITS: Final = 9  # zlib cannot compress with less, though RFC 7692 allows 8
_OWN_WINDOW_BITS: Final = 12  # at the most: with the memory level below, 32 KiB a side and not 256
_MEMORY_LEVEL: Final = 5


def codec(parameters: DeflateParameters, *, of_client: bool) -> PerMessageDeflate:
    """Return the codec for the frames from and to a peer."""
    remote, local = ("client", "server") if of_client else ("server", "client")
    return PerMessageDeflate(
        not parameters.keeps_context(remote),
        not parameters.keeps_context(local),
        parameters.window_bits(remote),
        min(max(parameters.window_bits(local), _ZLIB_WINDOW_BITS), _OWN_WINDOW_BITS),
        {"memLevel": _MEMORY_LEVEL},
    )


def may_compress(parameters: DeflateParameters, *, for_client: bool) -> bool:
    """Return whether zlib can compress for the window of this peer."""
    return parameters.window_bits("server" if for_client else "client") >= _ZLIB_WINDOW_BITS


class MessageReader:
    """Assembles frames to messages, one at a time, with control frames in between.

    Only requested messages are inflated: compressed messages can be a thousand times as large when inflated.
    """

    def __init__(self, masked: bool, deflate: PerMessageDeflate | None, max_bytes: int) -> None:
        self._stream = StreamReader()
        self._masked = masked
        self._extensions: Sequence[PerMessageDeflate] = () if deflate is None else (deflate,)
        self._max = max_bytes
        self._content = bytearray()  # not a list of pieces: the number of empty fragments is unbounded
        self._text = False
        self._work = self._parse()

    def feed(self, data: bytes) -> None:
        """Add frames, or parts of them."""
        self._stream.feed_data(data)

    def next(self) -> Message | Frame | None:
        """Return the next message or control frame; `None` if it is incomplete. Raises `WebSocketError`, once."""
        try:
            return next(self._work)
        except ProtocolError:
            raise WebSocketError(ws.PROTOCOL_ERROR, "bad frame or compression") from None
        except PayloadTooBig:
            raise WebSocketError(ws.TOO_BIG, "message_too_big") from None
        except UnicodeDecodeError:
            raise WebSocketError(ws.INVALID_DATA, "text is not UTF-8") from None

    def _parse(self) -> Generator[Message | Frame | None, None, None]:
        content = self._content
        while True:
            frame = yield from Frame.parse(
                self._stream.read_exact,
                mask=self._masked,
                max_size=max(self._max - len(content), ws.MAX_CONTROL_BYTES),
                extensions=self._extensions,
            )
            if frame.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
                yield frame
                continue
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            content += frame.data
            if len(content) > self._max:
                raise PayloadTooBig(len(content), self._max)
            if frame.fin:
                message = Message(content.decode() if self._text else bytes(content))
                content.clear()
                yield message


class InspectedEnd(End):
    """An end with `on_message` hooks."""

    __slots__ = ("_broken", "_deflate", "_direction", "_exchange", "_hooks", "_messages", "_sent", "_task")

    def __init__(
        self, tunnel: Tunnel, reader: FrameReader, masks: bool, x: Exchange, deflate: DeflateParameters | None
    ) -> None:
        super().__init__(tunnel, reader, masks)
        of_client = not masks
        self._exchange = x
        self._hooks: tuple[NamedHook, ...] = x.route.pipeline.on_message
        self._direction = "client" if of_client else "service"
        side = codec(deflate, of_client=of_client) if deflate is not None else None
        self._deflate = side if deflate is not None and may_compress(deflate, for_client=of_client) else None
        self._messages = MessageReader(of_client, side, tunnel.settings.limits.message or DEFAULT_MAX_BYTES)
        self._task: asyncio.Task[Any] | None = None
        self._sent = 0
        self._broken: WebSocketError | None = None

    @property
    def between_frames(self) -> bool:
        """True: only complete messages are passed on."""
        return True

    between_messages = between_frames

    def data_received(self, data: bytes) -> None:
        """Assemble messages, and run the hooks on them; an error waits until those before it have passed."""
        if self._broken is not None:
            return
        try:
            passed = self.reader.feed(data)
        except WebSocketError as error:
            self._broken = error
            passed = error.passed
        self._take(passed)

    def _released(self) -> None:
        """Resume reading, and process messages that have waited."""
        super()._released()
        self._process()

    def send(self, message: Message) -> None:
        """Write a message to the peer, as one frame."""
        data = message.data
        opcode, content = (Opcode.TEXT, data.encode()) if isinstance(data, str) else (Opcode.BINARY, data)
        shrinks = self._deflate is not None and len(content) >= MIN_DEFLATE_BYTES
        extensions = (self._deflate,) if self._deflate is not None and shrinks else ()
        frame = Frame(opcode, content).serialize(mask=self.masks, extensions=extensions)
        self._sent += len(frame)
        self.write(frame)

    def skip_message(self) -> None:
        """Do nothing: no part of an incomplete message has been passed on."""

    def detach(self) -> None:
        """Detach, and cancel an async hook."""
        super().detach()
        self._exchange.disarm_policy(self)
        if self._task is not None:
            self._task.cancel()

    def free(self) -> None:
        """Let go of the exchange too."""
        super().free()
        del self._exchange
        self.reader.event = False  # a turn that is still to come must find nothing to tell

    def _written(self) -> int:
        return self._sent

    def _take(self, data: bytes) -> None:
        if not self.reader.muted:  # an incomplete frame can be dropped: no part of it has been passed on
            self._messages.feed(data)
        self._process()

    def _process(self) -> None:
        """Process messages, until one waits for an async hook, for backpressure, or for the next turn."""
        left = TURN_BYTES
        while not (self.held or self.reader.muted or self.gone):
            if left <= 0:
                self._wait_for_turn()
                break
            try:
                found = self._messages.next()
            except WebSocketError as error:
                self._tunnel.protocol_error(self, error)
                return
            if found is None:
                if self._broken is not None:
                    self._tunnel.protocol_error(self, self._broken)
                break
            left -= MESSAGE_COST + len(found.data)
            if isinstance(found, Message):
                self._run_hooks(found, 0)
            else:
                self.other.write(found.serialize(mask=self.other.masks))
                if found.opcode is Opcode.CLOSE:
                    self._report_close()
        if self.reader.muted and self.reader.event:
            self._report_close()

    def _wait_for_turn(self) -> None:
        """Continue in the next turn: a read may hold thousands of messages, or hundreds of MiB inflated."""
        self.hold(self._messages)
        asyncio.get_running_loop().call_soon(self.release, self._messages)

    def _report_close(self) -> None:
        self.reader.event = False
        self._tunnel.close_event(self)

    def _run_hooks(self, message: Message, number: int) -> None:
        """Run the hooks from `number` on, and send the resulting message."""
        for hook, name in self._hooks[number:]:
            number += 1
            begun = monotonic()
            try:
                result = hook(self._exchange, self._direction, message)
            except (Exception, asyncio.CancelledError) as error:
                check_blocking(name, begun, self._exchange)
                self._fail(name, error)
                return
            if monotonic() - begun > BLOCKING_SECONDS:
                check_blocking(name, begun, self._exchange)
            if is_awaitable(result):
                self._wait(result, name, message, number)
                return
            if message.dropped or self.reader.muted:
                return
        other = self.other
        assert isinstance(other, InspectedEnd)
        other.send(message)

    def _wait(self, work: Awaitable[Any], name: str, message: Message, number: int) -> None:
        """Wait for an async hook; until then the following messages wait, and reading stops."""
        self.hold(self)
        self._exchange.arm_policy(self)
        self._task = start_task(work, name, self._exchange)
        self._task.add_done_callback(lambda task: self._resume(task, name, message, number))

    def _resume(self, task: asyncio.Task[Any], name: str, message: Message, number: int) -> None:
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.gone:
            return
        self._exchange.disarm_policy(self)
        if error is not None:
            self._fail(name, error)
        elif not (message.dropped or self.reader.muted):
            self._run_hooks(message, number)
        if self._task is None:
            self.release(self)

    def _fail(self, name: str, error: BaseException) -> None:
        if not isinstance(error, GatewayError):
            error = failed(self._exchange, name, "tunnel.policy_failed", error)
        self._tunnel.refuse(error)
