"""Policies live on across reloads of a running process: what they count stays counted while their settings stay."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from tests.e2e.test_live_change import TAKEN, live
from tests.support.client import RawClient
from tests.support.frames import SWITCH, handshake
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection

MOST = 5


async def switch(connection: UpstreamConnection) -> None:
    await connection.head()
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\n" + SWITCH.partition(b"\r\n")[2].strip() + b"\r\n\r\n")
    await connection.gone()


async def opened(stack: AsyncExitStack, port: int) -> bytes:
    """The status of a handshake whose connection stays open."""
    client = await stack.enter_async_context(RawClient(port))
    await client.send(handshake())
    return await client.read_until(b"\r\n")


async def test_open_websockets_stay_counted_when_something_else_changes(front: Fronts, tmp_path: Path) -> None:
    upstream = await front.upstream(switch)
    upstream.tolerant = True
    policies = f"[{{websocket: {{max_connections: {MOST}}}}}]"
    text = (
        "listen: 127.0.0.1:0\nlog: {level: info}\ntimeouts: {drain: 200ms}\n"
        f"routes: [{{path: /*, target: '{upstream.url}', policies: {policies}}}]\n"
    )
    (tmp_path / "p.yaml").write_text(text)
    async with live(tmp_path) as gateway, AsyncExitStack() as stack:
        port = await gateway.process.port()
        for _ in range(MOST):
            assert b" 101 " in await opened(stack, port)
        assert b" 503 " in await opened(stack, port)
        gateway.file.write_text(text.replace("info", "debug"))
        await gateway.hang_up(TAKEN)
        assert b" 503 " in await opened(stack, port)
