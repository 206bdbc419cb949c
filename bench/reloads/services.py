"""The services behind the gateway: answers, an event stream, and a WebSocket that echoes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from websockets.asyncio.server import ServerConnection

PAUSE_SECONDS = 0.05
ANSWER_SECONDS = 0.002


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its path."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"\r\nx-module: " in head, head
            await asyncio.sleep(ANSWER_SECONDS)
            path = head.split(b" ", 2)[1]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))
    writer.close()


async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send numbers for ever."""
    with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        number = 0
        while not writer.is_closing():
            writer.write(b"data: %d\n\n" % number)
            await writer.drain()
            number += 1
            await asyncio.sleep(PAUSE_SECONDS)
    writer.close()


async def echo(connection: ServerConnection) -> None:
    """Send every message back."""
    async for message in connection:
        await connection.send(message)
