"""Clients that half-close, stop reading, or go away (RFC 9112 8, 9.6)."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import BOTH_LOOPS
from tests.support.client import request_bytes
from tests.support.deadline import settle, within
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, ok


async def silent(connection: UpstreamConnection) -> None:
    """Take requests and never answer; on further connections answer at once."""
    if connection is not connection.upstream.connections[0]:
        await answer(ok(b"sane"))(connection)
    await connection.request()


async def endless(connection: UpstreamConnection) -> None:
    """Begin an answer that has no end."""
    await connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")


@BOTH_LOOPS
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_gone_before_the_answer_closes_the_upstream_within_a_second(front: Fronts, way: str) -> None:
    f = await front(silent)
    client = await f.client()
    await client.send(request_bytes(b"/x", method=b"POST", body=b"whole"))
    await f.upstream.until(lambda: bool(f.upstream.requests), "the request")
    if way == "reset":
        client.reset()
    else:
        # A closed socket looks like a half-closed one until something is written to it: then it answers RST.
        client.close()
        f.upstream.connections[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome")
    await f.upstream.connections[0].gone(1)
    again = await f.client()
    assert bytes((await again.ask(request_bytes())).body) == b"sane"


@BOTH_LOOPS
async def test_a_client_gone_in_the_middle_of_an_answer_closes_the_upstream_within_a_second(front: Fronts) -> None:
    f = await front(endless)
    client = await f.client()
    await client.send(request_bytes())
    await client.read_until(b"hello")
    client.reset()
    await f.upstream.connections[0].gone(1)


async def test_a_client_gone_in_the_middle_of_its_body_closes_the_upstream_within_a_second(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(b"POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1000\r\n\r\nhello")
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    client.reset()
    await f.upstream.connections[0].gone(1)
    assert not f.upstream.requests[0].complete


@BOTH_LOOPS
async def test_9112_9_6_a_half_closed_client_still_gets_its_answer(front: Fronts) -> None:
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        await release.wait()
        connection.send(ok(b"late"))

    f = await front(script)
    client = await f.client()
    await client.send(request_bytes())
    client.half_close()
    await f.upstream.until(lambda: bool(f.upstream.requests), "the request")
    await settle()
    release.set()
    assert bytes((await client.reply()).body) == b"late"
    await client.assert_closed()


async def test_pipelined_requests_of_a_half_closed_client_are_all_answered(front: Fronts) -> None:
    f = await front(answer(lambda request: ok(request.target)))
    client = await f.client()
    await client.send(request_bytes(b"/1") + request_bytes(b"/2") + request_bytes(b"/3"))
    client.half_close()
    for target in (b"/1", b"/2", b"/3"):
        assert bytes((await client.reply()).body) == target
    await client.assert_closed()


@pytest.mark.parametrize("rest", [b"G", b"GET / HTTP/1.1\r\nhost: a", b"\r\n"])
async def test_a_client_that_ends_inside_a_pipelined_head_is_let_go_after_the_answers(
    front: Fronts, rest: bytes
) -> None:
    f = await front()
    client = await f.client()
    await client.send(request_bytes(b"/1") + rest)
    client.half_close()
    assert (await client.reply()).status == 200
    end = await client.until_closed()
    assert end == b"" or end.startswith(b"HTTP/1.1 400 ")
    assert len(f.upstream.requests) == 1


async def test_a_client_that_ends_inside_a_pipelined_body_aborts_the_upstream(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(request_bytes(b"/1") + b"PUT /cut HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhe")
    client.half_close()
    assert (await client.reply()).status == 200
    end = await client.until_closed()
    assert end == b"" or end.startswith(b"HTTP/1.1 400 ")
    assert [request.target for request in f.upstream.requests if request.complete] == [b"/1"]
    await f.upstream.until(
        lambda: all(c.eof for c in f.upstream.connections if any(not r.complete for r in c.oracle.requests)),
        "the cut request's connection is closed",
    )


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET", b"GET / HTTP/1.1\r\nhost: a"])
async def test_a_client_that_ends_before_a_whole_head_is_let_go(front: Fronts, sent: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(sent)
    client.half_close()
    rest = await client.until_closed()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")
    assert f.upstream.received == b""


async def test_a_client_that_does_not_read_stops_the_upstream(front: Fronts) -> None:
    written = 0
    full = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        nonlocal written
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE)
        while written < SIZE:
            connection.send(b"x" * PIECE)
            written += PIECE
            await connection.drained(on_full=full.set)

    f = await front(script)
    client = await f.client()
    await client.send(request_bytes())
    async with within(5, "the upstream to be held back"):
        await full.wait()
    assert written < SIZE, "the gateway took the whole body though its client reads nothing"
    reply = await client.reply(seconds=10)
    assert len(reply.body) == SIZE


SIZE = 64 * 1024 * 1024
PIECE = 256 * 1024


async def test_an_upstream_that_does_not_read_stops_the_client(front: Fronts) -> None:
    resume = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        request = await connection.head()
        connection.pause_reading()
        await resume.wait()
        connection.resume_reading()
        await connection.body_of(request)
        connection.send(ok(b"%d" % len(request.body)))

    f = await front(script)
    client = await f.client()
    head = b"POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: %d\r\n\r\n" % SIZE
    sending = asyncio.ensure_future(client.send_all(head + b"x" * SIZE))
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    done, _ = await asyncio.wait({sending}, timeout=0.3)
    assert not done, "the gateway took 64 MB that its upstream does not read"
    resume.set()
    assert bytes((await client.reply("POST", seconds=12)).body) == b"%d" % SIZE
    await sending
