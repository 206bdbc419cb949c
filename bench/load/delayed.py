"""A service of several endpoints, one for each loopback address it listens on, of which one is slow.

Arguments: the port, milliseconds of the slow address' answers, milliseconds of all others', the slow address, the
others. Every answer takes its time however many are under way, as that of a service that waits for something else.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 12\r\n\r\nHello World!"


class Delayed(asyncio.Protocol):
    """One connection; requests without bodies, one after the other."""

    def __init__(self, slow: str, seconds_slow: float, seconds: float) -> None:
        self.slow, self.seconds_slow, self.seconds = slow, seconds_slow, seconds
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its class.
        self.transport = cast(asyncio.Transport, transport)
        if transport.get_extra_info("sockname")[0] == self.slow:
            self.seconds = self.seconds_slow

    def data_received(self, data: bytes) -> None:
        self.head += data
        if self.head.endswith(b"\r\n\r\n"):
            self.head = b""
            asyncio.get_running_loop().call_later(self.seconds, self.transport.write, ANSWER)


async def serve(port: int, seconds_slow: float, seconds: float, addresses: list[str]) -> None:
    def made() -> Delayed:
        return Delayed(addresses[0], seconds_slow, seconds)

    server = await asyncio.get_running_loop().create_server(made, addresses, port)
    await server.serve_forever()


uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1e3, float(sys.argv[3]) / 1e3, sys.argv[4:]))
