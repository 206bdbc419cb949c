"""Responses of services (RFC 9112 4, 6, 7): what is ambiguous becomes a 502, and its connection is never used again."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from tests.support.checks import assert_problem
from tests.support.client import ConnectionEnded, request_bytes
from tests.support.front import Fronts
from tests.support.upstream import Script, UpstreamConnection, answer, ok

END = b"0\r\n\r\n"
HTTP = b"HTTP/1.1 200 OK\r\n"

BAD_HEADS: dict[str, bytes] = {
    "c15 9112-6.1 coding and length": HTTP + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + END,
    "c15 9110-8.6 two different lengths": HTTP + b"content-length: 5\r\ncontent-length: 2\r\n\r\nhello",
    "c15 9110-8.6 list of different lengths": HTTP + b"content-length: 5, 2\r\n\r\nhello",
    "c15 9110-8.6 length +5": HTTP + b"content-length: +5\r\n\r\nhello",
    "c15 9110-8.6 length -1": HTTP + b"content-length: -1\r\n\r\nhello",
    "c15 9110-8.6 length 0x5": HTTP + b"content-length: 0x5\r\n\r\nhello",
    "c15 9110-8.6 length empty": HTTP + b"content-length: \r\n\r\nhello",
    "c15 9110-8.6 length above 2^63": HTTP + b"content-length: 9223372036854775808\r\n\r\nhello",
    "c15 9112-6.1 unknown coding": HTTP + b"transfer-encoding: xchunked\r\n\r\n" + END,
    "c15 9112-6.1 chunked twice": HTTP + b"transfer-encoding: chunked, chunked\r\n\r\n" + END,
    "c15 9112-6.3 two coding lines": HTTP + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + END,
    "c15 9112-6.1 gzip, chunked": HTTP + b"transfer-encoding: gzip, chunked\r\n\r\n" + END,
    "c15 9112-6.1 coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + END,
    "c15 9112-4 not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "c15 9112-4 status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
    "c15 9112-4 status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    "c15 9112-4 status is no number": b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
    "c15 9110-15 status 099": b"HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n",
    "c15 9110-15 status 600": b"HTTP/1.1 600 High\r\ncontent-length: 0\r\n\r\n",
    "c15 9112-4 no status": b"HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    "c15 9112-4 HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "c15 9112-4 http/1.1": b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "c15 9112-2.2 leading space": b" HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "c15 9112-2.2 bare CR in a field": HTTP + b"x: a\rb\r\ncontent-length: 0\r\n\r\n",
    "c15 9110-5.5 NUL in a field": HTTP + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "c15 9110-5.1 no colon": HTTP + b"nonsense\r\ncontent-length: 0\r\n\r\n",
    "c15 9110-5.1 empty name": HTTP + b": x\r\ncontent-length: 0\r\n\r\n",
    "c15 9110-5.4 one field of 1 MB": HTTP + b"x: " + b"y" * 1_000_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "c15 9110-5.4 5000 fields": HTTP + b"x: y\r\n" * 5000 + b"content-length: 0\r\n\r\n",
    "c15 9110-15.2 a flood of 1xx": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000 + ok(),
    "c15 9110-15.2.2 101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n" + ok(),
    "c15 closed at once": b"",
    "c15 closed inside the status line": b"HTTP/1.1 20",
    "c15 closed inside the head": HTTP + b"content-le",
}


def once(raw: bytes, *, then_close: bool = True) -> Script:
    """A script: the first connection gets `raw` and an end, every further one sane answers."""

    async def script(connection: UpstreamConnection) -> None:
        if connection is not connection.upstream.connections[0]:
            await answer(ok(b"sane"))(connection)
        await connection.request()
        connection.send(raw)
        if then_close:
            connection.close()

    return script


@pytest.mark.parametrize("raw", BAD_HEADS.values(), ids=BAD_HEADS.keys())
async def test_a_bad_head_becomes_502_and_the_connection_is_not_used_again(front: Fronts, raw: bytes) -> None:
    f = await front(once(raw, then_close=raw[-4:] != b"\r\n\r\n"))
    client = await f.client()
    await client.send(request_bytes(b"/first", method=b"POST", body=b"x"))
    assert_problem(await client.reply("POST"), 502)
    await f.upstream.connections[0].gone()
    again = await f.client()
    assert bytes((await again.ask(request_bytes(b"/second"))).body) == b"sane"
    assert len(f.upstream.connections) == 2


BAD_BODIES: dict[str, bytes] = {
    "c15 9112-8 length 10, 5 sent": HTTP + b"content-length: 10\r\n\r\nhello",
    "c15 9112-8 chunked, cut inside a chunk": HTTP + b"transfer-encoding: chunked\r\n\r\n9\r\nhello",
    "c15 9112-8 chunked, no last chunk": HTTP + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "c15 9112-7.1 chunk size 0x5": HTTP + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0x5\r\nhello\r\n" + END,
    "c15 9112-7.1 no CRLF after the data": HTTP + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n" + END,
    "c15 9112-2.2 bare LF": HTTP + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\n" + END,
    "c15 9112-7.1 17 digits": HTTP + b"transfer-encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n" + END,
}


@pytest.mark.parametrize("raw", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_body_never_looks_whole_to_the_client(front: Fronts, raw: bytes) -> None:
    f = await front(once(raw))
    client = await f.client()
    try:
        reply = await client.ask(request_bytes(method=b"POST", body=b"x"))
    except ConnectionEnded:
        return
    assert_problem(reply, 502)


@pytest.mark.parametrize("raw", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_body_ends_the_upstream_connection(front: Fronts, raw: bytes) -> None:
    f = await front(once(raw, then_close=not raw.endswith(END)))
    client = await f.client()
    await client.send(request_bytes())
    await client.read_some()
    await f.upstream.connections[0].gone()
    again = await f.client()
    assert bytes((await again.ask(request_bytes(b"/second"))).body) == b"sane"


@pytest.mark.parametrize(
    ("method", "raw", "status"),
    [
        pytest.param("GET", b"HTTP/1.1 204 No Content\r\n\r\nhello", 204, id="c15 9110-15.3.5 bytes after a 204"),
        pytest.param(
            "GET",
            b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
            204,
            id="c15 9110-8.6 204 with a length",
        ),
        pytest.param(
            "GET",
            b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            204,
            id="c15 9112-6.1 204 with a coding",
        ),
        pytest.param("GET", b"HTTP/1.1 304 Not Modified\r\n\r\nhello", 304, id="c15 9110-15.4.5 bytes after a 304"),
        pytest.param("HEAD", ok(b"hello"), 200, id="c15 9110-9.3.2 body after a HEAD"),
        pytest.param("GET", ok(b"one") + ok(b"two"), 200, id="c15 9112-9.2 two final responses"),
        pytest.param("GET", ok(b"one") + b"garbage", 200, id="c15 9112-9.2 surplus bytes"),
    ],
)
async def test_surplus_bytes_never_reach_a_client_and_end_the_connection(
    front: Fronts, method: str, raw: bytes, status: int
) -> None:
    f = await front(once(raw, then_close=False))
    client = await f.client()
    reply = await client.ask(request_bytes(method=method.encode()))
    assert reply.status in (status, 502)
    if reply.status != 502:
        assert bytes(reply.body) == (b"one" if b"one" in raw else b"")
    await f.upstream.connections[0].gone()
    again = await f.client()
    assert bytes((await again.ask(request_bytes(b"/second"))).body) == b"sane"


async def test_bytes_that_come_after_the_answer_end_the_idle_connection(front: Fronts) -> None:
    f = await front(once(ok(b"one"), then_close=False))
    client = await f.client()
    assert bytes((await client.ask(request_bytes())).body) == b"one"
    f.upstream.connections[0].send(ok(b"nobody asked"))
    await f.upstream.connections[0].gone()
    assert bytes((await client.ask(request_bytes(b"/second"))).body) == b"sane"


GOOD: dict[str, tuple[bytes, bytes]] = {
    "length": (ok(b"hello"), b"hello"),
    "chunked": (HTTP + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
    "chunked in capitals": (HTTP + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "9112-6.3 until close": (HTTP + b"\r\nhello", b"hello"),
    "9112-4 no reason phrase": (b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "HTTP/1.0 until close": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    "HTTP/1.0 with a length": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "obs-text in the reason": (b"HTTP/1.1 200 \xe9t\xe9\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "9112-5.1 space before a colon is taken away": (HTTP + b"content-length : 5\r\n\r\nhello", b"hello"),
    "trailers": (HTTP + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", b"hello"),
    "empty": (ok(b""), b""),
    "empty until close": (HTTP + b"connection: close\r\n\r\n", b""),
}


@pytest.mark.parametrize(("raw", "body"), GOOD.values(), ids=GOOD.keys())
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
async def test_good_responses_pass_in_every_framing(front: Fronts, raw: bytes, body: bytes, bytewise: bool) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        for start in range(0, len(raw), 1 if bytewise else len(raw)):
            connection.send(raw[start : start + (1 if bytewise else len(raw))])
            await asyncio.sleep(0)
        connection.close()

    f = await front(script)
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert (reply.status, bytes(reply.body)) == (200, body)
    assert (await client.ask(request_bytes(b"/second"))).status == 200
    assert len(f.upstream.connections) == 2, "the upstream closed, so its connection cannot have been used again"


async def test_a_2_mb_body_arrives_unchanged_in_both_directions(front: Fronts) -> None:
    payload = bytes(range(256)) * 8192
    f = await front(answer(lambda request: ok(bytes(request.body))))
    client = await f.client()
    sending = asyncio.ensure_future(client.send(request_bytes(b"/big", method=b"POST", body=payload)))
    reply = await client.reply("POST", seconds=10)
    await sending
    assert bytes(reply.body) == payload


async def test_content_encoding_and_body_bytes_are_left_alone(front: Fronts) -> None:
    packed = gzip.compress(b"hello" * 100)
    f = await front(answer(ok(packed, b"content-encoding: gzip", b'etag: "x"')))
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"accept-encoding: gzip, br"))
    assert bytes(reply.body) == packed
    assert reply.header("content-encoding") == "gzip"
    assert f.upstream.requests[0].header("accept-encoding") == "gzip, br"
