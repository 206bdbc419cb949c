"""WebSockets and strangers, over real sockets: what must not hang, leak, overflow or fill the log."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from propylon import Exchange, Message
from propylon.config.schema import PolicyEntry
from propylon.engine.line_limit import LINES
from propylon.engine.websocket import tunnel as tunnel_module
from propylon.http.websocket import accept_of
from tests.conftest import BOTH_LOOPS
from tests.outbound.conftest import make_ca, make_leaf
from tests.support.checks import assert_problem
from tests.support.deadline import settle, until
from tests.support.frames import ACCEPT, SWITCH, Frame, close_frame, frame, handshake, read_frames
from tests.support.front import Front, Fronts
from tests.support.sockets import RawSocket
from tests.support.upstream import Script, UpstreamConnection, ok

TEXT = frame(1, b"hello", mask=None)
GET = b"GET /second HTTP/1.1\r\nhost: a.example\r\n\r\n"


def opened(*after: bytes) -> Script:
    """A service that answers the handshake and sends `after`; what it reads it keeps."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(SWITCH + b"".join(after))

    return script


async def tolerant(front: Fronts, script: Script, **keys: Any) -> Front:
    f = await front(script, **keys)
    f.upstream.tolerant = True
    return f


def sent_to(connection: UpstreamConnection) -> list[Frame]:
    """The frames that have come to a service."""
    found, rest = read_frames(bytes(connection.received).partition(b"\r\n\r\n")[2], masked=True)
    assert rest == b""
    return found


async def all_over(f: Front) -> None:
    """No connection is left on either side, and none is counted in the pool."""
    worker = f.gateway._worker
    assert worker is not None
    await until(lambda: worker.connections == 0, "every client connection is freed")
    pools = [endpoint.pool for service in worker.core.snapshot.services.values() for endpoint in service.endpoints]
    await until(lambda: all(pool.open == pool.idle for pool in pools), "every endpoint connection is freed")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give peers a quarter of a second to answer a Close frame."""
    monkeypatch.setattr(tunnel_module, "CLOSE_SECONDS", 0.25)


@pytest.fixture(autouse=True)
def _nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever a stranger does, no traceback is logged."""
    yield
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


# who does not answer


@BOTH_LOOPS
@pytest.mark.parametrize("how", ["fin", "reset", "close and reset", "broken"])
async def test_an_endpoint_that_answers_nothing_is_cut_when_its_client_is_gone(
    front: Fronts, how: str, quick: None
) -> None:
    f = await tolerant(front, opened())
    socket = await RawSocket(await f.client()).open()
    if how == "fin":
        socket.client.half_close()
    elif how == "broken":
        await socket.client.send(frame(3))
        assert (await socket.frame()).close[0] == 1002
    else:
        if how == "close and reset":
            await socket.close(1000)
        socket.client.reset()
    await f.upstream.connections[0].gone()
    await all_over(f)


@BOTH_LOOPS
async def test_a_client_that_answers_nothing_is_cut_when_its_endpoint_is_gone(front: Fronts, quick: None) -> None:
    f = await tolerant(front, opened(TEXT, close_frame(1000, mask=None)))
    socket = await RawSocket(await f.client()).open()
    assert (await socket.frame()).payload == b"hello"
    assert (await socket.frame()).close == (1000, "")
    await socket.client.until_closed()
    await all_over(f)


@BOTH_LOOPS
async def test_a_broken_client_that_goes_on_sending_amid_a_frame_to_it_is_cut(front: Fronts, quick: None) -> None:
    half = frame(2, b"x" * 200, mask=None)[:50]
    f = await tolerant(front, opened(half))
    socket = await RawSocket(await f.client()).open()
    assert await socket.client.read_some() == half
    await socket.client.send(frame(3))
    f.upstream.connections[0].send(b"x" * 40)
    for _ in range(20):
        await socket.client.send(b"\xff" * 1000)
    await socket.client.until_closed()
    await all_over(f)


