"""WebSockets through a whole gateway: clients and services of the websockets library, and raw bytes on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from propylon import Exchange, Gateway, GatewayError, Message, Response
from propylon.config.schema import PolicyEntry
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_nothing_upstream, assert_problem, assert_still_serves
from tests.support.deadline import until, within
from tests.support.frames import MASK, SWITCH, close_frame, frame, handshake, read_frames
from tests.support.front import Front, Fronts
from tests.support.sockets import RawSocket
from tests.support.upstream import Script, ScriptedUpstream, UpstreamConnection, ok

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(connection: ServerConnection) -> None:
    """Send back what comes; `close CODE REASON` closes so."""
    async for message in connection:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            await connection.close(int(code), reason)
            return
        await connection.send(message)


@asynccontextmanager
async def gateway_for(handler: Handler, *policies: Any, **keys: Any) -> AsyncIterator[Gateway]:
    """A gateway in front of a service of the websockets library."""
    server = keys.pop("server", {})
    async with serve(handler, "127.0.0.1", 0, **server) as service:
        port = service.sockets[0].getsockname()[1]
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "1s"})
        gateway.route("/*", target=f"http://127.0.0.1:{port}", policies=list(policies), **keys)
        async with gateway:
            yield gateway


def websocket(**settings: Any) -> PolicyEntry:
    return PolicyEntry.named("websocket", settings)


def url(gateway: Gateway, path: str = "/") -> str:
    return f"ws://127.0.0.1:{gateway.port}{path}"


async def closed(socket: Any) -> tuple[int, str]:
    """What the Close frame said that ends this side."""
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(_receive_all(socket), 5)
    assert caught.value.rcvd is not None, "no Close frame came"
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def _receive_all(socket: Any) -> None:
    while True:
        await socket.recv()


# with real clients


@BOTH_LOOPS
@pytest.mark.parametrize("compression", ["deflate", None])
async def test_messages_pass_both_ways_as_they_are(compression: str | None) -> None:
    async with gateway_for(echo) as gateway, connect(url(gateway), compression=compression) as socket:
        for message in ("text", b"binary", "", b"", "ü" * 70_000, b"x" * 300_000, "😀"):
            await socket.send(message)
            received = await socket.recv()
            assert received == message
            assert type(received) is type(message)
        await socket.send(["in", " ", "pieces"])
        assert await socket.recv() == "in pieces"
        await (await socket.ping(b"mine"))


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4321])
async def test_the_services_close_reaches_the_client(code: int) -> None:
    async with gateway_for(echo) as gateway, connect(url(gateway)) as socket:
        await socket.send(f"close {code} därum")
        assert await closed(socket) == (code, "därum")


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_the_clients_close_reaches_the_service(code: int) -> None:
    seen: list[tuple[int | None, str | None]] = []

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        seen.append((connection.close_code, connection.close_reason))

    async with gateway_for(handler) as gateway, connect(url(gateway)) as socket:
        await socket.close(code, "genug")
        await until(lambda: bool(seen), "the service sees the close")
    assert seen == [(code, "genug")]


async def test_subprotocol_and_headers_are_between_client_and_service() -> None:
    seen: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append((connection.request.path, connection.request.headers))
        await connection.send(str(connection.subprotocol))

    async with gateway_for(handler, server={"subprotocols": ["graphql-transport-ws"]}) as gateway:
        headers = {"Authorization": "Bearer t", "Cookie": "a=b", "X-Own": "1"}
        async with connect(
            url(gateway, "/deep/path?x=%2F&y"),
            subprotocols=["chat", "graphql-transport-ws"],  # type: ignore[list-item]
            additional_headers=headers,
            origin="https://app.example",  # type: ignore[arg-type]
        ) as socket:
            assert await socket.recv() == "graphql-transport-ws"
            assert socket.subprotocol == "graphql-transport-ws"
    path, sent = seen[0]
    assert path == "/deep/path?x=%2F&y"
    for name, value in (*headers.items(), ("Origin", "https://app.example")):
        assert sent[name] == value
    assert sent["X-Forwarded-For"] == "127.0.0.1"
    assert sent["X-Request-Id"]


async def test_many_at_once_do_not_mix() -> None:
    async def talk(gateway: Gateway, number: int) -> None:
        async with connect(url(gateway)) as socket:
            for turn in range(5):
                await socket.send(f"{number}.{turn}")
                assert await socket.recv() == f"{number}.{turn}"

    async with gateway_for(echo) as gateway:
        await asyncio.gather(*(talk(gateway, number) for number in range(60)))


@pytest.mark.parametrize("restart", [False, True])
async def test_a_gateway_that_stops_tells_both_sides(restart: bool) -> None:
    seen: list[int | None] = []

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        seen.append(connection.close_code)

    async with gateway_for(handler) as gateway:
        sockets = [await connect(url(gateway)) for _ in range(3)]
        stopping = asyncio.create_task(gateway.stop(restart=restart))
        expected = (1012, "service_restart") if restart else (1001, "going_away")
        assert [await closed(socket) for socket in sockets] == [expected] * 3
        await stopping
        await until(lambda: seen == [expected[0]] * 3)


async def test_what_has_passed_is_counted_for_on_done() -> None:
    counted: list[tuple[tuple[int, int], tuple[int, int]]] = []

    class Counting:
        def on_done(self, x: Exchange) -> None:
            assert x.tunnel is not None
            counted.append((tuple(x.tunnel.from_client), tuple(x.tunnel.from_service)))

    async with gateway_for(echo, Counting()) as gateway:
        async with connect(url(gateway), compression=None) as socket:
            for message in ("one", b"two", "x" * 300):
                await socket.send(message)
                await socket.recv()
        await until(lambda: bool(counted))
    # Three messages with their headers, and a Close frame with a code: masked from the client, plain from the service.
    assert counted == [((3, 306 + 2 * 6 + 8 + 8), (3, 306 + 2 * 2 + 4 + 4))]


# before the 101: HTTP


async def refusal(gateway: Gateway, path: str = "/", **options: Any) -> Any:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url(gateway, path), **options):
            pass
    return caught.value.response


async def test_every_failure_before_the_101_is_a_response() -> None:
    def guard(exchange: Exchange) -> Response | None:
        status = exchange.request.query_value("status")
        return Response(int(status)) if status else None

    async with gateway_for(echo, guard) as gateway:
        for status in (401, 403, 404, 429, 503):
            assert (await refusal(gateway, f"/?status={status}")).status_code == status


async def test_nobody_there_is_503_and_no_route_404() -> None:
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/gone", target="http://127.0.0.1:1")
    async with gateway:
        assert (await refusal(gateway, "/gone")).status_code == 503
        assert (await refusal(gateway, "/other")).status_code == 404


async def test_the_services_own_refusal_is_relayed() -> None:
    async def process(connection: ServerConnection, request: Any) -> Any:
        return connection.respond(401, "who are you?")

    async with gateway_for(echo, server={"process_request": process}) as gateway:
        response = await refusal(gateway)
        assert (response.status_code, response.body) == (401, b"who are you?")


async def test_a_route_may_refuse_them_or_take_nothing_else(front: Fronts) -> None:
    f = await front(route={"websocket": "refuse"})
    client = await f.client()
    assert assert_problem(await client.ask(handshake()), 403) == "upgrade.refused"
    await assert_nothing_upstream(f.upstream)
    assert (await client.ask(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")).status == 200

    f = await front(route={"websocket": "only"})
    client = await f.client()
    assert assert_problem(await client.ask(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"), 404) == "match.no_route"


async def test_one_path_may_lead_websockets_elsewhere() -> None:
    async with gateway_for(echo) as sockets:
        gateway = Gateway(listen="127.0.0.1:0", name="front")
        gateway.route("/live", respond={"status": 200, "body": "page"})
        gateway.route("/live", target=f"http://127.0.0.1:{sockets.port}", websocket="only")
        async with gateway, connect(url(gateway, "/live")) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"


# the policy


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", True),
        ("HTTPS://App.Example", True),
        ("https://a.b.app.example", True),
        ("https://app.example.evil.example", False),
        ("https://evilapp.example", False),
        ("http://app.example", False),
        ("https://app.example:8443", False),
        ("null", False),
        (None, True),
    ],
)
async def test_origins_are_checked_on_the_handshake(origin: str | None, allowed: bool) -> None:
    policy = websocket(origins=["https://app.example", "https://*.app.example"])
    async with gateway_for(echo, policy) as gateway:
        if allowed:
            async with connect(url(gateway), origin=origin):  # type: ignore[arg-type]
                pass
        else:
            response = await refusal(gateway, origin=origin)
            assert response.status_code == 403


async def test_connections_are_counted_and_counted_down() -> None:
    policy = websocket(max_connections=2)
    async with gateway_for(echo, policy) as gateway, connect(url(gateway)), connect(url(gateway)) as second:
        response = await refusal(gateway)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        await second.close()
        await until(lambda: gateway_connections(gateway) == 1)
        async with connect(url(gateway)):
            pass


async def test_large_messages_are_closed_with_1009() -> None:
    async with gateway_for(echo, websocket(max_message="1000")) as gateway:
        async with connect(url(gateway), compression=None) as socket:
            await socket.send("x" * 1000)
            assert len(await socket.recv()) == 1000
            await socket.send(["x" * 600, "y" * 401])
            assert await closed(socket) == (1009, "message_too_big")
        await assert_no_connection(gateway)


async def test_an_old_one_is_closed_with_1001() -> None:
    async with gateway_for(echo, websocket(max_age="200ms")) as gateway, connect(url(gateway)) as socket:
        assert await closed(socket) == (1001, "max_age")


async def test_who_does_not_answer_a_ping_is_dropped_and_the_other_side_told(front: Fronts) -> None:
    f = await front(opened(), policies=[websocket(ping="100ms", pong_timeout="200ms")])
    f.upstream.tolerant = True
    socket = await RawSocket(await f.client()).open()
    # The client answers no ping; the service does.
    service = f.upstream.connections[0]
    assert (await socket.frame()).opcode == 9
    await f.upstream.until(lambda: b"\x89" in service.received, "the service is pinged")
    await service.gone()
    await socket.client.until_closed()
    await assert_no_connection(f.gateway)


async def test_pongs_of_pings_between_client_and_service_pass(front: Fronts) -> None:
    f = await front(opened())
    f.upstream.tolerant = True
    socket = await RawSocket(await f.client()).open()
    await socket.send(10, b"unasked")
    await f.upstream.until(lambda: frame(10, b"unasked") in f.upstream.connections[0].received, "the pong")


async def test_a_lost_endpoint_is_replaced_if_asked_for() -> None:
    served: list[tuple[str, ServerConnection]] = []

    def named(name: str) -> Handler:
        async def handler(connection: ServerConnection) -> None:
            served.append((name, connection))
            try:
                async for message in connection:
                    await connection.send(f"{name}:{message}")
            except ConnectionClosed:
                pass

        return handler

    async with AsyncExitStack() as stack:
        urls = []
        for name in "ab":
            server = await stack.enter_async_context(serve(named(name), "127.0.0.1", 0))
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        gateway = Gateway(listen="127.0.0.1:0")
        gateway.service("both", urls)
        gateway.route("/*", service="both", policies=[websocket(reconnect={"attempts": 2, "interval": "100ms"})])
        await stack.enter_async_context(gateway)
        socket = await stack.enter_async_context(connect(url(gateway)))
        await socket.send("1")
        first = await socket.recv()
        served[0][1].transport.abort()
        await until(lambda: len(served) == 2)
        await socket.send("2")
        second = await socket.recv()
        assert {first, second} == {"a:1", "b:2"} or {first, second} == {"b:1", "a:2"}


@pytest.mark.parametrize("limit", [{"max": 1}, {"max": 2}], ids=["the same limit", "another limit"])
async def test_it_reconnects_to_the_endpoints_that_its_service_has_by_then(
    front: Fronts, limit: dict[str, int]
) -> None:
    before, after = await front.upstream(opened()), await front.upstream(opened())
    before.tolerant = after.tolerant = True

    def configured(upstream: ScriptedUpstream, most: dict[str, int]) -> Gateway:
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
        gateway.service("s", [upstream.url], concurrency=most)
        gateway.route("/*", service="s", policies=[websocket(reconnect={"attempts": 2, "interval": "50ms"})])
        return gateway

    gateway = await front.start(configured(before, {"max": 1}))
    await RawSocket(await front.client(gateway)).open()
    await gateway.reload(configured(after, limit).config.model_copy(update={"listen": gateway.config.listen}))
    before.stop_listening()
    before.connections[0].reset()
    await until(lambda: len(after.requests) == 1)


async def test_without_another_endpoint_the_client_is_told(front: Fronts) -> None:
    f = await front(opened(), policies=[websocket(reconnect={"attempts": 2, "interval": "50ms"})])
    f.upstream.tolerant = True
    socket = await RawSocket(await f.client()).open()
    f.upstream.stop_listening()
    f.upstream.connections[0].reset()
    assert (await socket.frame()).close == (1011, "upstream_error")


# messages


class Shouts:
    """Looks at every message, and does what the text says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | bytes]] = []

    async def on_message(self, x: Exchange, direction: str, message: Message) -> None:
        await asyncio.sleep(0)
        self.seen.append((direction, message.data))
        if message.data == "drop":
            message.drop()
        elif message.data == "raise":
            raise ValueError("secret")
        elif message.data == "refuse":
            raise GatewayError("request.policy_failed")
        elif message.data == "end":
            assert x.tunnel is not None
            x.tunnel.close(4009, "token expired")
        elif isinstance(message.data, str) and direction == "client":
            message.data = message.data.upper()


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_policies_see_and_change_messages(compression: str | None) -> None:
    policy = Shouts()
    async with gateway_for(echo, policy) as gateway, connect(url(gateway), compression=compression) as socket:
        await socket.send("drop")
        for sent, received in (("hi", "HI"), (b"raw", b"raw"), ("ü" * 5000, "Ü" * 5000), ("", "")):
            await socket.send(sent)
            assert await socket.recv() == received
        await socket.send(["in", " pieces"])
        assert await socket.recv() == "IN PIECES"
        await (await socket.ping())
    assert policy.seen[:3] == [("client", "drop"), ("client", "hi"), ("service", "HI")]


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [("raise", 1011, "internal_error"), ("refuse", 1008, "request.policy_failed"), ("end", 4009, "token expired")],
)
async def test_policies_may_end_it_and_failures_are_not_shown(text: str, code: int, reason: str) -> None:
    async with gateway_for(echo, Shouts()) as gateway, connect(url(gateway)) as socket:
        await socket.send(text)
        assert await closed(socket) == (code, reason)


