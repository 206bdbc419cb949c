"""Connections to services (RFC 9112 9): used again when they are clean, replaced when they died, limited when asked."""

from __future__ import annotations

import asyncio

import pytest

from propylon import Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import settle
from tests.support.front import Fronts
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, chunked, ok


@BOTH_LOOPS
@pytest.mark.parametrize(
    "raw", [ok(b"x"), chunked(b"x"), b"HTTP/1.1 204 No Content\r\n\r\n"], ids=["length", "chunked", "204"]
)
async def test_a_clean_connection_is_used_again_by_other_clients(front: Fronts, raw: bytes) -> None:
    f = await front(answer(raw))
    for _ in range(3):
        client = await f.client()
        await client.ask(request_bytes())
    assert len(f.upstream.connections) == 1
    assert len(f.upstream.requests) == 3


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(ok(b"x", b"connection: close"), id="9112-9.6 connection: close"),
        pytest.param(ok(b"x", b"Connection: foo, Close"), id="9112-9.6 close in a list"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", id="9112-9.3 HTTP/1.0"),
    ],
)
async def test_a_connection_that_announced_its_end_is_not_used_again(front: Fronts, raw: bytes) -> None:
    f = await front(answer(raw))
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    assert (await client.ask(request_bytes())).status == 200
    assert len(f.upstream.connections) == 2
    await f.upstream.connections[0].gone()


@BOTH_LOOPS
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_connection_that_died_while_idle_is_replaced_unnoticed(front: Fronts, way: str) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    getattr(f.upstream.connections[0], way)()
    if way == "close":
        await f.upstream.connections[0].gone()
    await settle()
    assert (await client.ask(request_bytes(b"/x", method=b"POST", body=b"once"))).status == 200
    assert len([request for request in f.upstream.requests if request.method == b"POST"]) == 1


def dies_on(count: int) -> object:
    """Answer `count` requests on the first connection, then drop it at the next head; other connections are sane."""

    async def script(connection: UpstreamConnection) -> None:
        if connection is not connection.upstream.connections[0]:
            await answer(ok(b"sane"))(connection)
        for _ in range(count):
            await connection.request()
            connection.send(ok(b"first"))
        await connection.head()
        connection.reset()

    return script


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
async def test_9112_9_3_1_a_race_with_an_idle_close_is_tried_once_more_when_idempotent(
    front: Fronts, method: bytes
) -> None:
    f = await front(dies_on(1))  # type: ignore[arg-type]
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    reply = await client.ask(request_bytes(b"/again", method=method))
    assert reply.status == 200
    assert [request.target for request in f.upstream.requests].count(b"/again") == 2


async def test_9112_9_3_1_a_post_that_may_have_been_done_is_not_tried_again(front: Fronts) -> None:
    f = await front(dies_on(1))  # type: ignore[arg-type]
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    reply = await client.ask(request_bytes(b"/pay", method=b"POST", body=b"1"))
    assert assert_problem(reply, 502) == "attempt.closed"
    assert [request.target for request in f.upstream.requests].count(b"/pay") == 1