async def test_a_frame_without_end_to_a_client_that_does_not_read_does_not_fill_the_memory(front: Fronts) -> None:
    """What the gateway takes of it while the tunnel is being closed is what fits into sockets and one buffer."""
    endless = bytes((0x82, 127)) + (2**40).to_bytes(8, "big")
    f = await tolerant(front, opened(endless), timeouts={"drain": "1s"})
    socket = await RawSocket(await f.client()).open()
    flood = f.upstream.connections[0]
    for _ in range(400):
        flood.send(b"x" * 100_000)  # 40 MB
    full = asyncio.Event()
    waiting = asyncio.ensure_future(flood.drained(on_full=full.set))
    await full.wait()
    unsent = flood._transport.get_write_buffer_size()
    stopping = asyncio.ensure_future(f.gateway.stop())
    await settle(50)
    assert flood._transport.get_write_buffer_size() > unsent - 2_000_000
    await stopping
    waiting.cancel()
    socket.client.close()


# who disagrees whether there is a WebSocket


@pytest.mark.parametrize("answer", [ok(b"no"), b"HTTP/1.1 426 x\r\ncontent-length: 2\r\n\r\nno"])
async def test_what_a_client_sends_behind_a_handshake_that_failed_reaches_nobody(front: Fronts, answer: bytes) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(answer)

    f = await front(script)
    client = await f.client()
    await client.send(handshake() + frame(1, b"as if") + GET)
    reply = await client.reply()
    assert reply.header("connection") == "close"
    await client.assert_closed()
    assert [request.target for request in f.upstream.requests] == [b"/"]


async def test_an_endpoint_that_opens_one_behind_an_interim_response_gets_no_request_more(front: Fronts) -> None:
    f = await tolerant(front, opened())
    client = await f.client()
    await client.send(handshake("/", "expect: 100-continue"))
    await client.read_until(b"\r\n\r\n")
    await client.send(GET)
    assert (await RawSocket(client).frame()).close[0] == 1002
    assert f.upstream.connections[0].received.count(b"GET ") == 1


