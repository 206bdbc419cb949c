"""WebSockets in service mode: where `path` leads, what the service hears, and what is refused before any 101."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_library
from websockets.exceptions import ConnectionClosed

from tests.support.client import request_bytes
from tests.support.frames import SWITCH, close_frame, frame, handshake
from tests.support.front import Fronts
from tests.support.service_mode import Mode, gateway_of, serve
from tests.support.upstream import Script, UpstreamConnection, answer, ok

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


async def accepting(connection: UpstreamConnection) -> None:
    """Open a WebSocket, and say `hello` in it."""
    await connection.request()
    connection.send(SWITCH + frame(TEXT, b"hello", mask=None))


async def serve_websockets(front: Fronts, script: Script = accepting, base: str = "", **environment: str) -> Mode:
    mode = await serve(front, script, base, **environment)
    mode.upstream.tolerant = True  # behind a 101 it does not get HTTP
    return mode


@pytest.mark.parametrize(
    ("query", "target"),
    [("", "/"), ("?path=/chat", "/chat"), ("?path=%2Fp%3Fx%3D1&token=t", "/p?x=1"), ("?path=/a%2520b", "/a%20b")],
)
async def test_a_websocket_goes_where_path_says(front: Fronts, query: str, target: str) -> None:
    mode = await serve_websockets(front, base="/base")
    await mode.client.send(handshake(f"/ws/users{query}"))
    assert (await mode.client.read_until(b"hello")).startswith(b"HTTP/1.1 101 ")
    assert mode.upstream.requests[0].target.decode() == f"/base{target}"


async def test_the_handshake_tells_the_service_who_asks(front: Fronts) -> None:
    mode = await serve_websockets(front)
    lines = [
        "cookie: a=1", "origin: https://app.example", "authorization: Bearer t", "sec-websocket-protocol: p1, p2",
        "x-request-id: mine", "x-forwarded-for: 6.6.6.6",
    ]  # fmt: skip
    await mode.client.send(handshake("/ws/users", *lines))
    assert b"x-request-id: mine\r\n" in await mode.client.read_until(b"hello")
    (request,) = mode.upstream.requests
    expected = {
        "cookie": "a=1", "origin": "https://app.example", "authorization": "Bearer t",
        "sec-websocket-protocol": "p1, p2", "x-request-id": "mine", "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http", "x-forwarded-host": "a.example", "host": mode.upstream.authority,
    }  # fmt: skip
    assert {name: request.header(name) for name in expected} == expected


async def test_text_stays_text_and_a_close_keeps_its_code_both_ways(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await accepting(connection)
        await connection.until(lambda: said in connection.received, "what the client says")
        connection.send(close_frame(4001, "enough", mask=None))
        await connection.until(lambda: bytes(connection.received).endswith(answered), "the client's Close")

    said, answered = frame(TEXT, b"hi") + frame(BINARY, b"\x00"), close_frame(4001, "enough")
    mode = await serve_websockets(front, script)
    await mode.client.send(handshake("/ws/users") + said)
    await mode.client.read_until(frame(TEXT, b"hello", mask=None))
    await mode.client.read_until(close_frame(4001, "enough", mask=None))
    await mode.client.send(answered)
    await mode.client.assert_closed()
    await mode.upstream.connections[0].gone()
    mode.upstream.check()


@pytest.mark.parametrize("path", ["//{}/", "%2F%2F{}/", "ws://{}/", "http://{}/", "@{}/", "/..", "/%252e%252e/", "x"])
async def test_a_bad_path_is_a_400_and_leads_to_no_other_host(front: Fronts, path: str) -> None:
    other = await front.upstream()
    mode = await serve_websockets(front)
    reply = await mode.client.ask(handshake(f"/ws/users?path={path.format(other.authority)}"))
    assert (reply.status, reply.json()["error"]) == (400, "invalid_path")
    assert mode.upstream.connections == other.connections == []


async def test_a_websocket_that_cannot_be_had_is_an_http_answer(front: Fronts) -> None:
    mode = await serve_websockets(front)
    reply = await mode.client.ask(handshake("/ws/nobody?path=/x"))
    assert (reply.status, reply.json()["error"]) == (404, "unknown_service")
    reply = await mode.client.ask(request_bytes(b"/ws/users?path=/x"))
    assert (reply.status, reply.json()["error"], reply.header("upgrade")) == (426, "upgrade_required", "websocket")
    mode.upstream.stop_listening()
    reply = await mode.client.ask(handshake("/ws/users"))
    assert (reply.status, reply.json()["error"]) == (502, "upstream_unavailable")
    assert mode.upstream.connections == []


async def test_a_service_that_wants_a_token_answers_before_any_101(front: Fronts) -> None:
    mode = await serve_websockets(front, answer(ok(b"no token", status=b"401 Unauthorized")))
    reply = await mode.client.ask(handshake("/ws/users"))
    assert (reply.status, bytes(reply.body)) == (401, b"no token")


async def test_a_service_that_does_not_answer_a_handshake_in_time_is_a_504(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()

    mode = await serve_websockets(front, script, HTTP_PROXY_TIMEOUT_MS="100")
    reply = await mode.client.ask(handshake("/ws/users"))
    assert (reply.status, reply.json()["error"]) == (504, "upstream_timeout")


async def test_a_websocket_outlives_the_timeout_of_requests_and_is_pinged(front: Fronts) -> None:
    mode = await serve_websockets(front, HTTP_PROXY_TIMEOUT_MS="100", WS_PING_INTERVAL_MS="300")
    await mode.client.send(handshake("/ws/users"))
    await mode.client.read_until(b"hello")
    ping = await mode.client.read_some()  # at 0.3 s or later
    assert ping[0] == 0x80 | PING


async def test_a_client_that_does_not_read_is_closed_with_1013(front: Fronts) -> None:
    flood = frame(BINARY, bytes(65536), mask=None)

    async def script(connection: UpstreamConnection) -> None:
        await accepting(connection)
        sent = len(connection.received)
        while len(connection.received) == sent:  # until the gateway says something: a Close frame
            await connection.drained(on_full=lambda: None)
            connection.send(flood)
            await asyncio.sleep(0)

    mode = await serve_websockets(front, script, WS_MAX_BUFFERED_BYTES="1000")
    await mode.client.send(handshake("/ws/users"))
    await mode.upstream.until(lambda: bool(mode.upstream.requests), "the handshake")
    (connection,) = mode.upstream.connections
    await mode.upstream.until(lambda: bytes(connection.received).partition(b"\r\n\r\n")[2] != b"", "a Close frame")
    said = bytes(connection.received).partition(b"\r\n\r\n")[2]
    mask = said[2:6]
    assert said[0] == 0x80 | CLOSE
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(said[6:])) == b"\x03\xf5backpressure"


async def test_a_client_and_a_service_of_a_library_talk(front: Fronts) -> None:
    async def service(socket: ServerConnection) -> None:
        assert socket.request is not None
        await socket.send(socket.request.path)
        async for message in socket:
            await socket.send(message)
            if message == b"enough":
                await socket.close(4001, "enough")

    async with serve_library(service, "127.0.0.1", 0, subprotocols=["p2"]) as server:
        upstream = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        gateway = await front.start(gateway_of({"users": [upstream]}))
        url = f"ws://127.0.0.1:{gateway.port}/ws/users?path=%2Fchat%3Froom%3D1"
        async with connect(url, subprotocols=["p1", "p2"], compression="deflate") as client:
            assert client.subprotocol == "p2"
            assert await client.recv() == "/chat?room=1"
            await client.send("text " * 1000)
            assert await client.recv() == "text " * 1000
            await client.send(b"enough")
            assert await client.recv() == b"enough"
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")
