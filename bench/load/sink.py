"""A server that swallows request bodies as fast as the kernel gives them, and answers with their length.

Argument: the port. It knows the two framings a gateway may choose for an upload, `content-length` and chunked, and
tells the end of a chunked body by its last bytes: sound only for bodies of zeros, which are what the benchmark sends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

LAST_CHUNK = b"\r\n0\r\n\r\n"
BUFFER_BYTES = 1 << 20


class Sink(asyncio.BufferedProtocol):
    """One connection; requests come one after the other, never pipelined."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.begin()

    def begin(self) -> None:
        self.head = b""
        self.expected: int | None = 0
        self.received = 0
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its class.
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.head.endswith(b"\r\n\r\n"):
            self.body(self.view[:nbytes])
            return
        head, end, body = bytes(self.view[:nbytes]).partition(b"\r\n\r\n")
        self.head += head + end
        if end:
            self.expected = body_length(self.head)
            self.body(memoryview(body))

    def body(self, data: memoryview) -> None:
        self.received += len(data)
        if self.expected is None:
            self.tail = (self.tail + bytes(data[-len(LAST_CHUNK) :]))[-len(LAST_CHUNK) :]
            complete = self.tail == LAST_CHUNK
        else:
            complete = self.received >= self.expected
        if complete:
            answer = b"%d" % self.received
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
            self.begin()


def body_length(head: bytes) -> int | None:
    """The length the head announces; None for a chunked body."""
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


uvloop.run(serve(int(sys.argv[1])))
