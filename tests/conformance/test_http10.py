"""HTTP/1.0 clients (RFC 9112 9.3, appendix C.2): no chunks, no keep-alive unless asked for."""

from __future__ import annotations

import asyncio

from tests.support.checks import words
from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, chunked, ok


async def test_9112_9_3_the_connection_closes_after_the_answer(front: Fronts) -> None:
    f = await front(answer(ok(b"hello")))
    client = await f.client()
    await client.send(b"GET /x HTTP/1.0\r\nhost: a.example\r\n\r\n")
    data = await client.until_closed()
    assert data.startswith(b"HTTP/1.1 200 ")
    assert data.endswith(b"\r\n\r\nhello")
    assert len(f.upstream.requests) == 1


async def test_9112_3_2_an_http_1_0_request_may_lack_a_host(front: Fronts) -> None:
    f = await front(answer(ok(b"hello")))
    client = await f.client()
    await client.send(b"GET /x HTTP/1.0\r\n\r\n")
    assert (await client.reply()).status == 200
    assert f.upstream.requests[0].header("host") == f.upstream.authority


async def test_9112_c_2_2_keep_alive_is_granted_when_asked_for(front: Fronts) -> None:
    f = await front(answer(ok(b"one"), ok(b"two")))
    client = await f.client()
    request = b"GET /x HTTP/1.0\r\nhost: a.example\r\nconnection: keep-alive\r\n\r\n"
    first = await client.ask(request)
    assert bytes(first.body) == b"one"
    if "keep-alive" in words(first.header("connection")):
        assert bytes((await client.ask(request)).body) == b"two"
    else:
        await client.assert_closed()


async def test_9112_7_1_a_chunked_body_reaches_it_without_chunks(front: Fronts) -> None:
    f = await front(answer(chunked(b"he", b"llo")))
    client = await f.client()
    reply = await client.ask(b"GET /x HTTP/1.0\r\nhost: a.example\r\nconnection: keep-alive\r\n\r\n")
    assert bytes(reply.body) == b"hello"
    assert reply.header("transfer-encoding") is None
    if reply.header("content-length") is None:
        await client.assert_closed()


async def test_9112_7_1_a_stream_of_unknown_length_reaches_it_until_the_connection_closes(front: Fronts) -> None:
    seen = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n")
        await seen.wait()
        connection.send(b"3\r\nllo\r\n0\r\n\r\n")

    f = await front(script)
    client = await f.client()
    await client.send(b"GET /x HTTP/1.0\r\nhost: a.example\r\nconnection: keep-alive\r\n\r\n")
    head = await client.read_until(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"keep-alive" not in head.lower()
    seen.set()
    assert await client.until_closed() == b"hello"


async def test_the_upstream_is_spoken_to_in_http_1_1_and_kept(front: Fronts) -> None:
    f = await front(answer(ok(b"one"), ok(b"two")))
    first = await f.client()
    await first.send(b"GET /x HTTP/1.0\r\nhost: a.example\r\n\r\n")
    await first.until_closed()
    second = await f.client()
    assert bytes((await second.ask(request_bytes())).body) == b"two"
    assert len(f.upstream.connections) == 1
    assert [request.version for request in f.upstream.requests] == [b"1.1", b"1.1"]


async def test_9112_6_3_a_post_with_a_length_is_forwarded(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(b"POST /x HTTP/1.0\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhello")
    assert (await client.reply("POST")).status == 200
    assert bytes(f.upstream.requests[0].body) == b"hello"
