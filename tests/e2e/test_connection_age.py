"""The age of connections to endpoints: a busy one is replaced too, and what is under way on it goes on."""

from __future__ import annotations

import asyncio

from propylon import Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.client import request_bytes
from tests.support.deadline import PATIENCE, within
from tests.support.frames import SWITCH, handshake
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, ok


async def serve(connection: UpstreamConnection) -> None:
    """Answer requests until a handshake, and a single message behind it."""
    while (await connection.request()).header("upgrade") is None:
        connection.send(ok())
    connection.send(SWITCH)
    seen = len(connection.received)
    await connection.until(lambda: len(connection.received) > seen, "a frame")
    connection.send(b"\x81\x02ok")
    await connection.until(lambda: False, "the end")


@BOTH_LOOPS
async def test_a_connection_of_the_maximum_age_is_replaced_and_a_websocket_stays(front: Fronts) -> None:
    upstream = await front.upstream(serve)
    upstream.tolerant = True
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("aging", [upstream.url], connections={"max_age": "200ms"})
    gateway.route("/*", service="aging")
    await front.start(gateway)
    socket, client = await front.client(gateway), await front.client(gateway)
    await socket.send(handshake())
    assert (await socket.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    async with within(PATIENCE, "three connections besides that of the WebSocket"):
        while len(upstream.connections) < 4:
            assert (await client.ask(request_bytes())).status == 200
            await asyncio.sleep(0)
    tunnel, *others = upstream.connections
    for connection in others[:-1]:
        await connection.gone()
    assert not tunnel.eof
    await socket.send(b"\x81\x82\x00\x00\x00\x00hi")
    assert await socket.read_until(b"ok") == b"\x81\x02ok"
