"""Event streams through a whole gateway: clients that leave, services that fail, limits, ages, a gateway that stops."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import real_time, settle, until, within
from tests.support.front import Front, Fronts
from tests.support.upstream import UpstreamConnection, ok

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
ACCEPT = b"accept: text/event-stream"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ONE = chunk(b"id: 1\ndata: one\n\n")


async def streams(connection: UpstreamConnection) -> None:
    """Begin a stream with one event; the test goes on with it."""
    await connection.head()
    connection.send(CHUNKED + ONE)


async def connected(f: Front, *fields: bytes) -> tuple[RawClient, UpstreamConnection]:
    """A client that has got the first event, and the endpoint's side of its stream."""
    before = len(f.upstream.connections)
    client = await f.client()
    await client.send(request_bytes(b"/events", ACCEPT, *fields))
    await client.read_until(ONE)
    await f.upstream.until(lambda: len(f.upstream.connections) > before, "the connection")
    return client, f.upstream.connections[-1]


async def no_streams(f: Front) -> None:
    """Wait until the gateway has no client."""
    worker: Any = f.gateway._worker
    await until(lambda: not worker.connections, "the gateway lets its clients go", 2)


# passing on


@BOTH_LOOPS
async def test_events_arrive_as_they_were_flushed_and_fields_pass_untouched(front: Fronts) -> None:
    f = await front(streams)
    client, endpoint = await connected(f, b"last-event-id: 41")
    request = f.upstream.requests[0]
    assert request.header("last-event-id") == "41"
    assert request.header("accept") == "text/event-stream"
    for data in (b"retry: 250\n\n", b"data: a\r\n", b"\r\n", b": hi\n\n", b"da", b"ta: b\n\n"):
        endpoint.send(chunk(data))
        assert await client.read_some() == chunk(data)
    endpoint.send(b"0\r\n\r\n")
    assert await client.read_some() == b"0\r\n\r\n"


async def test_an_event_fanned_out_reaches_two_hundred_clients(front: Fronts) -> None:
    count = 200
    f = await front(streams, policies=[{"sse": {"heartbeat": "10s", "error_event": True, "max_streams": count}}])
    clients = [await f.client() for _ in range(count)]
    for client in clients:
        await client.send(request_bytes(b"/events", ACCEPT))
    for client in clients:
        await client.read_until(ONE, 10)
    for number in range(3):
        event = chunk(b"data: %d\n\n" % number)
        for endpoint in f.upstream.connections:
            endpoint.send(event)
        for client in clients:
            assert await client.read_until(event, 10) == event
    assert len(f.upstream.connections) == count


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_answers_without_a_body_are_no_streams(front: Fronts, method: bytes) -> None:
    async def script(connection: UpstreamConnection) -> None:
        while True:
            request = await connection.head()
            connection.send(CHUNKED if request.method == b"HEAD" else b"HTTP/1.1 204 No Content\r\n\r\n")

    f = await front(script, policies=[{"sse": {"max_streams": 1, "heartbeat": "100ms", "error_event": True}}])
    client = await f.client()
    for _ in range(2):
        reply = await client.ask(request_bytes(b"/", method=method))
        assert (reply.status, bytes(reply.body)) == (204 if method == b"GET" else 200, b"")


async def test_a_compressed_stream_passes_untouched(front: Fronts) -> None:
    packed = gzip.compress(b"data: one\n\n")
    head = HEAD + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(head + chunk(packed[:9]))

    f = await front(script, policies=[{"sse": {"heartbeat": "50ms", "error_event": True, "max_age": "50ms"}}])
    client = await f.client()
    await client.send(request_bytes(b"/events"))
    await client.read_until(chunk(packed[:9]))
    await real_time(0.3)
    f.upstream.connections[0].send(chunk(packed[9:]) + b"0\r\n\r\n")
    assert await client.read_until(b"0\r\n\r\n") == chunk(packed[9:]) + b"0\r\n\r\n"


async def test_a_stream_may_be_silent_longer_than_idle_unless_it_is_told_otherwise(front: Fronts) -> None:
    def brief(x: Any) -> None:
        x.set_timeouts(idle=0.1, event_stream=None)

    f = await front(streams, policies=[brief])
    client, endpoint = await connected(f)
    await real_time(0.3)
    endpoint.send(ONE)
    await client.read_until(ONE)

    f = await front(streams, policies=[{"timeout": {"idle": "100ms"}}])
    client, endpoint = await connected(f)
    await client.assert_closed()
    await endpoint.gone(1)


# clients that leave


