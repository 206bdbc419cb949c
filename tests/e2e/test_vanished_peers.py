"""Peers that vanish without FIN or RST: their exchanges end, and what they held is free again."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from propylon import Exchange, Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import real_time, until, within
from tests.support.frames import SWITCH, frame
from tests.support.front import Front, Fronts, service_of
from tests.support.sockets import RawSocket
from tests.support.upstream import UpstreamConnection, ok
from tests.support.vanish import needs_vanishing, vanish

pytestmark = needs_vanishing

EVENT = b"b\r\ndata: one\n\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
ENDS = 4.0  # seconds, for what takes 1 to 2.5: the kernel counts keepalive in whole seconds


class Ends:
    """Keeps how exchanges ended."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def on_done(self, x: Exchange) -> None:
        self.codes.append("" if x.error is None else x.error.code)

    async def one(self, code: str) -> None:
        await until(lambda: bool(self.codes), "the exchange ends", ENDS)
        assert self.codes == [code]


def connections(f: Front) -> int:
    worker: Any = f.gateway._worker
    return int(worker.connections)


async def streaming(f: Front) -> tuple[RawClient, UpstreamConnection]:
    client = await f.client()
    await client.send(request_bytes(b"/events", b"accept: text/event-stream"))
    await client.read_until(EVENT)
    return client, f.upstream.connections[-1]


def script(kind: bytes) -> Any:
    async def begins(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(HEAD % kind + EVENT)

    return begins


@BOTH_LOOPS
async def test_heartbeats_that_are_not_acknowledged_end_the_stream_in_the_write_timeout(front: Fronts) -> None:
    ends = Ends()
    f = await front(
        script(b"text/event-stream"), policies=[ends, {"sse": {"heartbeat": "200ms"}}], timeouts={"write": "1s"}
    )
    client, endpoint = await streaming(f)
    vanish(client._socket)
    await ends.one("relay.client_stalled")
    await endpoint.gone()
    assert connections(f) == 0


async def test_a_stream_that_says_nothing_ends_by_keepalive(front: Fronts) -> None:
    ends = Ends()
    f = await front(script(b"text/event-stream"), policies=[ends], timeouts={"tcp_keepalive": "1s"})
    client, endpoint = await streaming(f)
    vanish(client._socket)
    await until(lambda: bool(ends.codes), "the exchange ends", 8)  # three probes, a second each
    assert ends.codes == ["relay.client_gone"]
    await endpoint.gone()


async def test_tcp_user_timeout_ends_it_earlier(front: Fronts) -> None:
    ends = Ends()
    f = await front(
        script(b"text/event-stream"), policies=[ends], timeouts={"tcp_user_timeout": "500ms", "tcp_keepalive": "1s"}
    )
    client, _ = await streaming(f)
    vanish(client._socket)
    await ends.one("relay.client_gone")


@BOTH_LOOPS
async def test_any_body_under_way_ends_for_a_client_that_acknowledges_nothing(front: Fronts) -> None:
    ends = Ends()
    f = await front(script(b"application/json"), policies=[ends], timeouts={"write": "1s"})
    client, endpoint = await streaming(f)
    vanish(client._socket)
    endpoint.send(EVENT)
    await ends.one("relay.client_stalled")


async def test_the_place_in_a_concurrency_limit_is_free_again(front: Fronts) -> None:
    async def events_then_hello(connection: UpstreamConnection) -> None:
        request = await connection.head()
        connection.send(HEAD % b"text/event-stream" + EVENT if request.target == b"/events" else ok(b"hello"))

    upstream = await front.upstream(events_then_hello)
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"write": "1s", "drain": "200ms"})
    gateway.service("s", [upstream.url], concurrency={"max": 1, "queue": 1, "queue_timeout": "8s"})
    gateway.route("/*", service="s", policies=[{"sse": {"heartbeat": "200ms"}}])
    running = await front.start(gateway)
    client = await front.client(running)
    await client.send(request_bytes(b"/events", b"accept: text/event-stream"))
    await client.read_until(EVENT)
    vanish(client._socket)
    second = await front.client(running)
    await second.send(request_bytes(b"/hello"))
    await until(lambda: "waiting=1" in repr(service_of(running, "s").concurrency), "the second is in line")
    await until(lambda: "waiting=0" in repr(service_of(running, "s").concurrency), "its place is free", ENDS)
    assert (await second.reply()).body == b"hello"


