"""The service behind the gateway: `python -m bench.soak.upstream PORT`. It echoes tokens, and does what it is asked to.

Its HTTP is its own and small: were it the gateway's, both could be wrong together.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import parse_qs

import uvloop

from bench.soak.asks import PIECE_BYTES, content


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests until the connection ends."""
    try:
        while True:
            await serve_one(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    words = {name: values[0] for name, values in parse_qs(target.partition("?")[2]).items()}
    token = fields["x-token"].encode()
    assert token.decode() in target, f"the head of one request, the token of another: {head!r}"
    if "early" in words:
        await answer(writer, method, token, content(token, b"", int(words["size"])), words)
        await body_of(reader, fields)
        return
    received = await body_of(reader, fields)
    if "wait" in words:
        await asyncio.sleep(int(words["wait"]) / 1000)
    await answer(writer, method, token, content(token, received, int(words["size"])), words)


async def body_of(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if "transfer-encoding" not in fields:
        return await reader.readexactly(int(fields.get("content-length", 0)))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(pieces)


async def answer(writer: asyncio.StreamWriter, method: str, token: bytes, body: bytes, words: dict[str, str]) -> None:
    chunked = "chunked" in words
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(body)
    head = b"HTTP/1.1 200 OK\r\nx-token: %b\r\n%b\r\n\r\n" % (token, framing)
    open_still(writer)
    if method == "HEAD":
        writer.write(head)
        return
    if len(body) <= PIECE_BYTES and "pause" not in words:
        writer.write(head + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body))
        return
    writer.write(head)
    for at in range(0, len(body), PIECE_BYTES):
        piece = body[at : at + PIECE_BYTES]
        open_still(writer)
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
        if "pause" in words:
            await asyncio.sleep(int(words["pause"]) / 1000)
    open_still(writer)
    if chunked:
        writer.write(b"0\r\n\r\n")


def open_still(writer: asyncio.StreamWriter) -> None:
    """Raise what asyncio's streams raise for a write behind the end; uvloop raises RuntimeError."""
    if writer.is_closing():
        raise ConnectionResetError


async def main(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
