"""Requests of the gateway's own whose bodies stream, and those that pass routes and policies."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.response import Response
from propylon.engine.subrequest import MAX_DEPTH, OpenResponse, Subrequest
from tests.support.deadline import settle, until
from tests.support.fakes import OK, FakeClient, FakeEndpoint, FakeUpstream, exchange, fake_service, snapshot


class Source:
    """The source of a request's body."""

    def __init__(self) -> None:
        self.body = Body(self)
        self.holders: list[object] = []

    def hold(self, owner: object) -> None:
        self.holders.append(owner)

    def release(self, owner: object) -> None:
        self.holders.remove(owner)

    def body_wanted(self) -> None:
        pass


def opened(own: Subrequest, upstream: FakeUpstream, timeout: float | None = 30.0) -> asyncio.Task[OpenResponse]:
    return asyncio.create_task(own.open(fake_service(FakeEndpoint(upstream)), timeout=timeout))


async def test_the_head_comes_first_and_bodies_stream_both_ways() -> None:
    own, upstream, source = Subrequest(b"POST", b"/x"), FakeUpstream(), Source()
    own.exchange.body = source.body
    task = opened(own, upstream)
    await settle()
    source.body.feed(b"up")
    assert upstream.request_body == b"up"
    stream = upstream.begin_answer(OK + b"x-a: 1\r\n", b"down")
    answer = await task
    assert (answer.status, answer.headers["x-a"]) == (200, "1")
    assert await answer.body.read() == b"down"
    source.body.feed(b"more")
    source.body.end([])
    assert upstream.request_body == b"upmore"
    stream.feed(b"last")
    upstream.end_answer()
    assert await answer.body.read() == b"last"
    assert await answer.body.read() == b""
    assert own.exchange.finished
    assert upstream.finished == 1


async def test_nothing_is_lost_of_an_answer_that_ends_before_it_is_read() -> None:
    """What came with the end, in one read, while the reader still has to have its turn of the loop."""
    own, upstream = Subrequest(b"GET", b"/x"), FakeUpstream()
    task = asyncio.create_task(own.ask(fake_service(FakeEndpoint(upstream)), timeout=30.0, limit=1000))
    await settle()
    stream = upstream.begin_answer(OK, b"one")
    await settle()
    stream.feed(b"two")
    stream.feed(b"three")
    upstream.end_answer()
    assert upstream.finished == 1
    answer = await task
    assert (answer.body, answer.whole) == (b"onetwothree", True)


async def test_what_is_not_read_is_not_asked_for() -> None:
    own, upstream = Subrequest(b"GET", b"/x"), FakeUpstream()
    task = opened(own, upstream)
    await settle()
    stream = upstream.begin_answer(OK)
    answer = await task
    stream.feed(b"x" * 100_000)
    assert upstream.paused
    assert len(await answer.body.read()) == 100_000
    assert not upstream.paused
    own.close()
    assert upstream.finished == 1


async def test_closing_it_gives_the_connection_up_and_fails_who_still_reads() -> None:
    own, upstream = Subrequest(b"GET", b"/x"), FakeUpstream()
    task = opened(own, upstream)
    await settle()
    upstream.begin_answer(OK)
    answer = await task
    reading = asyncio.create_task(answer.body.read())
    await settle()
    own.close()
    own.close()
    with pytest.raises(GatewayError):
        await reading
    assert (upstream.finished, own.exchange.finished) == (1, True)


async def test_its_time_counts_to_the_end_of_the_body() -> None:
    own, upstream = Subrequest(b"GET", b"/x"), FakeUpstream()
    task = opened(own, upstream, timeout=30.0)
    await settle()
    upstream.begin_answer(OK)
    answer = await task
    own._expire()  # what its timer calls
    with pytest.raises(GatewayError) as caught:
        await answer.body.read()
    assert caught.value.code == "attempt.total_timeout"