async def test_a_quiet_stream_of_a_client_that_is_there_stays(front: Fronts) -> None:
    ends = Ends()
    f = await front(
        script(b"text/event-stream"),
        policies=[ends, {"sse": {"heartbeat": "100ms"}}],
        timeouts={"write": "500ms", "tcp_keepalive": "1s"},
    )
    client, endpoint = await streaming(f)
    await real_time(2.5)
    assert ends.codes == []
    endpoint.send(b"b\r\ndata: two\n\n\r\n")
    await client.read_until(b"data: two\n\n\r\n")


async def test_a_slow_reader_with_a_small_buffer_is_not_taken_for_a_vanished_one(front: Fronts) -> None:
    """TCP_USER_TIMEOUT would end it: its window is closed most of the time."""

    async def large(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + bytes(4_000_000))

    ends = Ends()
    f = await front(large, policies=[ends], timeouts={"write": "1s"})
    client = await f.client()
    client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    await client.send(request_bytes(b"/large"))
    for _ in range(40):
        await client.read_some()
        await real_time(0.1)
    assert ends.codes == []


async def opened(f: Front) -> tuple[RawSocket, UpstreamConnection]:
    client = await RawSocket(await f.client()).open()
    return client, f.upstream.connections[-1]


async def accepts(connection: UpstreamConnection) -> None:
    await connection.head()
    connection.send(SWITCH)


async def answers_close(endpoint: UpstreamConnection) -> None:
    async with within(8, "the Close frame"):
        await endpoint.until(lambda: b"\x88" in endpoint.received, "the Close frame")
    endpoint.close()


@pytest.mark.parametrize("who", ["client", "endpoint"])
async def test_a_websocket_without_pings_ends_when_a_side_acknowledges_nothing(front: Fronts, who: str) -> None:
    ends = Ends()
    f = await front(accepts, policies=[ends, {"websocket": {"ping": "none"}}], timeouts={"write": "1s"})
    client, endpoint = await opened(f)
    if who == "client":
        vanish(client.client._socket)
        endpoint.send(frame(1, b"hello", mask=None))
        await answers_close(endpoint)
    else:
        vanish(endpoint._transport.get_extra_info("socket"))
        await client.send(1, b"hello")
        assert (await client.frame(ENDS)).close == (1011, "upstream_error")
        client.client.close()
    await ends.one(f"tunnel.{who}_silent")
    await until(lambda: connections(f) == 0, "both connections are gone")


async def test_an_idle_websocket_without_pings_ends_by_keepalive_of_both_sides(front: Fronts) -> None:
    ends = Ends()
    f = await front(accepts, policies=[ends, {"websocket": {"ping": "none"}}], timeouts={"tcp_keepalive": "1s"})
    client, endpoint = await opened(f)
    vanish(client.client._socket)
    await answers_close(endpoint)
    await until(lambda: bool(ends.codes), "the exchange ends")
    assert ends.codes == ["tunnel.client_lost"]


async def test_keepalive_finds_an_endpoint_that_is_gone(front: Fronts) -> None:
    upstream = await front.upstream(script(b"text/event-stream"))
    ends = Ends()
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("s", [upstream.url], connections={"tcp_keepalive": "1s"})
    gateway.route("/*", service="s", policies=[ends])
    running = await front.start(gateway)
    client = await front.client(running)
    await client.send(request_bytes(b"/events", b"accept: text/event-stream"))
    await client.read_until(EVENT)
    vanish(upstream.connections[-1]._transport.get_extra_info("socket"))
    await until(lambda: bool(ends.codes), "the exchange ends", 8)
    assert ends.codes == ["relay.truncated"]
