"""A client of WebSockets that takes nothing on trust, and breaks rules when it is told to. Its frames are its own:

were they the gateway's, both could be wrong together.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from hashlib import sha1
from typing import Self

from bench.chaos.endings import CUT, INSIDE
from bench.soak.wire import SECONDS, Connection, parse

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Broken(Exception):
    """The gateway sent what breaks RFC 6455."""


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """Write one frame; the key of the mask is zero, so that the payload is seen as it is."""
    bit, size = 0x80 if masked else 0, len(payload)
    if size < 126:
        length = bytes((bit | size,))
    elif size < 65536:
        length = bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((bit | 127,)) + size.to_bytes(8, "big")
    return bytes(((0x80 if final else 0) | reserved << 4 | opcode,)) + length + bytes(4 if masked else 0) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Write a Close frame, whatever its code."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


def handshake(path: str, key: bytes, *lines: str) -> bytes:
    """Write the opening handshake; `lines` are further fields."""
    head = [
        f"GET {path} HTTP/1.1", "host: chaos.test", "connection: upgrade", "upgrade: websocket",
        f"sec-websocket-key: {key.decode()}", "sec-websocket-version: 13", *lines,
    ]  # fmt: skip
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode()


class Socket:
    """One WebSocket.

    Attributes:
        connection: what carries it.
        how: how it has ended (see `endings.py`); empty while it has not, or for a handshake the status it got.
        answers: answer pings, as the protocol demands (RFC 6455 5.5.2).
        pings: how many have come.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.how = ""
        self.answers = True
        self.pings = 0
        self._closed = False  # a Close frame of ours has left

    async def open(self, path: str) -> Self:
        """Shake hands; `how` has the status if the answer is no 101."""
        key = b64encode(os.urandom(16))
        await self.write(handshake(path, key))
        async with asyncio.timeout(SECONDS):
            try:
                reply = parse(await self.connection.reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                self.how = CUT
                return self
        if reply.status != 101:
            self.how = str(reply.status)
        elif reply.fields.get("sec-websocket-accept") != b64encode(sha1(key + GUID).digest()).decode():
            raise Broken("a 101 with a wrong Sec-WebSocket-Accept")
        return self

    async def send(self, opcode: int, payload: bytes, pieces: int = 1) -> None:
        """Send a message, in so many frames."""
        size = max(len(payload) // pieces, 1)
        for number in range(pieces):
            last = number == pieces - 1
            part = payload[number * size :] if last else payload[number * size : (number + 1) * size]
            await self.write(frame(0 if number else opcode, part, final=last))

    async def write(self, data: bytes) -> None:
        """Send bytes; the loss of the connection is seen by who reads."""
        if self.connection.writer.is_closing():
            return
        try:
            await self.connection.send(data)
        except ConnectionError:
            pass

    async def close(self, code: int, reason: str) -> None:
        """Send a Close frame, and read to the end."""
        self._closed = True
        await self.write(close_frame(code, reason))
        while await self.message() is not None:
            pass

    async def message(self) -> bytes | None:
        """Return the next message, whole; `None` once the connection has ended."""
        pieces: list[bytes] = []
        while not self.how:
            opcode, final, payload = await self._frame()
            if opcode == PING:
                self.pings += 1
                if self.answers:
                    await self.write(frame(PONG, payload))
            elif opcode == CLOSE:
                await self._ends(payload)
            elif opcode in (0, TEXT, BINARY):
                if bool(opcode) == bool(pieces):
                    raise Broken("a fragment without its message, or a message inside of another")
                pieces.append(payload)
                if final:
                    return b"".join(pieces)
        return None

    async def _frame(self) -> tuple[int, bool, bytes]:
        """Return opcode, FIN and payload of the next frame; opcode -1 at the end, and `how` is set."""
        reader = self.connection.reader
        first = b""
        async with asyncio.timeout(SECONDS):
            try:
                first = await reader.readexactly(1)
                second = (await reader.readexactly(1))[0]
                if second & 0x80:
                    raise Broken("a masked frame from a server")
                if second > 125:
                    second = int.from_bytes(await reader.readexactly(2 if second == 126 else 8), "big")
                payload = await reader.readexactly(second)
            except (asyncio.IncompleteReadError, ConnectionError):
                self.how = INSIDE if first else CUT
                return -1, True, b""
        return first[0] & 0x0F, bool(first[0] & 0x80), payload

    async def _ends(self, payload: bytes) -> None:
        """Answer a Close frame, unless ours was before it; nothing may follow it but the end (RFC 6455 5.5.1)."""
        self.how = f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}"
        if not self._closed:
            self._closed = True
            await self.write(frame(CLOSE, payload))
        if rest := await self.connection.rest():
            raise Broken(f"{len(rest)} bytes behind a Close frame: {rest[:40]!r}")
