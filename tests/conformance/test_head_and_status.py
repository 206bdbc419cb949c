"""HEAD, 204, 304 and other answers without a body (RFC 9110 8.6, 9.3.2, 15; RFC 9112 6.3)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, ok

HEAD = request_bytes(method=b"HEAD")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", id="9110-9.3.2 length of the GET"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", id="9112-6.1 coding of the GET"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="9112-6.3 no framing"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n", id="an error"),
    ],
)
async def test_head_ends_with_its_head_and_connections_are_kept(front: Fronts, raw: bytes) -> None:
    f = await front(answer(raw, ok(b"next")))
    client = await f.client()
    reply = await client.ask(HEAD)
    assert reply.status == int(raw[9:12])
    assert bytes(reply.body) == b""
    if b"content-length" in raw:
        assert reply.header("content-length") == raw.split(b"content-length: ")[1].split(b"\r\n")[0].decode()
    assert bytes((await client.ask(request_bytes())).body) == b"next"
    assert len(f.upstream.connections) == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_9110_15_answers_that_have_no_body_end_with_their_head(front: Fronts, status: bytes) -> None:
    f = await front(answer(b"HTTP/1.1 " + status + b'\r\netag: "x"\r\n\r\n', ok(b"next")))
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert reply.status == int(status[:3])
    assert reply.header("etag") == '"x"'
    assert reply.header("transfer-encoding") is None
    if status.startswith(b"204"):
        assert reply.header("content-length") is None
    assert bytes((await client.ask(request_bytes())).body) == b"next"
    assert len(f.upstream.connections) == 1


async def test_9110_8_6_a_304_may_tell_the_length_it_does_not_send(front: Fronts) -> None:
    f = await front(answer(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n", ok(b"next")))
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert (reply.status, bytes(reply.body)) == (304, b"")
    assert bytes((await client.ask(request_bytes())).body) == b"next"


@pytest.mark.parametrize(
    "status", [200, 201, 206, 301, 302, 307, 400, 401, 404, 409, 418, 429, 500, 501, 502, 503, 504, 599]
)
async def test_every_final_status_of_a_service_passes_with_its_body(front: Fronts, status: int) -> None:
    f = await front(answer(ok(b"its own body", b"content-type: text/x", b"location: /y", status=b"%d Reason" % status)))
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert (reply.status, bytes(reply.body)) == (status, b"its own body")
    assert reply.header("content-type") == "text/x"
    assert reply.header("location") == "/y"


async def test_the_gateways_own_answer_to_head_has_no_body(front: Fronts) -> None:
    f = await front(route={"path": "/only"})
    client = await f.client()
    await client.send(request_bytes(b"/other", method=b"HEAD") + request_bytes(b"/only"))
    reply = await client.reply("HEAD")
    assert (reply.status, bytes(reply.body)) == (404, b"")
    assert (await client.reply()).status == 200


async def test_a_slow_body_is_relayed_as_it_comes(front: Fronts) -> None:
    seen = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.send(b"7\r\nfirst\n\n\r\n")
        await seen.wait()
        connection.send(b"8\r\nsecond\n\n\r\n0\r\n\r\n")

    f = await front(script)
    client = await f.client()
    await client.send(request_bytes())
    assert b"first\n\n" in await client.read_until(b"first\n\n")
    seen.set()
    assert b"second\n\n" in await client.read_until(b"second\n\n")


async def test_a_head_is_relayed_before_the_body_begins(front: Fronts) -> None:
    seen = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        await seen.wait()
        connection.send(b"body")

    f = await front(script)
    client = await f.client()
    await client.send(request_bytes())
    await client.read_until(b"\r\n\r\n")
    seen.set()
    assert await client.read_until(b"body") == b"body"
