"""A worker opens its listeners or none, sweeps, and stops without losing an exchange."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from propylon import Gateway, Response
from propylon.build.errors import BuildError
from propylon.config.load import validate
from propylon.inbound.listener import ListenError
from propylon.runtime import worker as module
from propylon.runtime.worker import Worker
from tests.conftest import BOTH_LOOPS
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import settle, within
from tests.support.frames import SWITCH, close_frame, handshake
from tests.support.front import Fronts
from tests.support.sockets import RawSocket
from tests.support.upstream import UpstreamConnection


def gateway(*policies: Any, **keys: Any) -> Gateway:
    made = Gateway(**({"listen": "127.0.0.1:0", "timeouts": {"drain": "5s"}} | keys))
    return made.route("/*", respond="ok", policies=list(policies))


def worker(made: Gateway) -> Worker:
    return Worker(made.snapshot(), made.config.listen)


@asynccontextmanager
async def running(made: Worker) -> AsyncIterator[int]:
    await made.start()
    try:
        yield int(made.addresses[0].rpartition(":")[2])
    finally:
        await made.stop()


async def test_it_tells_the_real_addresses_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    made = worker(gateway(listen=["127.0.0.1:0", f"unix:{path}"]))
    assert made.addresses == []
    async with running(made):
        tcp, unix = made.addresses
        assert tcp.startswith("127.0.0.1:")
        assert not tcp.endswith(":0")
        assert unix == f"unix:{path}"
        assert path.exists()
    assert made.addresses == []
    assert not path.exists()


async def test_it_opens_all_listeners_or_none() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made = worker(gateway(listen=[f"127.0.0.1:{port}", f"127.0.0.1:{taken.getsockname()[1]}"]))
        with pytest.raises(ListenError, match="already in use"):
            await made.start()
    assert made.addresses == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_connections_are_counted() -> None:
    made = worker(gateway())
    async with running(made) as port:
        async with RawClient(port) as client:
            await client.send(request_bytes(b"/"))
            await client.reply()
            assert made.connections == 1
        await settle()
        assert made.connections == 0


async def test_stopping_closes_what_rests_at_once() -> None:
    made = worker(gateway())
    async with running(made) as port, RawClient(port) as client:
        await client.send(request_bytes(b"/"))
        await client.reply()
        async with within(2, "a worker with a resting connection stops"):
            await made.stop()
        await client.assert_closed()


async def test_stopping_waits_for_what_is_under_way_and_takes_nothing_new() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow(x: Any) -> Response:
        begun.set()
        await gate.wait()
        return Response(200, body="late")

    made = worker(gateway(slow))
    async with running(made) as port:
        async with RawClient(port) as client:
            await client.send(request_bytes(b"/"))
            await begun.wait()
            stopping = asyncio.ensure_future(made.stop())
            await settle()
            assert not stopping.done()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            gate.set()
            reply = await client.reply()
            assert bytes(reply.body) == b"late"
            assert reply.header("connection") == "close"
            await client.assert_closed()
        async with within(2, "the worker stops once all is answered"):
            await stopping


async def test_what_takes_longer_than_the_drain_time_is_cut_off_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def endless(x: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    made = worker(gateway(endless, timeouts={"drain": "10ms"}))
    async with running(made) as port, RawClient(port) as client:
        await client.send(request_bytes(b"/"))
        await settle()
        with caplog.at_level(logging.WARNING, "propylon.worker"):
            await made.stop()
        assert "busy for longer than the drain time" in caplog.text
    await settle()
    assert ended == ["cancelled"]
    assert made.connections == 0


async def test_stopping_twice_does_no_harm() -> None:
    made = worker(gateway())
    await made.start()
    await made.stop()
    await made.stop()


async def test_the_one_timer_looks_at_the_core_and_at_connections_until_it_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swept: list[str] = []
    turned = asyncio.Event()

    def sweep(*_: object) -> None:
        swept.append("connections")
        if swept.count("connections") == 20:
            turned.set()

    monkeypatch.setattr(module.Connections, "sweep", sweep)
    monkeypatch.setattr(module.Core, "sweep", lambda self, now: swept.append("core"))
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0)
    async with running(worker(gateway())), within(3, "twenty turns of the timer"):
        await turned.wait()
    assert swept.count("core") == swept.count("connections")
    count = len(swept)
    await settle()
    assert len(swept) == count


async def test_a_proxy_protocol_listener_believes_only_whom_it_was_told_to() -> None:
    listen = {"address": "127.0.0.1:0", "proxy_protocol": {"from": ["127.0.0.1"]}}
    made = worker(gateway(lambda x: Response(200, body=x.request.client), listen=listen))
    async with running(made) as port, RawClient(port) as client:
        await client.send(b"PROXY TCP4 192.0.2.7 192.0.2.9 1234 443\r\n" + request_bytes(b"/"))
        assert bytes((await client.reply()).body) == b"192.0.2.7"


# WebSockets


@pytest.mark.parametrize(("restart", "told"), [(False, (1001, "going_away")), (True, (1012, "service_restart"))])
async def test_stopping_tells_websockets_whether_to_come_back(
    front: Fronts, restart: bool, told: tuple[int, str]
) -> None:
    f = await front(open_websocket)
    f.upstream.tolerant = True
    sockets = [await RawSocket(await f.client()).open() for _ in range(3)]
    stopping = asyncio.ensure_future(f.gateway.stop(restart=restart))
    for each in sockets:
        assert (await each.frame()).close == told
        await each.close(1000)
    for connection in f.upstream.connections:
        connection.send(close_frame(1000, mask=None))
    async with within(2, "the worker stops once all have answered"):
        await stopping


async def test_stopping_cuts_both_sides_of_a_websocket_that_does_not_answer(front: Fronts) -> None:
    f = await front(open_websocket, timeouts={"drain": "200ms"})
    f.upstream.tolerant = True
    socket = await RawSocket(await f.client()).open()
    async with within(2, "the worker stops"):
        await f.gateway.stop()
    await socket.client.until_closed()
    await f.upstream.connections[0].gone(seconds=1)


async def test_a_handshake_under_way_when_it_stops_becomes_a_websocket_that_is_closed(front: Fronts) -> None:
    gate = asyncio.Event()

    async def late(connection: UpstreamConnection) -> None:
        await connection.head()
        await gate.wait()
        connection.send(SWITCH)

    f = await front(late, timeouts={"drain": "2s"})
    f.upstream.tolerant = True
    client = await f.client()
    await client.send(handshake())
    await f.upstream.until(lambda: bool(f.upstream.requests), "the handshake")
    stopping = asyncio.ensure_future(f.gateway.stop())
    await settle()
    gate.set()
    await client.read_until(b"\r\n\r\n")
    socket = RawSocket(client)
    assert (await socket.frame()).close == (1001, "going_away")
    await socket.close(1000)
    f.upstream.connections[0].send(close_frame(1000, mask=None))
    async with within(1, "the worker stops"):
        await stopping


async def open_websocket(connection: UpstreamConnection) -> None:
    """A service that answers the handshake, and keeps what it reads."""
    await connection.head()
    connection.send(SWITCH)


async def test_stopping_does_not_wait_for_the_linger_of_a_connection_that_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("propylon.inbound.http1.DRAIN_LINGER_SECONDS", 0.01)
    made = worker(gateway(timeouts={"drain": "20s", "linger": "20s"}))
    async with running(made) as port, RawClient(port) as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        await client.until_closed()  # the answer, and the gateway's FIN; this client never sends its own
        async with within(2, "a worker with a lingering connection stops"):
            await made.stop()


async def test_nobody_can_connect_before_the_policies_are_started() -> None:
    gate = asyncio.Event()

    class Patient:
        async def start(self) -> None:
            await gate.wait()

        def on_request(self, x: Any) -> None:
            pass

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = worker(gateway(Patient(), listen=f"127.0.0.1:{port}"))
    starting = asyncio.create_task(made.start())
    await settle()
    with pytest.raises(ConnectionRefusedError):
        await RawClient(port).connect()
    gate.set()
    await starting
    async with RawClient(port):
        await made.stop()


async def test_what_was_opened_for_a_policy_that_cannot_be_started_is_closed_again() -> None:
    class Broken:
        def start(self) -> None:
            raise OSError("no database")

        def on_request(self, x: Any) -> None:
            pass

    made = worker(gateway())
    async with running(made):
        opened = made.listeners.stage(validate({"listen": "127.0.0.1:0"}).listen * 2)
        with pytest.raises(BuildError, match="no database"):
            await made.take(gateway(Broken()).snapshot(), opened)
        assert [step.entrance.listener for step in opened.steps[1:]] == [None]
        assert len(made.addresses) == 1


async def test_policies_are_closed_again_if_a_snapshot_is_not_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Noted:
        def start(self) -> None:
            seen.append("start")

        def on_request(self, x: Any) -> None:
            pass

        def close(self) -> None:
            seen.append("close")

    def broken(snapshot: object) -> None:
        raise OSError("a defect")

    made = worker(gateway())
    async with running(made):
        with monkeypatch.context() as patched:
            patched.setattr(made.core, "take", broken)
            with pytest.raises(OSError, match="a defect"):
                await made.take(gateway(Noted()).snapshot(), made.listeners.stage(gateway().config.listen))
        assert seen == ["start", "close"]


@BOTH_LOOPS
async def test_policies_are_closed_behind_exchanges_that_were_cut_off() -> None:
    seen: list[str] = []

    class Slow:
        async def on_request(self, x: Any) -> None:
            seen.append("request")
            await asyncio.Event().wait()

        def on_done(self, x: Any) -> None:
            seen.append("done")

        def close(self) -> None:
            seen.append("close")

    made = worker(gateway(Slow(), timeouts={"drain": "50ms"}))
    await made.start()
    async with RawClient(int(made.addresses[0].rpartition(":")[2])) as client:
        await client.send(request_bytes())
        while not seen:
            await settle(1)
        await made.stop()
    assert seen == ["request", "done", "close"]