async def test_what_an_endpoint_says_behind_a_101_is_frames_or_nothing(front: Fronts) -> None:
    f = await tolerant(front, opened(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
    socket = await RawSocket(await f.client()).open()
    assert (await socket.frame()).close == (1011, "upstream_error")
    await socket.close(1000)
    await socket.ended()
    await all_over(f)


async def test_an_endpoint_that_talks_while_a_policy_thinks_waits_and_is_heard(front: Fronts) -> None:
    gate = asyncio.Event()

    class Thinks:
        async def on_response(self, x: Exchange) -> None:
            await gate.wait()

    f = await tolerant(front, opened(TEXT), policies=[Thinks()])
    client = await f.client()
    await client.send(handshake() + frame(1, b"early"))
    await f.upstream.until(lambda: bool(f.upstream.connections), "the connection")
    flood = f.upstream.connections[0]
    await f.upstream.until(lambda: bool(f.upstream.requests), "the handshake")
    for _ in range(100):
        flood.send(frame(2, b"x" * 100_000, mask=None))
    full = asyncio.Event()
    waiting = asyncio.ensure_future(flood.drained(on_full=full.set))
    await full.wait()
    gate.set()
    await client.read_until(b"\r\n\r\n")
    socket = RawSocket(client)
    assert (await socket.frame()).payload == b"hello"
    for _ in range(100):
        assert len((await socket.frame()).payload) == 100_000
    await waiting
    await f.upstream.until(lambda: sent_to(flood) == [Frame(1, b"early")], "the early frame")


# async policies


@BOTH_LOOPS
async def test_a_flood_behind_an_async_policy_makes_its_sender_wait(front: Fronts) -> None:
    gate = asyncio.Event()

    class Thinks:
        async def on_message(self, x: Exchange, direction: str, message: Message) -> None:
            await gate.wait()

    f = await tolerant(front, opened(), policies=[Thinks()])
    socket = await RawSocket(await f.client()).open()
    flood = f.upstream.connections[0]
    for _ in range(400):
        flood.send(frame(2, b"x" * 50_000, mask=None))
    full = asyncio.Event()
    waiting = asyncio.ensure_future(flood.drained(on_full=full.set))
    await full.wait()
    gate.set()
    for _ in range(400):
        assert len((await socket.frame()).payload) == 50_000
    await waiting


@pytest.mark.parametrize("end", ["client", "endpoint", "stop", "tunnel"])
async def test_whatever_ends_a_websocket_ends_the_policy_that_has_its_message(
    front: Fronts, end: str, quick: None
) -> None:
    ended: list[str] = []
    exchanges: list[Exchange] = []

    class Thinks:
        async def on_message(self, x: Exchange, direction: str, message: Message) -> None:
            exchanges.append(x)
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(direction)

    f = await tolerant(front, opened(TEXT), policies=[Thinks()])
    socket = await RawSocket(await f.client()).open()
    await until(lambda: bool(exchanges), "the policy has the message")
    if end == "client":
        socket.client.reset()
    elif end == "endpoint":
        f.upstream.connections[0].reset()
        await settle()
        await socket.send(9)  # an endpoint that is held is only seen to be gone when something is written to it
    elif end == "stop":
        await f.gateway.stop()
    else:
        tunnel = exchanges[0].tunnel
        assert tunnel is not None
        tunnel.close(4000)
    await until(lambda: ended == ["service"], "the policy is ended")
    if end != "stop":
        await all_over(f)


async def test_a_policy_that_fails_on_every_message_is_logged_once_a_websocket(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails:
        def on_message(self, x: Exchange, direction: str, message: Message) -> None:
            raise ValueError("secret")

    f = await tolerant(front, opened(TEXT * 1000), policies=[Fails()])
    socket = await RawSocket(await f.client()).open()
    assert (await socket.frame()).close == (1011, "internal_error")
    await socket.client.send(frame(1, b"x") * 100)
    assert len([record for record in caplog.records if record.exc_info]) == 1
    caplog.clear()


# reconnecting


async def test_an_endpoint_that_dies_at_once_is_not_asked_without_a_pause(front: Fronts) -> None:
    async def dies(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(SWITCH)
        await settle(10)
        connection.reset()

    again = PolicyEntry.named("websocket", {"reconnect": {"attempts": 3, "interval": "10ms"}})
    f = await tolerant(front, dies, policies=[again])
    socket = await RawSocket(await f.client()).open()
    for _ in range(20):
        await socket.client.send(frame(1, b"flood"))
    assert (await socket.frame()).close == (1011, "upstream_error")
    assert len(f.upstream.connections) <= 1 + 3


# logs and TLS


async def test_strangers_fill_no_log(front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    f = await tolerant(front, opened())
    with caplog.at_level(logging.INFO):
        for data in (frame(3), frame(1, b"x", mask=None), close_frame(1006), b"\xff" * 50) * 4:
            socket = await RawSocket(await f.client()).open()
            await socket.client.send(data)
            assert (await socket.frame()).opcode == 8
            socket.client.reset()
        tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"
        for bad in (handshake(key="x"), handshake().replace(b": 13", b": 1"), tls) * 11:
            assert_problem(await (await f.client()).ask(bad, "GET"), 400, 426)
    told = [cast("Any", record) for record in caplog.records if record.name.startswith("propylon")]
    counts = Counter(record.code for record in told)
    assert counts.pop("tunnel.client_broke", 0) <= LINES  # those that are over already
    assert counts == {"upgrade.bad_handshake": LINES, "upgrade.version": LINES, "read.bad_request_line": LINES}
    assert [record.getMessage() for record in told if record.levelno > logging.INFO] == []


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("wss")
    ca = make_ca(folder, "ca")
    certificate, key = make_leaf(folder, "local", "subjectAltName=DNS:localhost")
    return {"certificate": certificate, "key": key, "ca": ca}


async def keyed(connection: UpstreamConnection) -> None:
    """Answer the handshake of a real client, and say hello."""
    request = await connection.head()
    accept = accept_of(request.header("sec-websocket-key").encode())
    connection.send(SWITCH.replace(ACCEPT.encode(), accept) + TEXT)


ENDINGS: dict[str, Callable[[Any], Any]] = {
    "close": lambda socket: socket.close(),
    "cut": lambda socket: socket.transport.abort(),
}


@BOTH_LOOPS
@pytest.mark.parametrize("end", ENDINGS.keys())
async def test_over_tls_it_is_no_different(front: Fronts, identity: dict[str, str], end: str, quick: None) -> None:
    tls = {"certificate": identity["certificate"], "key": identity["key"]}
    f = await tolerant(front, keyed, listen={"address": "127.0.0.1:0", "tls": tls})
    context = ssl.create_default_context(cafile=identity["ca"])
    async with connect(
        f"wss://localhost:{f.port}/", ssl=context, host="127.0.0.1", server_hostname="localhost", compression=None
    ) as socket:
        assert await socket.recv() == "hello"
        result = ENDINGS[end](socket)
        if result is not None:
            await result
        else:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    await f.upstream.connections[0].gone()
    await all_over(f)
