"""Where a body ends: counted by Content-Length, decoded from chunks, or with the connection (RFC 9112 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from propylon.http.chunked import ChunkedDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from propylon.http.headers import Pair

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2  # of responses only: a request without a length has no body (RFC 9112 6.3, rule 7)


class Sink(Protocol):
    """Receiver of the payload."""

    def feed(self, data: bytes) -> None:
        """Accept a piece."""


class BodyReader:
    """Separate the body from the bytes of the next message.

    Attributes:
        done: the body is complete.
        rest: bytes after the body; they belong to the next message, if one is allowed.
        trailers: the trailer fields, once the body is complete.
    """

    __slots__ = ("_decoder", "_left", "_length", "done", "rest", "trailers")

    def __init__(self, length: int, code: str) -> None:
        """`length`: bytes, `CHUNKED` or `UNTIL_CLOSE`; `code`: error code for a malformed chunk."""
        self._decoder = ChunkedDecoder(code) if length == CHUNKED else None
        self._length = self._left = length
        self.done = not length
        self.rest = b""
        self.trailers: list[Pair] = []

    @property
    def left(self) -> int:
        """Bytes still to arrive; negative if unknown."""
        return self._left

    @property
    def size(self) -> int:
        """Payload bytes so far."""
        if self._decoder is not None:
            return self._decoder.size
        return self._length - self._left

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Parse received bytes and return the payload in them. Raises `Refusal`."""
        decoder = self._decoder
        if decoder is not None:
            pieces = decoder.feed(data)
            if decoder.done:
                self._finish_chunked(decoder)
            return pieces
        if self._length < 0 or len(data) < self._left:
            self._left -= len(data)
        else:
            data, self.rest = data[: self._left], data[self._left :]
            self._left = 0
            self.done = True
        return (data,) if data else ()

    def pour(self, data: bytes, sink: Sink) -> None:
        """Parse received bytes and feed the payload to `sink`. Raises `Refusal`.

        For a body with a Content-Length, the common case, no sequence of pieces is allocated.
        """
        left = self._left - len(data)
        if left >= 0:
            self._left = left
            self.done = not left
            sink.feed(data)
        elif (decoder := self._decoder) is None:
            for piece in self.feed(data):
                sink.feed(piece)
        else:
            for piece in decoder.feed(data):
                sink.feed(piece)
            if decoder.done:
                self._finish_chunked(decoder)

    def close(self) -> bool:
        """Handle the end of the connection; return whether the body is complete."""
        if self._length == UNTIL_CLOSE:
            self.done = True
        return self.done

    def _finish_chunked(self, decoder: ChunkedDecoder) -> None:
        self.done, self.rest, self.trailers = True, decoder.rest, decoder.trailers