async def test_a_deflate_bomb_is_closed_with_1009() -> None:
    async with gateway_for(echo, Shouts()) as gateway, connect(url(gateway), max_size=None) as socket:
        await socket.send(b"\0" * 50_000_000)
        assert await closed(socket) == (1009, "message_too_big")


async def test_text_that_is_not_utf_8_is_closed_with_1007(front: Fronts) -> None:
    f = await front(opened(), policies=[Shouts()])
    f.upstream.tolerant = True
    socket = await RawSocket(await f.client()).open()
    await socket.send(1, b"\xff\xfe")
    assert (await socket.frame()).close[0] == 1007


async def test_messages_keep_their_order_behind_an_async_policy_up_to_the_close() -> None:
    class Slow:
        async def on_message(self, x: Exchange, direction: str, message: Message) -> None:
            if message.data == "0":
                for _ in range(20):
                    await asyncio.sleep(0)

    received: list[str | bytes] = []

    async def collect(connection: ServerConnection) -> None:
        async for message in connection:
            received.append(message)

    async with gateway_for(collect, Slow()) as gateway:
        async with connect(url(gateway)) as socket:
            for number in range(5):
                await socket.send(str(number))
        await until(lambda: len(received) == 5)
    assert received == ["0", "1", "2", "3", "4"]


