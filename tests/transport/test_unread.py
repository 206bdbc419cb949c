"""What a peer sent before it reset the connection is still there to be read."""

from __future__ import annotations

import asyncio
import socket
import struct

from propylon.transport.unread import unread_bytes
from tests.conftest import BOTH_LOOPS
from tests.support.fakes import FakeTransport


class Lost(asyncio.Protocol):
    """Reads nothing by itself; takes what is left when the connection is lost."""

    def __init__(self) -> None:
        self.unread: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's share no base class
        self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is not None
        self.unread.set_result(unread_bytes(self.transport))


@BOTH_LOOPS
async def test_all_that_came_before_a_reset_is_returned() -> None:
    sent = b"answer" * 20_000
    with socket.create_server(("127.0.0.1", 0)) as listening:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(Lost, *listening.getsockname())
        peer, _ = listening.accept()
        peer.sendall(sent)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        while not protocol.unread.done():
            protocol.transport.write(b"x")
            await asyncio.sleep(0)
        unread = protocol.unread.result()
        assert unread
        assert sent.startswith(unread)  # the rest may have been in the peer's kernel


def test_a_transport_without_a_socket_has_nothing() -> None:
    assert unread_bytes(FakeTransport()) == b""  # type: ignore[arg-type]
