"""Content codings for policies: which body is decoded, what is asked for, and what fails how."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from propylon.engine.body import Body
from propylon.engine.content import REQUEST, RESPONSE, TURN_BYTES, Reading, limit_accepted, prepare_bodies
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.http.headers import Headers
from tests.support.fakes import exchange, snapshot

GZIP = Headers({"content-encoding": "gzip"})
DATA = bytes(range(256)) * 40


async def test_a_body_without_coding_and_an_empty_one_are_what_they_are() -> None:
    assert await REQUEST.decode(Headers({}), b"abc", 1) == b"abc"
    assert await RESPONSE.decode(GZIP, b"", 0) == b""


async def test_a_body_is_decoded_up_to_its_limit() -> None:
    packed = gzip.compress(DATA)
    assert await REQUEST.decode(GZIP, packed, len(DATA)) == DATA
    with pytest.raises(GatewayError) as caught:
        await REQUEST.decode(GZIP, packed, len(DATA) - 1)
    assert (caught.value.code, caught.value.status) == ("request.body_too_large", 413)


async def test_a_large_body_leaves_turns_to_others() -> None:
    data = DATA * (3 * TURN_BYTES // len(DATA))
    assert await RESPONSE.decode(GZIP, gzip.compress(data, 1), len(data)) == data


@pytest.mark.parametrize(
    ("reading", "coding", "data", "code", "status"),
    [
        (REQUEST, "gzip", b"no gzip", "request.undecodable", 400),
        (REQUEST, "gzip", gzip.compress(DATA)[:-9], "request.undecodable", 400),
        (REQUEST, "nonsense", b"x", "request.unsupported_coding", 415),
        (RESPONSE, "gzip", b"no gzip", "response.undecodable", 502),
        (RESPONSE, "nonsense", b"x", "response.undecodable", 502),
    ],
)
async def test_what_cannot_be_decoded_is_the_failure_of_its_sender(
    reading: Reading, coding: str, data: bytes, code: str, status: int
) -> None:
    with pytest.raises(GatewayError) as caught:
        await reading.decode(Headers({"content-encoding": coding}), data, 1 << 20)
    assert (caught.value.code, caught.value.status) == (code, status)


@pytest.mark.parametrize(
    ("offered", "asked"),
    [(None, None), ("gzip", "gzip"), ("gzip, compress", "gzip"), ("compress", "identity"), ("identity", "identity")],
)
def test_only_what_can_be_decoded_is_asked_for(offered: str | None, asked: str | None) -> None:
    headers = Headers({} if offered is None else {"accept-encoding": offered})
    limit_accepted(headers)
    assert headers.get("accept-encoding") == asked


class Chunks:
    def on_request_chunk(self, x: Exchange, data: bytes) -> bytes:
        return data

    def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
        return data


@pytest.mark.parametrize("make", [bytes, Body.of], ids=["whole", "stream"])
async def test_chunk_hooks_get_requests_decoded_and_whole_responses(make: Callable[[bytes], bytes | Body]) -> None:
    fields = b"host: a\r\naccept-encoding: gzip\r\nrange: bytes=0-1\r\ncontent-encoding: gzip\r\ndigest: x\r\n"
    made = snapshot(Chunks())
    x = exchange(made, fields=fields)
    x.route = made.match(x)
    x.body = make(gzip.compress(b"hello"))
    prepare_bodies(x)
    assert x.request.headers.get("accept-encoding") == "identity"
    assert not {"range", "content-encoding", "digest"} & {name.decode() for name, _ in x.request.headers.raw}
    assert isinstance(x.body, Body)
    assert await x.body.read_all(9, "request.body_too_large") == b"hello"
    x.settle()