async def test_an_answer_under_way_may_be_the_body_of_another_ones_response() -> None:
    """As a cache or an aggregation passes it on: a slow client holds the endpoint of the subrequest."""
    inner = FakeUpstream()

    async def proxied(x: Exchange) -> Response:
        own = Subrequest(b"GET", b"/other", parent=x)
        x.defer(own.close)
        answer = await own.open(fake_service(FakeEndpoint(inner)), timeout=30.0)
        return Response(answer.status, body=answer.body)

    client = FakeClient()
    x = exchange(snapshot(proxied), client=client)
    x.start(forward(x))
    await settle()
    stream = inner.begin_answer(OK, b"one")
    await settle()
    source: Any = x.response_source
    source.hold(client)
    assert inner.paused
    source.release(client)
    stream.feed(b"two")
    inner.end_answer()
    await settle()
    assert (client.body, client.names[-1], x.finished) == (b"onetwo", "end_body", True)


async def test_a_client_that_goes_ends_the_subrequest_too() -> None:
    inner = FakeUpstream()

    async def proxied(x: Exchange) -> Response:
        own = Subrequest(b"GET", b"/other", parent=x)
        x.defer(own.close)
        answer = await own.open(fake_service(FakeEndpoint(inner)), timeout=30.0)
        return Response(answer.status, body=answer.body)

    x = exchange(snapshot(proxied), client=FakeClient())
    x.start(forward(x))
    await settle()
    inner.begin_answer(OK, b"one")
    await settle()
    x.fail(GatewayError("relay.client_gone"))
    await settle()
    assert inner.finished == 1


# through the router and the policies


def routed(*policies: object, upstream: FakeUpstream | None = None) -> Exchange:
    """An exchange whose configuration has one route with these policies."""
    return exchange(snapshot(*policies, endpoint=FakeEndpoint(upstream or FakeUpstream())))


async def test_policies_of_the_route_see_it_and_its_answer() -> None:
    seen: list[object] = []

    def look(x: Exchange) -> None:
        seen.append((x.request.method, x.header(b"authorization"), x.request.host))

    def mark(x: Exchange) -> None:
        assert x.response is not None
        x.response.headers.set("x-marked", "1")

    upstream = FakeUpstream()
    own = Subrequest(b"GET", b"/x", parent=routed(look, SimpleNamespace(on_response=mark), upstream=upstream))
    own.headers.set("authorization", "Bearer t")
    own.headers.set("host", "b.example")
    task = asyncio.create_task(own.pass_route(timeout=30.0))
    await settle()
    assert seen == [("GET", b"Bearer t", "b.example")]
    assert b"authorization: Bearer t\r\n" in upstream.block
    stream = upstream.begin_answer(OK + b"content-length: 5\r\n", b"he")
    answer = await task
    assert (answer.status, answer.headers["x-marked"]) == (200, "1")
    stream.feed(b"llo")
    upstream.end_answer()
    assert await answer.body.read_all(100, "response.body_too_large") == b"hello"


async def test_a_refusal_and_a_failure_are_answers() -> None:
    refused = Subrequest(b"GET", b"/x", parent=routed(lambda x: Response(401, body="no")))
    answer = await refused.pass_route(timeout=30.0)
    assert (answer.status, await answer.body.read()) == (401, b"no")
    upstream = FakeUpstream()
    own = Subrequest(b"GET", b"/x", parent=routed(upstream=upstream))
    task = asyncio.create_task(own.pass_route(timeout=30.0))
    await settle()
    upstream.fail("attempt.closed")
    assert (await task).status == 502


async def test_a_body_that_breaks_off_is_a_failure_for_its_reader() -> None:
    upstream = FakeUpstream()
    own = Subrequest(b"GET", b"/x", parent=routed(upstream=upstream))
    task = asyncio.create_task(own.pass_route(timeout=30.0))
    await settle()
    upstream.begin_answer(OK, b"half")
    answer = await task
    upstream.fail("relay.truncated")
    assert await answer.body.read() == b"half"
    with pytest.raises(GatewayError):
        await answer.body.read()


async def test_one_that_is_made_for_itself_ends() -> None:
    made = 0

    async def itself(x: Exchange) -> Response:
        nonlocal made
        made += 1
        answer = await Subrequest(b"GET", b"/x", parent=x).pass_route(timeout=30.0)
        return Response(answer.status, body=await answer.body.read())

    client = FakeClient()
    x = exchange(snapshot(itself), client=client)
    x.start(forward(x))
    await until(lambda: x.finished, "the exchange ends")
    assert made == MAX_DEPTH + 1
    assert client.heads[0][0] == 508