async def test_a_new_connection_that_dies_is_not_tried_again(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.reset()

    f = await front(script)
    client = await f.client()
    assert assert_problem(await client.ask(request_bytes()), 502) == "attempt.closed"
    assert len(f.upstream.connections) == 1


async def test_a_dead_pool_is_not_tried_connection_by_connection(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(ok())
        await connection.head()
        connection.reset()

    f = await front(script)
    clients = [await f.client() for _ in range(5)]
    await asyncio.gather(*(client.ask(request_bytes()) for client in clients))
    pooled = len(f.upstream.connections)
    reply = await clients[0].ask(request_bytes(b"/again"))
    assert reply.status == 200
    tries = [request for request in f.upstream.requests if request.target == b"/again"]
    assert len(tries) == 2, "one try on a pooled connection, one on a new one"
    assert len(f.upstream.connections) == pooled + 1


async def test_a_body_that_was_streamed_is_not_sent_twice(front: Fronts) -> None:
    f = await front(dies_on(1))  # type: ignore[arg-type]
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    await client.send(b"PUT /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\nhello")
    await f.upstream.connections[0].gone()
    await client.send(b"world")
    reply = await client.reply("PUT")
    assert reply.status in (200, 502)
    whole = [bytes(request.body) for request in f.upstream.requests if request.method == b"PUT" and request.complete]
    assert whole in ([], [b"helloworld"])


async def slow_service(front: Fronts, **connections: object) -> tuple[Gateway, ScriptedUpstream, asyncio.Event]:
    """A gateway in front of a service that answers when the event is set."""
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        while True:
            await connection.request()
            await release.wait()
            connection.send(ok())

    upstream = await front.upstream(script)
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.service("slow", endpoints=[upstream.url], connections=connections)
    gateway.route("/*", service="slow")
    return await front.start(gateway), upstream, release


async def ask(client: RawClient) -> int:
    return (await client.ask(request_bytes())).status


async def test_requests_wait_for_a_connection_and_then_get_one(front: Fronts) -> None:
    gateway, upstream, release = await slow_service(front, max=1)
    tasks = [asyncio.ensure_future(ask(await front.client(gateway))) for _ in range(4)]
    await upstream.until(lambda: len(upstream.requests) == 1, "the first request")
    release.set()
    assert await asyncio.gather(*tasks) == [200] * 4
    assert len(upstream.connections) == 1


async def test_a_wait_for_a_connection_ends_with_503(front: Fronts) -> None:
    gateway, upstream, release = await slow_service(front, max=1, queue_timeout="150ms")
    first = asyncio.ensure_future(ask(await front.client(gateway)))
    await upstream.until(lambda: len(upstream.requests) == 1, "the first request")
    client = await front.client(gateway)
    assert assert_problem(await client.ask(request_bytes()), 503) == "choose.queue_timeout"
    release.set()
    assert await first == 200
    assert await ask(client) == 200


async def test_a_full_queue_answers_503_at_once(front: Fronts) -> None:
    gateway, upstream, release = await slow_service(front, max=1, queue=0)
    first = asyncio.ensure_future(ask(await front.client(gateway)))
    await upstream.until(lambda: len(upstream.requests) == 1, "the first request")
    client = await front.client(gateway)
    assert assert_problem(await client.ask(request_bytes()), 503) == "choose.queue_full"
    release.set()
    assert await first == 200


async def test_a_client_that_goes_away_leaves_the_queue(front: Fronts) -> None:
    gateway, upstream, release = await slow_service(front, max=1)
    first = asyncio.ensure_future(ask(await front.client(gateway)))
    await upstream.until(lambda: len(upstream.requests) == 1, "the first request")
    waiting = await front.client(gateway)
    await waiting.send(request_bytes(b"/gone"))
    other = asyncio.ensure_future(ask(await front.client(gateway)))
    waiting.reset()
    await settle()
    release.set()
    assert await first == 200
    assert await other == 200
    assert all(request.target != b"/gone" for request in upstream.requests)


async def test_idle_connections_above_the_limit_are_closed(front: Fronts) -> None:
    gateway, upstream, release = await slow_service(front, idle=1)
    tasks = [asyncio.ensure_future(ask(await front.client(gateway))) for _ in range(3)]
    await upstream.until(lambda: len(upstream.requests) == 3, "three requests at once")
    release.set()
    await asyncio.gather(*tasks)
    await upstream.until(lambda: sum(connection.eof for connection in upstream.connections) == 2, "two closed")


async def test_idle_connections_are_closed_after_their_time(front: Fronts) -> None:
    gateway, upstream, release = await slow_service(front, idle_timeout="150ms")
    release.set()
    assert await ask(await front.client(gateway)) == 200
    await upstream.connections[0].gone()


async def test_nobody_there_is_503_again_and_again_and_recovers(front: Fronts) -> None:
    upstream = await front.upstream()
    upstream.stop_listening()
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/*", target=upstream.url)
    await front.start(gateway)
    client = await front.client(gateway)
    for _ in range(20):
        assert assert_problem(await client.ask(request_bytes()), 503) == "connect.refused"
    revived = ScriptedUpstream(answer(ok(b"back")))
    revived.port = upstream.port
    async with revived:
        assert bytes((await client.ask(request_bytes())).body) == b"back"