@BOTH_LOOPS
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("rest", [b"", b"data: half"], ids=["between events", "within a line"])
async def test_a_client_that_leaves_ends_its_stream_within_a_second(front: Fronts, way: str, rest: bytes) -> None:
    """A closed socket sends a FIN, as one that is only half closed; a comment finds out which of them it is."""
    f = await front(streams)
    client, endpoint = await connected(f)
    if rest:
        endpoint.send(chunk(rest))
        await client.read_until(chunk(rest))
    getattr(client, way)()
    if way == "close" and rest:  # nothing can be said within a line; what the endpoint says next finds it out
        await real_time(0.7)
        endpoint.send(chunk(b"\n\n"))
    await endpoint.gone(1)


async def test_a_half_closed_client_stays_and_sees_no_more_than_a_comment(front: Fronts) -> None:
    f = await front(streams)
    client, endpoint = await connected(f)
    client.half_close()
    assert await client.read_some() == chunk(b":\n")
    await real_time(0.2)
    endpoint.send(ONE + b"0\r\n\r\n")
    assert await client.until_closed() == ONE + b"0\r\n\r\n"
    await no_streams(f)


# services that fail


@BOTH_LOOPS
async def test_a_failure_comes_as_an_event_behind_whole_events_only(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        if (await connection.head()).target != b"/events":
            connection.send(ok(b"still here"))
            return
        connection.send(CHUNKED + ONE + chunk(b"data: ha"))
        connection.send(chunk(b"lf\n"))
        await settle()
        connection.reset()

    f = await front(script, policies=[{"sse": {"error_event": True}}])
    client = await f.client()
    reply = await client.ask(request_bytes(b"/events", b"x-request-id: my-id"))
    events = bytes(reply.body).split(b"\n\n")
    assert events[0] == b"id: 1\ndata: one"
    name, data = events[1].split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: ")) == {
        "code": "relay.truncated",
        "request_id": reply.header("x-request-id"),
    }
    assert events[2:] == [b""]
    assert (await client.ask(request_bytes(b"/next"))).body == b"still here"  # the connection is kept


async def test_without_error_events_a_failure_cuts_the_stream(front: Fronts) -> None:
    f = await front(streams)
    client, endpoint = await connected(f)
    endpoint.reset()
    assert await client.until_closed() == b""


async def test_an_old_client_gets_its_stream_to_the_end_of_the_connection(front: Fronts) -> None:
    f = await front(streams, policies=[{"sse": {"error_event": True}}])
    client = await f.client()
    await client.send(b"GET / HTTP/1.0\r\nhost: a.example\r\n\r\n")
    await client.read_until(b"data: one\n\n")
    f.upstream.connections[0].reset()
    assert (await client.until_closed()).startswith(b"event: error\ndata: {")


# limits and ages


async def test_a_stream_too_many_is_refused_until_another_ends(front: Fronts) -> None:
    f = await front(streams, policies=[{"sse": {"max_streams": 1}}])
    client, endpoint = await connected(f)
    other = await f.client()
    refused = await other.ask(request_bytes(b"/events", ACCEPT))
    assert assert_problem(refused, 503) == "response.too_many_streams"
    assert int(refused.header("retry-after") or 0) > 0
    assert len(f.upstream.requests) == 1
    client.reset()
    await endpoint.gone(1)
    await connected(f)


async def test_heartbeats_and_the_end_of_an_old_stream(front: Fronts) -> None:
    f = await front(streams, policies=[{"sse": {"heartbeat": "100ms", "max_age": "600ms"}}])
    client = await f.client()
    reply = await client.ask(request_bytes(b"/events", ACCEPT))
    assert bytes(reply.body).startswith(b"id: 1\ndata: one\n\n:\n\n:\n\n")
    assert reply.trailers == []
    await f.upstream.connections[0].gone(1)


# a gateway that stops


@pytest.mark.parametrize("under_way", [False, True])
async def test_streams_are_ended_cleanly_when_the_gateway_stops(front: Fronts, under_way: bool) -> None:
    f = await front(streams, timeouts={"drain": "2s"})
    open_ones = [await connected(f) for _ in range(10)]
    if under_way:
        for client, endpoint in open_ones:
            endpoint.send(chunk(b"data: t"))
            await client.read_until(chunk(b"data: t"))
    worker: Any = f.gateway._worker
    stopping = asyncio.ensure_future(worker.stop())
    if under_way:
        await real_time(1.2)  # all are to be ended in the first half of the time, and wait for the end of their event
        for client, endpoint in open_ones:
            endpoint.send(chunk(b"wo\n\n") + ONE)
            assert await client.read_until(b"0\r\n\r\n") == chunk(b"wo\n\n") + b"0\r\n\r\n"
    for client, _ in open_ones:
        assert await client.until_closed(3) == (b"" if under_way else b"0\r\n\r\n")
        client.close()
    async with within(1, "the worker stops as soon as its streams have ended"):
        await stopping
