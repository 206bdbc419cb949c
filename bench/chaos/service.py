"""The services behind the gateway: `python -m bench.chaos.service SOCKETS_PORT PORT JOURNAL`.

WebSockets are served by the websockets library at the first port, everything else at the second one: event streams by
this file, requests that are none by the soak run's service. Each does what its path asks for, and writes down how its
streams end.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.chaos.journal import Journal
from bench.soak.asks import pattern
from bench.soak.upstream import serve_one

EVENT_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
EVENT_HEAD += b"connection: close\r\n\r\n"
SETTLE_SECONDS = 0.05  # what was written before a RST is to arrive
CLOSE_SECONDS = 3.0
MAX_MESSAGE = 4_000_000


def words_of(target: str) -> tuple[str, dict[str, str]]:
    """Return the token, which is the last segment of the path, and what it is asked for."""
    path, _, query = target.partition("?")
    return path.rpartition("/")[2], {name: values[0] for name, values in parse_qs(query).items()}


def reset(transport: asyncio.BaseTransport) -> None:
    """Close with a RST."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()  # type: ignore[attr-defined]


class Sockets:
    """WebSockets that echo, unless a message tells them what to do:

    `close CODE REASON`; `flood COUNT SIZE`: so many messages of its own; `raw HEX`: bytes that need not be a frame;
    `die WAY`: the connection ends by "rst" or "fin" without a Close frame; `deaf SECONDS`: nothing is read so long.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def __call__(self, connection: ServerConnection) -> None:
        """Serve one."""
        assert connection.request is not None
        token, _ = words_of(connection.request.path)
        try:
            async for message in connection:
                if isinstance(message, bytes) or not message.startswith("do "):
                    await connection.send(message)
                else:
                    await self._obey(connection, token, message.removeprefix("do "))
        except ConnectionClosed:
            pass
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.wait_closed()
            self._journal.write(token, f"{connection.close_code} {connection.close_reason}")

    async def _obey(self, connection: ServerConnection, token: str, order: str) -> None:
        word, _, rest = order.partition(" ")
        transport = connection.transport
        if word == "close":
            code, _, reason = rest.partition(" ")
            await connection.close(int(code), reason)
        elif word == "flood":
            count, size = map(int, rest.split())
            for number in range(count):
                await connection.send(pattern(f"{token}-{number}".encode(), size))
        elif word == "raw":
            transport.write(bytes.fromhex(rest))
        elif word == "die":
            await asyncio.sleep(SETTLE_SECONDS)
            reset(transport) if rest == "rst" else transport.close()
        elif word == "deaf":
            transport.pause_reading()
            await asyncio.sleep(float(rest))
            transport.resume_reading()


class Streams:
    """Event streams: `count` events, `every` milliseconds one, of `size` bytes; `end` is "rst", "fin" or "half" for one
    that breaks off instead of ending. Events are numbered behind Last-Event-ID.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; what asks for no event stream is an ordinary request."""
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                if b" /events/" in head.partition(b"\r\n")[0]:
                    await self._stream(head, reader, writer)
                    return
                await serve_one(_Again(head, reader), writer)  # type: ignore[arg-type]
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _stream(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        token, words = words_of(line.split(" ")[1])
        gone = asyncio.create_task(reader.read(1))
        sending = asyncio.create_task(self._send(writer, token, words, int(fields.get("last-event-id", 0))))
        await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
        done = sending.done() and sending.exception() is None
        self._journal.write(token, "done" if done else "gone")
        for task in (gone, sending):
            task.cancel()
        await asyncio.gather(gone, sending, return_exceptions=True)

    async def _send(self, writer: asyncio.StreamWriter, token: str, words: dict[str, str], last: int) -> None:
        writer.write(EVENT_HEAD)
        size, every = int(words.get("size", 50)), float(words.get("every", 10)) / 1000
        for number in range(last + 1, last + 1 + int(words["count"])):
            if writer.is_closing():
                raise ConnectionResetError
            writer.write(chunk(event(token, number, size)))
            await writer.drain()
            await asyncio.sleep(every)
        await self._end(writer, words.get("end", ""), event(token, 0, size))

    async def _end(self, writer: asyncio.StreamWriter, way: str, further: bytes) -> None:
        if not way:
            writer.write(b"0\r\n\r\n")
            return
        if way == "half":
            writer.write(chunk(further[: len(further) // 2]))
        await asyncio.sleep(SETTLE_SECONDS)
        writer.close() if way == "fin" else reset(writer.transport)


class _Again:
    """A reader that gives a head once more before it goes on."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self._head = head
        self._reader = reader

    async def readuntil(self, separator: bytes) -> bytes:
        head, self._head = self._head, b""
        return head or await self._reader.readuntil(separator)

    async def readexactly(self, count: int) -> bytes:
        return await self._reader.readexactly(count)


def event(token: str, number: int, size: int) -> bytes:
    """Write one event that belongs to one stream and to no other."""
    return b"id: %d\ndata: %b\n\n" % (number, pattern(f"{token}-{number}".encode(), size))


def chunk(data: bytes) -> bytes:
    """Frame a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def main(sockets_port: int, port: int, journal: Journal) -> None:
    """Serve until the process is ended."""
    await asyncio.start_server(Streams(journal), "127.0.0.1", port, backlog=1024)
    sockets = Sockets(journal)
    options = {"ping_interval": None, "close_timeout": CLOSE_SECONDS, "max_size": MAX_MESSAGE}
    async with serve(sockets, "127.0.0.1", sockets_port, **options) as server:  # type: ignore[arg-type]
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), Journal(Path(sys.argv[3]))))