# raw bytes


def opened(*after: bytes) -> Script:
    """A service that answers the handshake and sends `after`; what it reads it keeps."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(SWITCH + b"".join(after))

    return script


async def raw(front: Fronts, *after: bytes, **keys: Any) -> tuple[Front, RawSocket]:
    f = await front(opened(*after), **keys)
    f.upstream.tolerant = True
    return f, await RawSocket(await f.client()).open()


async def test_frames_behind_the_101_in_one_read_are_passed_on(front: Fronts) -> None:
    _, socket = await raw(front, frame(1, b"at once", mask=None), close_frame(1000, mask=None))
    assert (await socket.frame()).payload == b"at once"
    assert (await socket.frame()).close == (1000, "")


async def test_bytes_before_the_101_are_held_until_then(front: Fronts) -> None:
    gate = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        await gate.wait()
        assert frame(1, b"early") not in connection.received
        connection.send(SWITCH)

    f = await front(script)
    f.upstream.tolerant = True
    client = await f.client()
    await client.send(handshake() + frame(1, b"early"))
    await f.upstream.until(lambda: bool(f.upstream.requests), "the handshake")
    gate.set()
    await client.read_until(b"\r\n\r\n")
    await f.upstream.until(lambda: f.upstream.connections[0].received.endswith(frame(1, b"early")), "the frame")


async def test_bytes_behind_a_handshake_that_failed_are_no_request(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    smuggled = b"GET /admin HTTP/1.1\r\nhost: a.example\r\n\r\n"
    await client.send(handshake() + smuggled)
    reply = await client.reply()
    assert (reply.status, reply.header("connection")) == (200, "close")
    await client.assert_closed()
    assert [request.target for request in f.upstream.requests] == [b"/"]


async def test_frames_arrive_as_they_were_cut(front: Fronts) -> None:
    f, socket = await raw(front)
    service = f.upstream.connections[0]
    start = len(service.received)
    parts = [frame(1, b"one ", final=False), frame(9, b"?"), frame(0, b"two"), frame(2, b"z" * 70_000)]
    for part in parts:
        await socket.client.send(part, cuts=range(1, min(len(part), 12)))
    whole = b"".join(parts)
    await f.upstream.until(lambda: len(service.received) - start >= len(whole), "all frames")
    assert bytes(service.received[start:]) == whole


BROKEN = {
    "unmasked": (frame(1, b"x", mask=None), 1002),
    "reserved bit": (frame(1, b"x", rsv=4), 1002),
    "opcode": (frame(3, b"x"), 1002),
    "long ping": (frame(9, b"x" * 126), 1002),
    "fragmented close": (frame(8, b"", final=False), 1002),
    "2^63": (bytes((0x82, 0xFF)) + (2**63).to_bytes(8, "big"), 1002),
    "1005": (close_frame(1005), 1002),
    "1006": (close_frame(1006), 1002),
    "half a code": (frame(8, b"\x03"), 1002),
    "reason": (frame(8, b"\x03\xe8\xff"), 1007),
    "continuation": (frame(0, b"x"), 1002),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_client_that_breaks_the_protocol_is_told_and_the_service_too(
    front: Fronts, data: bytes, code: int
) -> None:
    f, socket = await raw(front)
    await socket.client.send(data)
    assert (await socket.frame()).close[0] == code
    service = f.upstream.connections[0]
    await f.upstream.until(lambda: told(service, b"client_gone"), "the Close frame")
    service.send(close_frame(1001, mask=None))
    await service.gone()
    await socket.client.until_closed()
    await assert_no_connection(f.gateway)


@pytest.mark.parametrize(
    "data", [frame(1, b"x"), frame(3, b"x", mask=None), close_frame(1006, mask=None)], ids=["masked", "opcode", "1006"]
)
async def test_a_service_that_breaks_the_protocol_is_dropped_and_the_client_told(front: Fronts, data: bytes) -> None:
    f, socket = await raw(front, frame(1, b"fine", mask=None) + data)
    assert (await socket.frame()).payload == b"fine"
    assert (await socket.frame()).close == (1011, "upstream_error")
    await socket.close(1011)
    await socket.ended()
    await f.upstream.connections[0].gone()


async def test_a_service_that_dies_between_frames_is_1011(front: Fronts) -> None:
    f, socket = await raw(front)
    f.upstream.connections[0].reset()
    assert (await socket.frame()).close == (1011, "upstream_error")


async def test_a_service_that_dies_within_a_frame_cuts_the_client(front: Fronts) -> None:
    half = frame(1, b"x" * 200, mask=None)[:50]
    f, socket = await raw(front, half)
    assert await socket.client.read_some() == half
    f.upstream.connections[0].reset()
    assert await socket.client.until_closed() == b""


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_client_that_vanishes_is_1001_to_the_service(front: Fronts, how: str) -> None:
    f, socket = await raw(front)
    if how == "fin":
        socket.client.half_close()
    else:
        socket.client.reset()
    service = f.upstream.connections[0]
    await f.upstream.until(lambda: told(service, b"client_gone"), "the Close frame", seconds=1)
    service.send(close_frame(1001, mask=None))
    await service.gone()


async def test_a_slow_reader_makes_its_own_sender_wait_and_nobody_else(front: Fronts) -> None:
    f, slow = await raw(front)
    other = await RawSocket(await f.client()).open()
    flood, service = f.upstream.connections
    piece = frame(2, b"x" * 100_000, mask=None)
    for _ in range(200):  # 20 MB: more than the gateway and all sockets hold
        flood.send(piece)
    full = asyncio.Event()
    waiting = asyncio.create_task(flood.drained(on_full=full.set))
    async with within(5, "the service has to wait"):
        await full.wait()
    service.send(frame(1, b"quick", mask=None))
    assert (await other.frame()).payload == b"quick"
    for _ in range(200):
        assert len((await slow.frame()).payload) == 100_000
    await waiting


async def test_max_buffered_closes_both_with_1013(front: Fronts) -> None:
    f, socket = await raw(front, policies=[websocket(max_buffered="100KiB")])
    service = f.upstream.connections[0]
    for _ in range(300):
        service.send(frame(2, b"x" * 100_000, mask=None))
    await f.upstream.until(lambda: told(service, b"backpressure"), "the Close frame")
    while (received := await socket.frame()).opcode == 2:
        pass
    assert received.close == (1013, "backpressure")


async def test_who_takes_nothing_for_the_write_timeout_is_closed_with_1013(front: Fronts) -> None:
    f, socket = await raw(front, timeouts={"write": "200ms"})
    service = f.upstream.connections[0]
    for _ in range(200):  # 20 MB: more than the gateway and all sockets hold
        service.send(frame(2, b"x" * 100_000, mask=None))
    await f.upstream.until(lambda: told(service, b"backpressure"), "the Close frame")
    while (received := await socket.frame()).opcode == 2:
        pass
    assert received.close == (1013, "backpressure")


async def test_the_gateway_serves_on_after_every_ending(front: Fronts) -> None:
    f, socket = await raw(front)
    socket.client.reset()
    f.upstream.connections[0].reset()
    await assert_no_connection(f.gateway)
    other = await RawSocket(await f.client()).open()
    await other.close(1000)


# handshakes that are none

KEY_LINE = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HANDSHAKES = {
    "no connection": (handshake().replace(b"connection: upgrade\r\n", b""), 400, "upgrade.bad_handshake"),
    "no key": (handshake().replace(KEY_LINE, b""), 400, "upgrade.bad_handshake"),
    "short key": (handshake(key="c2hvcnQ="), 400, "upgrade.bad_handshake"),
    "key with high bytes": (
        handshake(key="KEY").replace(b"KEY", b"\xff\xfe\xc3\x28"), 400, "upgrade.bad_handshake",
    ),
    "two keys": (handshake("/", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "upgrade.bad_handshake"),
    "no version": (handshake().replace(b"sec-websocket-version: 13\r\n", b""), 426, "upgrade.version"),
    "version 8": (handshake().replace(b"version: 13", b"version: 8"), 426, "upgrade.version"),
    "post": (handshake().replace(b"GET ", b"POST "), 400, "upgrade.bad_handshake"),
    "http/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "upgrade.bad_handshake"),
    "body": (handshake("/", "content-length: 3") + b"abc", 400, "upgrade.bad_handshake"),
    "chunked": (handshake("/", "transfer-encoding: chunked") + b"0\r\n\r\n", 400, "upgrade.bad_handshake"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "status", "code"), HANDSHAKES.values(), ids=HANDSHAKES.keys())
async def test_a_bad_handshake_is_refused_and_opens_no_tunnel(
    front: Fronts, data: bytes, status: int, code: str
) -> None:
    f = await front()
    client = await f.client()
    await client.send(data)
    reply = await client.reply()
    assert assert_problem(reply, status) == code
    if status == 426:
        assert reply.header("sec-websocket-version") == "13"
        assert reply.header("upgrade") == "websocket"
    await assert_nothing_upstream(f.upstream)
    await assert_still_serves(f.port)


async def test_h2c_is_never_passed_on(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    lines = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    reply = await client.ask(b"GET / HTTP/1.1\r\nhost: a.example\r\n" + lines + b"\r\n")
    assert reply.status == 200
    names = {name.lower() for name, _ in f.upstream.requests[0].headers}
    assert not names & {b"upgrade", b"http2-settings", b"connection"}


BAD_SWITCHES = {
    "wrong accept": SWITCH.replace(b"s3pP", b"XXXX"),
    "no accept": SWITCH.replace(b"sec-websocket-accept", b"x-accept"),
    "no upgrade": SWITCH.replace(b"upgrade: websocket\r\n", b""),
    "other upgrade": SWITCH.replace(b"upgrade: websocket", b"upgrade: h2c"),
    "no connection": SWITCH.replace(b"connection: Upgrade\r\n", b""),
}


@pytest.mark.parametrize("answer", BAD_SWITCHES.values(), ids=BAD_SWITCHES.keys())
async def test_a_101_that_does_not_answer_the_handshake_is_502(front: Fronts, answer: bytes) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(answer)

    f = await front(script)
    client = await f.client()
    assert assert_problem(await client.ask(handshake()), 502) == "head.bad"
    await f.upstream.connections[0].gone()


async def test_a_101_nobody_asked_for_is_502(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(SWITCH)

    f = await front(script)
    client = await f.client()
    reply = await client.ask(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
    assert assert_problem(reply, 502) == "head.bad"


async def test_policies_may_change_the_head_of_a_101_and_refuse_it(front: Fronts) -> None:
    class Guard:
        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.headers.set("x-seen", "yes")
            if x.request.path == "/no":
                x.response = Response(403, body="no")

    f = await front(opened(), policies=[Guard()])
    f.upstream.tolerant = True
    client = await f.client()
    await client.send(handshake())
    head = await client.read_until(b"\r\n\r\n")
    assert b"\r\nx-seen: yes\r\n" in head
    other = await f.client()
    reply = await other.ask(handshake("/no"))
    assert (reply.status, bytes(reply.body)) == (403, b"no")
    await f.upstream.connections[1].gone()


async def test_an_ordinary_answer_to_a_handshake_keeps_the_connection(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        while True:
            await connection.request()
            connection.send(ok(b"page"))

    f = await front(script)
    client = await f.client()
    assert (await client.ask(handshake())).status == 200
    assert (await client.ask(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")).status == 200


# helpers


def closes(connection: UpstreamConnection) -> list[bytes]:
    """The payloads of the Close frames that have come to a service; their masks are at random."""
    found = []
    data = bytes(connection.received).partition(b"\r\n\r\n")[2]
    while len(data) >= 6:
        size = data[1] & 0x7F
        assert data[1] & 0x80, "a frame without a mask came to the service"
        assert size < 126, "these tests send the service short frames only"
        mask, payload = data[2:6], data[6 : 6 + size]
        if data[0] == 0x88 and len(payload) == size:
            found.append(bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))
        data = data[6 + size :]
    return found


def told(connection: UpstreamConnection, reason: bytes) -> bool:
    """Whether the service has been sent a Close frame with this reason."""
    return any(payload[2:] == reason for payload in closes(connection))


def gateway_connections(gateway: Gateway) -> int:
    """Client connections that are open."""
    assert gateway._worker is not None
    return gateway._worker.connections


async def assert_no_connection(gateway: Gateway) -> None:
    """Every client connection is freed."""
    await until(lambda: gateway_connections(gateway) == 0)


# compressed messages


@pytest.mark.parametrize("side", ["client", "service"])
async def test_a_limit_counts_messages_and_not_their_compressed_bytes(side: str) -> None:
    async def sends(connection: ServerConnection) -> None:
        async for size in connection:
            if side == "service":
                await connection.send("y" * int(size))
            else:
                await connection.send(str(len(size)))

    async with gateway_for(sends, websocket(max_message="64KiB")) as gateway, connect(url(gateway)) as socket:
        assert [each.name for each in socket.protocol.extensions] == ["permessage-deflate"], "it stays negotiated"
        for _ in range(3):
            await socket.send("65536" if side == "service" else "y" * 65536)
            assert await socket.recv() == ("y" * 65536 if side == "service" else "65536")
        await socket.send("70000" if side == "service" else "y" * 70_000)
        code, reason = await closed(socket)
        expected = (1011, "upstream_error") if side == "service" else (1009, "message_too_big")
        assert (code, reason) == expected


async def test_extensions_that_hide_the_size_are_not_offered_on_a_route_with_a_limit(front: Fronts) -> None:
    async def accepts(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(SWITCH)

    f = await front(accepts, policies=[websocket(max_message="64KiB")])
    await RawSocket(await f.client()).open("/", "sec-websocket-extensions: x-pack, permessage-deflate; x, x-other")
    assert f.upstream.requests[0].all("sec-websocket-extensions") == [b"permessage-deflate; x"]


@pytest.mark.parametrize("broken", ["client", "endpoint"])
async def test_messages_before_an_invalid_frame_are_delivered_also_behind_slow_hooks(
    front: Fronts, broken: str
) -> None:
    class Slow:
        async def on_message(self, x: Exchange, direction: str, message: Message) -> None:
            await asyncio.sleep(0.01)

    good = [b"1", b"2", b"x" * 100_000]

    def sent(mask: bytes | None) -> bytes:
        return b"".join(frame(2, each, mask=mask) for each in good) + frame(3, b"bad", mask=mask)

    async def accepts(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(SWITCH + (sent(None) if broken == "endpoint" else b""))
        await connection.until(lambda: False, "the end")

    f = await front(accepts, policies=[Slow()])
    client = await RawSocket(await f.client()).open()
    if broken == "endpoint":
        assert [(await client.frame()).payload for _ in good] == good
        assert (await client.frame()).close == (1011, "upstream_error")
        return
    await client.client.send(sent(MASK))
    assert (await client.frame()).close[0] == 1002
    endpoint = f.upstream.connections[0]

    def received() -> list[bytes]:
        frames, _ = read_frames(bytes(endpoint.received).partition(b"\r\n\r\n")[2], masked=True)
        return [each.payload for each in frames]

    await until(lambda: len(received()) == len(good) + 1, "the messages, and the Close frame")
    assert received()[:-1] == good
