"""Deadlines, in real time: who is too slow gets 408 or 504, or is let go; nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

import pytest

from propylon import Exchange, Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem, assert_refused
from tests.support.client import ConnectionEnded, RawClient, request_bytes
from tests.support.deadline import real_time
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, ok

SHORT = 0.15  # seconds; every deadline under test


def allow(**seconds: float) -> object:
    """A policy that sets the timeouts of its exchange."""

    def limit(x: Exchange) -> None:
        x.set_timeouts(**seconds)

    return limit


@BOTH_LOOPS
@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: a.example\r\nx: y"])
async def test_9110_15_5_9_an_unfinished_head_gets_408(front: Fronts, sent: bytes) -> None:
    f = await front(timeouts={"header": SHORT})
    client = await f.client()
    began = monotonic()
    await client.send(sent)
    assert await assert_refused(client, 408) == "read.head_timeout"
    assert monotonic() - began > SHORT * 0.8
    assert f.upstream.received == b""


async def test_a_head_that_drips_gets_408_though_it_never_pauses(front: Fronts) -> None:
    f = await front(timeouts={"header": SHORT})
    client = await f.client()
    dripping = asyncio.ensure_future(drip(client, b"GET / HTTP/1.1\r\nhost: a.example\r\n" + b"x: y\r\n" * 200))
    await assert_refused(client, 408)
    dripping.cancel()


async def drip(client: RawClient, data: bytes) -> None:
    """Send a byte every 10 ms."""
    for offset in range(len(data)):
        await client.send(data[offset : offset + 1])
        await real_time(0.01)


async def test_a_connection_that_never_sends_is_closed_without_an_answer(front: Fronts) -> None:
    f = await front(timeouts={"header": SHORT, "keep_alive": SHORT})
    client = await f.client()
    rest = await client.until_closed()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed_without_an_answer(front: Fronts) -> None:
    f = await front(timeouts={"keep_alive": SHORT})
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    began = monotonic()
    await client.assert_closed()
    assert monotonic() - began > SHORT * 0.8


@pytest.mark.parametrize(
    "head",
    [b"content-length: 10\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhel"],
    ids=["length", "chunked"],
)
async def test_9110_15_5_9_a_body_that_stops_gets_408_and_aborts_the_upstream(front: Fronts, head: bytes) -> None:
    f = await front(timeouts={"body": SHORT})
    client = await f.client()
    await client.send(b"POST /x HTTP/1.1\r\nhost: a.example\r\n" + head)
    assert await assert_refused(client, 408, method="POST") == "read.body_timeout"
    for connection in f.upstream.connections:
        await connection.gone()
    assert not [request for request in f.upstream.requests if request.complete]


@BOTH_LOOPS
async def test_9110_15_6_5_an_answer_that_does_not_come_gets_504(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()

    f = await front(script, policies=[allow(response=SHORT)])
    client = await f.client()
    began = monotonic()
    reply = await client.ask(request_bytes())
    assert assert_problem(reply, 504) == "head.timeout"
    assert SHORT * 0.8 < monotonic() - began < SHORT + 1.5
    await f.upstream.connections[0].gone()
    assert len(f.upstream.requests) == 1


async def test_half_a_head_gets_504_too(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nx: ")

    f = await front(script, policies=[allow(response=SHORT)])
    client = await f.client()
    assert assert_problem(await client.ask(request_bytes()), 504) == "head.timeout"
    await f.upstream.connections[0].gone()


async def test_1xx_responses_do_not_win_time_for_ever(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        for _ in range(40):
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await real_time(0.05)

    f = await front(script, policies=[allow(total=SHORT * 2)])
    client = await f.client()
    assert_problem(await client.ask(request_bytes()), 504)


async def test_the_total_timeout_holds_even_if_each_step_is_in_time(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()

    f = await front(script, policies=[allow(response=10, total=SHORT)])
    client = await f.client()
    assert assert_problem(await client.ask(request_bytes()), 504) == "attempt.total_timeout"
    await f.upstream.connections[0].gone()


async def test_a_body_that_stops_is_cut_and_never_looks_whole(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")

    f = await front(script, policies=[allow(idle=SHORT)])
    client = await f.client()
    await client.send(request_bytes())
    with pytest.raises(ConnectionEnded):
        await client.reply()
    await f.upstream.connections[0].gone()


async def test_a_slow_but_living_body_outlives_the_response_timeout(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        for byte in b"hello":
            await real_time(SHORT / 2)
            connection.send(bytes([byte]))

    f = await front(script, policies=[allow(response=SHORT, idle=SHORT * 4)])
    client = await f.client()
    assert bytes((await client.ask(request_bytes())).body) == b"hello"


async def test_9110_15_6_5_an_endpoint_that_does_not_accept_gets_504(front: Fronts) -> None:
    # A listening socket whose queue is full: Linux drops further SYNs, so that connecting hangs.
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    try:
        target = f"http://127.0.0.1:{full.getsockname()[1]}"
        gateway = Gateway(listen="127.0.0.1:0")
        gateway.route("/*", target=target, policies=[allow(connect=SHORT)])
        client = await front.client(await front.start(gateway))
        assert assert_problem(await client.ask(request_bytes()), 504) == "connect.timeout"
    finally:
        for one in [full, *waiting]:
            one.close()


async def test_a_client_that_reads_nothing_is_let_go(front: Fronts) -> None:
    f = await front(answer(ok(b"x" * 30_000_000)), timeouts={"write": SHORT})
    client = await f.client()
    await client.send(request_bytes())
    await f.upstream.until(lambda: bool(f.upstream.requests), "the request")
    await f.upstream.connections[0].gone()


async def test_a_deadline_of_one_exchange_does_not_reach_the_next(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        while True:
            request = await connection.request()
            if request.target == b"/slow":
                await real_time(SHORT * 3)
            connection.send(ok())

    def only_fast(x: Exchange) -> None:
        if x.request.path == "/fast":
            x.set_timeouts(response=SHORT)

    f = await front(script, policies=[only_fast])
    client = await f.client()
    assert (await client.ask(request_bytes(b"/fast"))).status == 200
    assert (await client.ask(request_bytes(b"/slow"))).status == 200
