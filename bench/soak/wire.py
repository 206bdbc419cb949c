"""A client's connection: what a polite one does, and what the others do."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field

SECONDS = 20.0  # the longest anything may take: an answer that is later is lost


@dataclass(slots=True)
class Reply:
    """An answer, as far as it came.

    Attributes:
        complete: to the last byte that its framing announces.
        interim: the statuses of 1xx responses before it.
    """

    status: int
    fields: dict[str, str]
    body: bytes = b""
    complete: bool = False
    interim: list[int] = field(default_factory=list)

    @property
    def closes(self) -> bool:
        """The gateway announced that nothing follows."""
        return self.fields.get("connection") == "close"


class Connection:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, receive_buffer: int | None = None) -> Connection:
        """Connect; a small receive buffer makes a reader slow for the other side too."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        return cls(*await asyncio.open_connection(sock=sock, limit=receive_buffer or 65536))

    async def send(self, data: bytes) -> None:
        """Send, and wait while the gateway takes no more. Raises `ConnectionError`."""
        self.writer.write(data)
        async with asyncio.timeout(SECONDS):
            await self.writer.drain()

    async def reply(self, method: bytes, pause: float = 0.0) -> Reply | None:
        """Read an answer; `None` if the connection ended before its head. `pause` seconds between two reads."""
        interim = []
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    head = await self.reader.readuntil(b"\r\n\r\n")
                except (asyncio.IncompleteReadError, ConnectionError):
                    return None
                reply = parse(head)
                if reply.status >= 200:
                    break
                interim.append(reply.status)
        reply.interim = interim
        if method == b"HEAD" or reply.status in (204, 304):
            reply.complete = True
            return reply
        async with asyncio.timeout(SECONDS):
            await self._body(reply, pause)
        return reply

    async def _body(self, reply: Reply, pause: float) -> None:
        pieces: list[bytes] = []
        try:
            if "content-length" in reply.fields:
                await self._count(pieces, int(reply.fields["content-length"]), pause)
            else:
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    await self._count(pieces, size, pause)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            reply.complete = True
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        reply.body = b"".join(pieces)

    async def _count(self, pieces: list[bytes], left: int, pause: float) -> None:
        while left:
            piece = await self.reader.read(min(left, 65536))
            if not piece:
                raise ConnectionResetError
            pieces.append(piece)
            left -= len(piece)
            if pause:
                await asyncio.sleep(pause)

    async def rest(self) -> bytes:
        """Read until the gateway closes."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def half_close(self) -> None:
        """Send a FIN, and go on reading."""
        self.writer.write_eof()

    def close(self) -> None:
        """Close as programs do."""
        self.writer.close()

    def reset(self) -> None:
        """Close with a RST, as a program that was killed, or a router that has had enough."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and not self.writer.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def parse(head: bytes) -> Reply:
    """Read the head of an answer."""
    line, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    return Reply(int(line.split(" ")[1]), fields)
