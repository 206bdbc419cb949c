"""Messages of a tunnel as policies see them: whole, unmasked and inflated (`on_message`).

Only routes whose policies ask for it pay for this. Frames are checked and followed as everywhere (`http/frames.py`);
what passes is put together here by the websockets library, shown to the hooks in order, and sent on as one frame. An
async hook makes the messages behind it wait, and their sender with them.
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
from propylon.engine.hook_task import BLOCKING_SECONDS, blocked, is_awaitable, start_task
from propylon.engine.message import Message
from propylon.engine.pipeline import NamedHook, failed
from propylon.engine.websocket.end import End
from propylon.http import websocket as ws
from propylon.http.websocket import WebSocketError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.engine.websocket.tunnel import Tunnel
    from propylon.http.frames import FrameReader

DEFAULT_MAX_BYTES: Final = 1024 * 1024  # of a message, inflated, unless `max_message` says otherwise
TURN_BYTES: Final = 256 * 1024  # of messages, inflated, that pass in one go; then other connections get their turn
MESSAGE_COST: Final = 1024  # what a message costs of that besides its content
MIN_DEFLATE_BYTES: Final = 64  # shorter messages hardly shrink
_WINDOW_BITS: Final = 15  # RFC 7692 7.1.2: unless less was agreed on
_BITS: Final = frozenset(str(bits) for bits in range(8, 16))
_ZLIB_WINDOW_BITS: Final = 9  # zlib cannot compress with less, though RFC 7692 allows 8
_OWN_WINDOW_BITS: Final = 12  # at the most: with the memory level below, 32 KiB a side and not 256
_MEMORY_LEVEL: Final = 5


class Deflate:
    """What client and endpoint have agreed on about compression (RFC 7692 7.1), for the sides of both."""

    def __init__(self, parameters: dict[str, str | None]) -> None:
        self._parameters = parameters

    def side(self, *, of_client: bool) -> PerMessageDeflate:
        """Return what reads from a peer and writes to it."""
        remote, local = ("client", "server") if of_client else ("server", "client")
        return PerMessageDeflate(
            f"{remote}_no_context_takeover" in self._parameters,
            f"{local}_no_context_takeover" in self._parameters,
            self._bits(remote),
            min(max(self._bits(local), _ZLIB_WINDOW_BITS), _OWN_WINDOW_BITS),
            {"memLevel": _MEMORY_LEVEL},
        )

    def may_compress(self, *, for_client: bool) -> bool:
        """Say whether zlib can write for the window that this peer has."""
        return self._bits("server" if for_client else "client") >= _ZLIB_WINDOW_BITS

    def _bits(self, side: str) -> int:
        value = self._parameters.get(f"{side}_max_window_bits")
        return int(value) if value in _BITS else _WINDOW_BITS


def agreed(extensions: bytes) -> Deflate | None:
    """Read a Sec-WebSocket-Extensions that only permessage-deflate can stand in (RFC 6455 9.1)."""
    name, *parameters = (part.strip() for part in extensions.decode("latin-1").lower().split(";"))
    if name != "permessage-deflate":
        return None
    pairs = (parameter.partition("=") for parameter in parameters)
    return Deflate({name.strip(): value.strip(' "') if equals else None for name, equals, value in pairs})


class MessageReader:
    """Puts frames together to messages, one at a time; control frames come out between them.

    What has not been asked for stays as it came: a read of compressed messages can be a thousand times as large
    inflated.
    """

    def __init__(self, masked: bool, deflate: PerMessageDeflate | None, max_bytes: int) -> None:
        self._stream = StreamReader()
        self._masked = masked
        self._extensions: Sequence[PerMessageDeflate] = () if deflate is None else (deflate,)
        self._max = max_bytes
        self._whole = bytearray()  # and no list of pieces: of empty fragments there may be any number
        self._text = False
        self._work = self._parse()

    def feed(self, data: bytes) -> None:
        """Take frames, or parts of them."""
        self._stream.feed_data(data)

    def next(self) -> Message | Frame | None:
        """Return what comes next, once it is whole. Raises `WebSocketError`; nothing comes behind that."""
        try:
            return next(self._work)
        except ProtocolError:
            raise WebSocketError(ws.PROTOCOL_ERROR, "bad frame or compression") from None
        except PayloadTooBig:
            raise WebSocketError(ws.TOO_BIG, "message_too_big") from None
        except UnicodeDecodeError:
            raise WebSocketError(ws.INVALID_DATA, "text is not UTF-8") from None

    def _parse(self) -> Generator[Message | Frame | None, None, None]:
        whole = self._whole
        while True:
            frame = yield from Frame.parse(
                self._stream.read_exact,
                mask=self._masked,
                max_size=max(self._max - len(whole), ws.MAX_CONTROL_BYTES),
                extensions=self._extensions,
            )
            if frame.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
                yield frame
                continue
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            whole += frame.data
            if len(whole) > self._max:
                raise PayloadTooBig(len(whole), self._max)
            if frame.fin:
                message = Message(whole.decode() if self._text else bytes(whole))
                whole.clear()
                yield message


class InspectedEnd(End):
    """An end whose messages go through hooks."""

    __slots__ = ("_deflate", "_direction", "_exchange", "_hooks", "_messages", "_task")

    def __init__(self, tunnel: Tunnel, reader: FrameReader, masks: bool, x: Exchange, extensions: bytes) -> None:
        super().__init__(tunnel, reader, masks)
        of_client = not masks
        deflate = agreed(extensions)
        self._exchange = x
        self._hooks: tuple[NamedHook, ...] = x.route.pipeline.on_message
        self._direction = "client" if of_client else "service"
        side = deflate.side(of_client=of_client) if deflate is not None else None
        self._deflate = side if deflate is not None and deflate.may_compress(for_client=of_client) else None
        self._messages = MessageReader(of_client, side, tunnel.settings.limits.message or DEFAULT_MAX_BYTES)
        self._task: asyncio.Task[Any] | None = None

    @property
    def between_frames(self) -> bool:
        """What is passed on is whole messages, whatever is under way here."""
        return True

    between_messages = between_frames

    def data_received(self, data: bytes) -> None:
        """Put messages together and let the hooks have them."""
        try:
            passed = self.reader.feed(data)
        except WebSocketError as error:
            self._take(error.passed)
            self._tunnel.broken(self, error)
        else:
            self._take(passed)

    def _released(self) -> None:
        """Read the peer again, and pass on what has waited."""
        super()._released()
        self._go_on()

    def send(self, message: Message) -> None:
        """Write a message to the peer, as one frame."""
        data = message.data
        opcode, content = (Opcode.TEXT, data.encode()) if isinstance(data, str) else (Opcode.BINARY, data)
        shrinks = self._deflate is not None and len(content) >= MIN_DEFLATE_BYTES
        extensions = (self._deflate,) if self._deflate is not None and shrinks else ()
        self.write(Frame(opcode, content).serialize(mask=self.masks, extensions=extensions))

    def skip_message(self) -> None:
        """Pass on all of it: nobody had its beginning."""

    def leave(self) -> None:
        """End an async hook with its side."""
        super().leave()
        self._exchange.disarm_policy(self)
        if self._task is not None:
            self._task.cancel()

    def free(self) -> None:
        """Let go of the exchange too."""
        super().free()
        del self._exchange
        self.reader.event = False  # a turn that is still to come must find nothing to tell

    def _take(self, data: bytes) -> None:
        if not self.reader.muted:  # the frame under way need not end: nothing of it has been passed on
            self._messages.feed(data)
        self._go_on()

    def _go_on(self) -> None:
        """Let message after message pass, until one waits for an async hook, for the other side, or for its turn."""
        left = TURN_BYTES
        while not (self.held or self.reader.muted or self.gone):
            if left <= 0:
                self._wait_for_turn()
                break
            try:
                found = self._messages.next()
            except WebSocketError as error:
                self._tunnel.broken(self, error)
                return
            if found is None:
                break
            left -= MESSAGE_COST + len(found.data)
            if isinstance(found, Message):
                self._show(found, 0)
            else:
                self.other.write(found.serialize(mask=self.other.masks))
                if found.opcode is Opcode.CLOSE:
                    self._notice()
        if self.reader.muted and self.reader.event:
            self._notice()

    def _wait_for_turn(self) -> None:
        """Go on in the next round of the loop: a read may hold thousands of messages, or hundreds of MiB inflated."""
        self.hold(self._messages)
        asyncio.get_running_loop().call_soon(self.release, self._messages)

    def _notice(self) -> None:
        self.reader.event = False
        self._tunnel.noticed(self)

    def _show(self, message: Message, number: int) -> None:
        """Let the hooks from `number` on have a message, and send on what they make of it."""
        for hook, name in self._hooks[number:]:
            number += 1
            begun = monotonic()
            try:
                result = hook(self._exchange, self._direction, message)
            except (Exception, asyncio.CancelledError) as error:
                self._fail(name, error)
                return
            if (seconds := monotonic() - begun) > BLOCKING_SECONDS:
                blocked(name, seconds)
            if is_awaitable(result):
                self._wait(result, name, message, number)
                return
            if message.dropped or self.reader.muted:
                return
        other = self.other
        assert isinstance(other, InspectedEnd)
        other.send(message)

    def _wait(self, work: Awaitable[Any], name: str, message: Message, number: int) -> None:
        """Let an async hook have its time; nothing behind `message` passes meanwhile, and no more is read."""
        self.hold(self)
        self._exchange.arm_policy(self)
        self._task = start_task(work, name)
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
            self._show(message, number)
        if self._task is None:
            self.release(self)

    def _fail(self, name: str, error: BaseException) -> None:
        if not isinstance(error, GatewayError):
            error = failed(self._exchange, name, "tunnel.policy_failed", error)
        self._tunnel.refuse(error)
