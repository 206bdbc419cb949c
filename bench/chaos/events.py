"""A client of event streams: it follows chunks and events to the byte."""

from __future__ import annotations

import asyncio
from typing import Self

from bench.chaos.endings import CUT, INSIDE, WHOLE
from bench.soak.wire import SECONDS, Connection, parse


class EventReader:
    """One event stream.

    Attributes:
        connection: what carries it.
        how: how it has ended (see `endings.py`), or the status it got; empty while it has not.
        comments: how many lines have come that say nothing.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.how = ""
        self.comments = 0
        self._data = b""

    async def open(self, path: str, last: int = 0) -> Self:
        """Ask for the stream, or for what is behind the event `last`."""
        lines = f"last-event-id: {last}\r\n" if last else ""
        head = f"GET {path} HTTP/1.1\r\nhost: chaos.test\r\naccept: text/event-stream\r\n{lines}\r\n"
        await self.connection.send(head.encode())
        async with asyncio.timeout(SECONDS):
            try:
                reply = parse(await self.connection.reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                self.how = CUT
                return self
        if reply.status != 200:
            self.how = str(reply.status)
        return self

    async def event(self) -> dict[str, str] | None:
        """Return the fields of the next event; `None` once the stream has ended."""
        while True:
            block, end, rest = self._data.partition(b"\n\n")
            if end:
                self._data = rest
                if fields := self._fields(block):
                    return fields
            elif self.how:
                return None
            else:
                await self._chunk()

    def _fields(self, block: bytes) -> dict[str, str]:
        fields = {}
        for line in block.decode().split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            else:
                self.comments += 1
        return fields

    async def _chunk(self) -> None:
        """Read a chunk, or the end."""
        reader = self.connection.reader
        async with asyncio.timeout(SECONDS):
            try:
                size = int(await reader.readuntil(b"\r\n"), 16)
                data = await reader.readexactly(size)
                await reader.readexactly(2)
            except asyncio.IncompleteReadError:
                self.how = INSIDE if self._data else CUT
                return
        self._data += data
        if not size:
            self.how = INSIDE if self._data else WHOLE
