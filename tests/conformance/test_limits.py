"""Limits (RFC 9110 15.5.14, 15.5.15, RFC 6585 5): 413, 414, 431, checked before anything is held in memory."""

from __future__ import annotations

import pytest

from propylon import Exchange
from tests.support.checks import assert_no_whole_request, assert_nothing_upstream, assert_refused
from tests.support.client import request_bytes
from tests.support.front import Fronts

START = b"GET / HTTP/1.1\r\nhost: a.example\r\n"


def fields(count: int, size: int = 1) -> bytes:
    return b"".join(b"x-%d: %s\r\n" % (number, b"y" * size) for number in range(count))


TOO_MUCH: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "c24 9112-3 request line of 9 KiB": (b"GET /" + b"a" * 9 * 1024 + b" HTTP/1.1\r\nhost: a\r\n\r\n", (414,)),
    "c24 9112-3 request line of 9 KiB, in the query": (
        b"GET /?" + b"a" * 9 * 1024 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        (414,),
    ),
    "c24 9112-3 request line without an end": (b"GET /" + b"a" * 100_000, (414,)),
    "c24 9112-3 a method without an end": (b"A" * 100_000, (501,)),
    "c24 9112-3 a method of 9 KiB": (b"A" * 9 * 1024 + b" / HTTP/1.1\r\nhost: a\r\n\r\n", (501,)),
    "c24 6585-5 one field of 33 KiB": (START + b"x: " + b"y" * 33 * 1024 + b"\r\n\r\n", (431,)),
    "c24 6585-5 40 fields of 1 KiB": (START + fields(40, 1024) + b"\r\n", (431,)),
    "c24 6585-5 a field without an end": (START + b"x: " + b"y" * 100_000, (431,)),
    "c24 6585-5 a name without an end": (START + b"x" * 100_000, (400, 431)),
    "c24 6585-5 101 fields": (START + fields(100) + b"\r\n", (431,)),
    "c24 6585-5 fields without an end": (START + fields(20_000), (431,)),
}


@pytest.mark.parametrize(("raw", "statuses"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
async def test_c24_too_much_before_the_body_is_refused(front: Fronts, raw: bytes, statuses: tuple[int, ...]) -> None:
    f = await front()
    client = await f.client()
    await client.send(raw)
    await assert_refused(client, *statuses)
    await assert_nothing_upstream(f.upstream)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            b"GET /" + b"a" * (8 * 1024 - 100) + b" HTTP/1.1\r\nhost: a\r\n\r\n", id="c24 a long request line"
        ),
        pytest.param(START + b"x: " + b"y" * 31 * 1024 + b"\r\n\r\n", id="c24 one field of 31 KiB"),
        pytest.param(START + fields(99) + b"\r\n", id="c24 100 fields"),
    ],
)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
async def test_c24_what_is_just_below_the_limits_passes(front: Fronts, raw: bytes, cut: bool) -> None:
    f = await front()
    client = await f.client()
    await client.send(raw, cuts=range(1, len(raw), 97) if cut else ())
    assert (await client.reply()).status == 200
    assert len(f.upstream.requests) == 1


async def test_c24_the_phrase_of_414_is_that_of_rfc_9110(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(b"GET /" + b"a" * 9 * 1024 + b" HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (await client.read_until(b"\r\n")) == b"HTTP/1.1 414 URI Too Long\r\n"


async def test_c24_limits_are_configurable(front: Fronts) -> None:
    f = await front(limits={"request_line": 100, "header_block": 200, "header_count": 5})
    for raw, status in (
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
        (START + b"x: " + b"y" * 200 + b"\r\n\r\n", 431),
        (START + fields(5) + b"\r\n", 431),
    ):
        client = await f.client()
        await client.send(raw)
        await assert_refused(client, status)
    client = await f.client()
    assert (await client.ask(START + fields(4) + b"\r\n")).status == 200


def at_most(size: int) -> object:
    def limit(x: Exchange) -> None:
        x.limit_body(size)

    return limit


async def test_9110_15_5_14_a_declared_length_above_the_limit_is_refused_before_the_body(front: Fronts) -> None:
    f = await front(policies=[at_most(10)])
    client = await f.client()
    await client.send(b"POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 11\r\n\r\n")
    await assert_refused(client, 413, method="POST")
    await assert_nothing_upstream(f.upstream)


async def test_9110_15_5_14_a_client_that_expects_100_gets_413_instead(front: Fronts) -> None:
    f = await front(policies=[at_most(10)])
    client = await f.client()
    await client.send(b"POST / HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 11\r\n\r\n")
    reply = await client.reply("POST")
    assert (reply.status, reply.informational) == (413, [])


@pytest.mark.parametrize("pieces", [1, 4], ids=["in one chunk", "in four chunks"])
async def test_9110_15_5_14_a_chunked_body_above_the_limit_is_refused_and_aborted(front: Fronts, pieces: int) -> None:
    f = await front(policies=[at_most(10)])
    client = await f.client()
    await client.send(b"POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n")
    piece = b"%x\r\n%s\r\n" % (20 // pieces, b"y" * (20 // pieces))
    await client.send(piece * pieces + b"0\r\n\r\n", cuts=range(0, 200, len(piece)))
    await assert_refused(client, 413, method="POST")
    await assert_no_whole_request(f.upstream)


@pytest.mark.parametrize("line", [b"content-length: 10", b"transfer-encoding: chunked"], ids=["length", "chunked"])
async def test_a_body_of_exactly_the_limit_passes(front: Fronts, line: bytes) -> None:
    f = await front(policies=[at_most(10)])
    client = await f.client()
    body = b"y" * 10 if b"length" in line else b"a\r\n" + b"y" * 10 + b"\r\n0\r\n\r\n"
    await client.send(b"POST / HTTP/1.1\r\nhost: a.example\r\n" + line + b"\r\n\r\n" + body)
    assert (await client.reply("POST")).status == 200
    assert bytes(f.upstream.requests[0].body) == b"y" * 10


async def test_connections_above_the_limit_are_turned_away(front: Fronts) -> None:
    f = await front(limits={"connections": 2})
    first, second = await f.client(), await f.client()
    assert (await first.ask(request_bytes())).status == 200
    assert (await second.ask(request_bytes())).status == 200
    third = await f.client()
    await third.send(request_bytes())
    rest = await third.until_closed()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 503 ")
    assert len(f.upstream.requests) == 2
    first.close()
    second.close()
    await f.upstream.until(lambda: True, "a turn")
