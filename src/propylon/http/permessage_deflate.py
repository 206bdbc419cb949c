"""permessage-deflate: what was negotiated, and the size of messages once inflated (RFC 7692)."""

from __future__ import annotations

import zlib
from typing import Any, Final

from propylon.http.websocket import PROTOCOL_ERROR, TOO_BIG, WebSocketError

NAME: Final = "permessage-deflate"
STEP_BYTES: Final = 16 * 1024  # inflated at once, and dropped
FEED_BYTES: Final = 4 * 1024  # given to zlib at once, which copies what is left at each step and final block
FREE_ENDS: Final = 4  # final blocks in a message before its size counts; each costs a new stream, 3 µs
BYTES_FOR_END: Final = 64
_WINDOW_BITS: Final = 15  # RFC 7692 7.1.2: unless less is negotiated
_MIN_WINDOW_BITS: Final = 9  # zlib compresses with 9 where 8 is asked of it
_BITS: Final = frozenset(str(bits) for bits in range(8, 16))
_TAIL: Final = b"\x00\x00\xff\xff"  # left out by the sender at the end of a message (RFC 7692 7.2.1)


class DeflateParameters:
    """The parameters negotiated by client and endpoint (RFC 7692 7.1)."""

    __slots__ = ("_parameters",)

    def __init__(self, parameters: dict[str, str | None]) -> None:
        self._parameters = parameters

    def window_bits(self, side: str) -> int:
        """Return the size of the window with which a `side` compresses, `client` or `server`, as a power of two."""
        value = self._parameters.get(f"{side}_max_window_bits")
        return int(value) if value in _BITS else _WINDOW_BITS

    def keeps_context(self, side: str) -> bool:
        """Return whether the messages of a `side` may refer to its earlier ones."""
        return f"{side}_no_context_takeover" not in self._parameters


def agreed(extensions: bytes) -> DeflateParameters | None:
    """Parse a Sec-WebSocket-Extensions with at most permessage-deflate (RFC 6455 9.1)."""
    name, *parameters = (part.strip() for part in extensions.decode("latin-1").lower().split(";"))
    if name != NAME:
        return None
    pairs = (parameter.partition("=") for parameter in parameters)
    return DeflateParameters({name.strip(): value.strip(' "') if equals else None for name, equals, value in pairs})


class InflatedSize:
    """Bounds the inflated size of the compressed messages of one side.

    They are inflated in small steps whose output is dropped, so a message costs neither memory nor more time than its
    limit allows. The memory of a side with context is its window: 32 KiB and a state of 8 KiB, from its first
    compressed message on; without context none between two messages.
    """

    __slots__ = ("_bits", "_ends", "_inflate", "_keeps_context", "_limit", "_read", "_room")

    def __init__(self, limit: int, parameters: DeflateParameters, side: str) -> None:
        """`limit`: bytes of a message; `side`: which sends them, `client` or `server`."""
        self._limit = limit
        self._bits = -max(_MIN_WINDOW_BITS, parameters.window_bits(side))
        self._keeps_context = parameters.keeps_context(side)
        self._inflate: Any = None
        self._room = self._read = self._ends = 0

    def begin(self) -> None:
        """Begin a message."""
        self._room = self._limit
        self._read = self._ends = 0
        if self._inflate is None:
            self._inflate = zlib.decompressobj(self._bits)

    def add(self, data: bytes, *, last: bool) -> None:
        """Count a piece of the message, without mask; `last`: the message ends with it.

        Raises:
            WebSocketError: 1009 beyond the limit, 1002 for invalid data.
        """
        if last:
            data += _TAIL
        try:
            for start in range(0, len(data), FEED_BYTES):
                self._add(data[start : start + FEED_BYTES])
        except zlib.error:
            raise WebSocketError(PROTOCOL_ERROR, "bad compression") from None
        if last and not self._keeps_context:
            self._inflate = None

    def _add(self, data: bytes) -> None:
        self._read += len(data)
        size = 0
        while data or size == STEP_BYTES:
            inflate = self._inflate
            size = len(inflate.decompress(data, STEP_BYTES))
            self._room -= size
            if self._room < 0:
                raise WebSocketError(TOO_BIG, "message_too_big")
            data = inflate.unconsumed_tail
            if inflate.eof:  # a final block, behind which another stream begins (RFC 7692 7.2.3.4)
                self._ends += 1
                if self._ends > FREE_ENDS + self._read // BYTES_FOR_END:
                    raise WebSocketError(PROTOCOL_ERROR, "bad compression")
                data, self._inflate = inflate.unused_data, zlib.decompressobj(self._bits)
