"""A WebSocket client that sends the bytes it is told, and reads frames; nothing it gets is taken on trust."""

from __future__ import annotations

from typing import Self

from .client import RawClient, Reply
from .deadline import PATIENCE
from .frames import ACCEPT, MASK, Frame, close_frame, frame, handshake


class RawSocket:
    """One WebSocket through the gateway, from the client's side, without a mask's randomness."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.reply: Reply
        self._buffer = b""

    async def open(self, target: str = "/", *lines: str) -> Self:
        """Shake hands."""
        await self.client.send(handshake(target, *lines))
        head = await self.client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b": %b\r\n" % ACCEPT.encode() in head, head
        return self

    async def send(self, opcode: int, payload: bytes = b"", *, final: bool = True, rsv: int = 0) -> None:
        """Send one frame."""
        await self.client.send(frame(opcode, payload, final=final, mask=MASK, rsv=rsv))

    async def close(self, code: int, reason: str = "") -> None:
        """Send a Close frame."""
        await self.client.send(close_frame(code, reason))

    async def frame(self, seconds: float = PATIENCE) -> Frame:
        """The next frame, which a server must not mask (RFC 6455 5.1)."""
        head = await self._exactly(2, seconds)
        assert not head[1] & 0x80, "a masked frame came from the gateway"
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(await self._exactly(2 if size == 126 else 8, seconds), "big")
        payload = await self._exactly(size, seconds)
        return Frame(head[0] & 0x0F, payload, bool(head[0] & 0x80), head[0] >> 4 & 7)

    async def ended(self, seconds: float = PATIENCE) -> None:
        """The connection ends, and nothing came before."""
        assert self._buffer == b""
        await self.client.assert_closed(seconds)

    async def _exactly(self, count: int, seconds: float) -> bytes:
        while len(self._buffer) < count:
            data = await self.client.read_some(seconds)
            assert data, f"ended after {self._buffer!r}, {count} bytes were due"
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data
