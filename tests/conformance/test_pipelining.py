"""Pipelining and keep-alive (RFC 9112 9.3): N requests, N answers, in order, whatever the bytes' cuts."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem, assert_refused, words
from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import UpstreamConnection, answer, ok


def echo(request: Message) -> bytes:
    return ok(request.target + b" " + bytes(request.body))


@BOTH_LOOPS
@pytest.mark.parametrize("cut", ["whole", "bytewise"])
async def test_c16_9112_9_3_2_n_requests_get_n_answers_in_order(front: Fronts, cut: str) -> None:
    f = await front(answer(echo))
    client = await f.client()
    stream = b"".join(
        request_bytes(
            b"/%d" % number, method=b"POST" if number % 2 else b"GET", body=b"b%d" % number if number % 2 else None
        )
        for number in range(20)
    )
    sending = asyncio.ensure_future(client.send_bytewise(stream) if cut == "bytewise" else client.send(stream))
    for number in range(20):
        reply = await client.reply("POST" if number % 2 else "GET")
        expected = b"/%d b%d" % (number, number) if number % 2 else b"/%d " % number
        assert bytes(reply.body) == expected
    await sending
    assert [request.target for request in f.upstream.requests] == [b"/%d" % number for number in range(20)]


async def test_c16_a_bad_request_is_refused_after_the_earlier_ones_were_answered(front: Fronts) -> None:
    f = await front(answer(echo))
    client = await f.client()
    await client.send(request_bytes(b"/1") + request_bytes(b"/2") + b"BAD\r\n\r\n" + request_bytes(b"/3"))
    assert bytes((await client.reply()).body) == b"/1 "
    assert bytes((await client.reply()).body) == b"/2 "
    await assert_refused(client, 400)
    assert [request.target for request in f.upstream.requests] == [b"/1", b"/2"]


async def test_c16_the_gateways_own_answers_keep_their_place(front: Fronts) -> None:
    f = await front(answer(echo), route={"path": "/known/*"})
    client = await f.client()
    await client.send(request_bytes(b"/known/1") + request_bytes(b"/no") + request_bytes(b"/known/2"))
    assert bytes((await client.reply()).body) == b"/known/1 "
    assert_problem(await client.reply(), 404)
    assert bytes((await client.reply()).body) == b"/known/2 "


async def test_c16_a_slow_first_answer_holds_back_the_second(front: Fronts) -> None:
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        while True:
            request = await connection.request()
            if request.target == b"/slow":
                await release.wait()
            connection.send(echo(request))

    f = await front(script)
    client = await f.client()
    await client.send(request_bytes(b"/slow") + request_bytes(b"/fast"))
    await f.upstream.until(lambda: len(f.upstream.requests) >= 1, "the slow request")
    release.set()
    assert bytes((await client.reply()).body) == b"/slow "
    assert bytes((await client.reply()).body) == b"/fast "


async def test_9112_9_6_nothing_after_connection_close_is_answered(front: Fronts) -> None:
    f = await front(answer(echo))
    client = await f.client()
    await client.send(request_bytes(b"/1", b"connection: close") + request_bytes(b"/2"))
    reply = await client.reply()
    assert bytes(reply.body) == b"/1 "
    assert "close" in words(reply.header("connection"))
    await client.assert_closed()
    assert [request.target for request in f.upstream.requests] == [b"/1"]


async def test_9112_9_3_a_connection_serves_many_requests(front: Fronts) -> None:
    f = await front(answer(echo))
    client = await f.client()
    for number in range(100):
        assert bytes((await client.ask(request_bytes(b"/%d" % number))).body) == b"/%d " % number
    assert len(f.upstream.connections) == 1


async def test_a_flood_of_pipelined_requests_is_bounded_and_loses_nothing(front: Fronts) -> None:
    f = await front(answer(echo), limits={"pipeline_buffer": "4KiB"})
    client = await f.client()
    count = 1000
    sending = asyncio.ensure_future(client.send(b"".join(request_bytes(b"/%d" % number) for number in range(count))))
    for number in range(count):
        assert bytes((await client.reply()).body) == b"/%d " % number
    await sending


async def test_9112_2_2_empty_lines_between_requests_are_forgiven(front: Fronts) -> None:
    f = await front(answer(echo))
    client = await f.client()
    await client.send(request_bytes(b"/1", method=b"POST", body=b"x") + b"\r\n" + request_bytes(b"/2"))
    assert bytes((await client.reply("POST")).body) == b"/1 x"
    assert bytes((await client.reply()).body) == b"/2 "


async def test_9112_2_2_a_flood_of_empty_lines_is_refused(front: Fronts) -> None:
    f = await front(answer(echo))
    client = await f.client()
    await client.send(b"\r\n" * 100_000)
    rest = await client.until_closed()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 4")
    assert f.upstream.received == b""
