"""Where a request's body ends: counted by Content-Length or decoded from chunks (RFC 9112 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.http.chunked import ChunkedDecoder

if TYPE_CHECKING:
    from propylon.http.headers import Pair


class BodyReader:
    """Takes the bytes behind a head and tells the body from what follows it.

    Attributes:
        done: the body is complete.
        rest: what followed the body; it belongs to the next message.
        size: payload bytes so far.
    """

    __slots__ = ("_decoder", "_left", "done", "rest", "size")

    def __init__(self, length: int, code: str) -> None:
        """`length` in bytes, or -1 for chunks; `code` is what a malformed chunk is refused with."""
        self._decoder = ChunkedDecoder(code) if length < 0 else None
        self._left = length
        self.done = length == 0
        self.rest = b""
        self.size = 0

    @property
    def left(self) -> int:
        """Bytes to come; -1 if nobody knows."""
        return self._left

    @property
    def trailers(self) -> list[Pair]:
        """The trailer fields."""
        return self._decoder.trailers if self._decoder is not None else []

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived and return the payload in it. Raises `Refusal`."""
        if self._decoder is not None:
            pieces = self._decoder.feed(data)
            self.size += sum(map(len, pieces))
            self.done, self.rest = self._decoder.done, self._decoder.rest
            return pieces
        size = len(data)
        if size > self._left:
            size = self._left
            data, self.rest = data[:size], data[size:]
        self._left -= size
        self.size += size
        self.done = not self._left
        return [data] if data else []
