"""Policies and bodies with content codings: what is read is decoded, what is changed is described anew."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import pytest

from propylon import Exchange, Gateway, GatewayError, Response, Subrequest
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import RawClient, Reply, request_bytes
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import answer, ok

PERSON = {"name": "Ada", "id": 1}
PLAIN = json.dumps(PERSON).encode()
DESCRIBED = (
    b"content-type: application/json", b'etag: "1"', b"last-modified: Mon, 30 Nov 2026 09:00:00 GMT",
    b"accept-ranges: bytes", b"content-md5: x", b"digest: sha-256=x", b"content-digest: sha-256=:x:",
    b"repr-digest: sha-256=:x:", b"vary: accept-encoding",
)  # fmt: skip
DROPPED = (
    "content-encoding", "etag", "last-modified", "accept-ranges", "content-md5", "digest", "content-digest",
    "repr-digest", "content-range",
)  # fmt: skip
ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
}


class Aggregate:
    """The example of the documentation."""

    async def on_response(self, exchange: Exchange) -> None:
        response = exchange.response
        if response is None or response.status != 200 or response.headers.get("content-type") != "application/json":
            return
        if content := await response.body(limit=100_000):
            response.replace_body(json.dumps({"data": json.loads(content), "seen_by": "gateway"}))


class Reads:
    """Reads what comes, and keeps it."""

    def __init__(self, **keys: Any) -> None:
        self.keys = keys
        self.seen: list[bytes] = []
        self.failed: list[str] = []

    async def on_response(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        try:
            self.seen.append(await exchange.response.body(**self.keys))
        except GatewayError as error:
            self.failed.append(error.code)


class Upper:
    """Changes pieces of both directions."""

    def on_request_chunk(self, exchange: Exchange, data: bytes) -> bytes:
        return data.upper()

    def on_response_chunk(self, exchange: Exchange, data: bytes) -> bytes:
        return data if exchange.error is not None else data.upper() + (b"" if data else b"!")


class Ask:
    """Answers with a function."""

    def __init__(self, respond: Callable[[Exchange], Any]) -> None:
        self.respond = respond

    async def on_request(self, exchange: Exchange) -> Response | None:
        found: Response | None = await self.respond(exchange)
        return found


def encoded(name: str, *lines: bytes, body: bytes = PLAIN, status: bytes = b"200 OK") -> bytes:
    data = ENCODE[name](body) if name in ENCODE else body
    return ok(data, b"content-encoding: " + name.encode(), *DESCRIBED, *lines, status=status)


def negotiated(request: Message) -> bytes:
    """A service that compresses for those who accept it."""
    for name in ("br", "gzip"):
        if name in b",".join(request.all("accept-encoding")).decode():
            return encoded(name)
    return ok(PLAIN, *DESCRIBED)


def names(reply: Reply) -> set[str]:
    return {name.decode("latin-1").lower() for name, _ in reply.headers}


@BOTH_LOOPS
@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br, zstd", "identity", ""])
async def test_the_example_works_for_every_client(front: Fronts, accepted: str) -> None:
    f = await front(answer(negotiated), policies=[Aggregate()])
    client = await f.client()
    lines = [b"accept-encoding: " + accepted.encode()] if accepted else []
    reply = await client.ask(request_bytes(b"/x", *lines))
    assert reply.json() == {"data": PERSON, "seen_by": "gateway"}
    assert not names(reply) & set(DROPPED)
    assert reply.header("vary") == "accept-encoding"
    assert reply.header("content-type") == "application/json"
    reply = await client.ask(request_bytes(b"/x", *lines, method=b"HEAD"), "HEAD")
    assert reply.status == 200


async def test_a_304_and_a_204_have_no_body_to_read(front: Fronts) -> None:
    reads = Reads()
    statuses = [b"HTTP/1.1 304 Not Modified\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n"]
    statuses += [b"HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n"]
    f = await front(answer(*statuses), policies=[Aggregate(), reads])
    client = await f.client()
    assert (await client.ask(request_bytes(b"/x", b'if-none-match: "1"'))).status == 304
    assert (await client.ask(request_bytes(b"/x"))).status == 204
    assert reads.seen == [b"", b""]


@pytest.mark.parametrize("name", sorted(ENCODE))
async def test_a_body_that_is_only_read_is_passed_on_as_it_came(front: Fronts, name: str) -> None:
    reads, raw = Reads(), Reads(decode=False)
    f = await front(answer(encoded(name)), policies=[reads, raw])
    reply = await (await f.client()).ask(request_bytes(b"/x"))
    assert reads.seen == [PLAIN]
    assert bytes(reply.body) == raw.seen[0] == ENCODE[name](PLAIN)
    assert reply.header("content-encoding") == name
    assert reply.header("etag") == '"1"'


async def test_stacked_codings_are_undone_in_order(front: Fronts) -> None:
    reads = Reads()
    f = await front(
        answer(ok(brotli.compress(gzip.compress(PLAIN)), b"content-encoding: gzip", b"content-encoding: br")),
        policies=[reads],
    )
    assert (await (await f.client()).ask(request_bytes(b"/x"))).status == 200
    assert reads.seen == [PLAIN]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (encoded("compress"), "response.undecodable"),
        (ok(b"no gzip", b"content-encoding: gzip"), "response.undecodable"),
        (ok(gzip.compress(PLAIN)[:-2], b"content-encoding: gzip"), "response.undecodable"),
        (encoded("gzip", body=bytes(2_000_000)), "response.body_too_large"),
    ],
)
async def test_what_cannot_be_decoded_is_told_and_may_be_passed_on(front: Fronts, raw: bytes, code: str) -> None:
    reads = Reads()
    f = await front(answer(raw), policies=[reads])
    reply = await (await f.client()).ask(request_bytes(b"/x"))
    assert reads.failed == [code]
    assert reply.status == 200, "it was caught"
    assert bytes(reply.body) == raw.partition(b"\r\n\r\n")[2]

    f = await front(answer(raw), policies=[Aggregate() if code.endswith("able") else Reads()])
    assert (await (await f.client()).ask(request_bytes(b"/x"))).status in (200, 502)


async def test_a_body_larger_than_the_limit_can_still_be_passed_on_whole(front: Fronts) -> None:
    reads = Reads(limit=1000)
    body = bytes(range(256)) * 4000
    f = await front(answer(ok(body)), policies=[reads])
    reply = await (await f.client()).ask(request_bytes(b"/x"))
    assert reads.failed == ["response.body_too_large"]
    assert bytes(reply.body) == body


async def test_an_unknown_coding_that_nobody_catches_is_a_502(front: Fronts) -> None:
    f = await front(answer(encoded("compress")), policies=[Aggregate()])
    assert_problem(await (await f.client()).ask(request_bytes(b"/x")), 502, "response.undecodable")


async def test_the_service_is_asked_only_for_what_can_be_read(front: Fronts) -> None:
    f = await front(answer(negotiated), policies=[Aggregate()])
    client = await f.client()
    await client.ask(request_bytes(b"/x", b"accept-encoding: dcb, gzip;q=0.5", b"accept-encoding: *"))
    assert f.upstream.requests[0].all("accept-encoding") == [b"gzip;q=0.5"]
    f = await front(answer(negotiated), policies=[{"headers": {"response": {"set": {"x-a": "b"}}}}])
    await (await f.client()).ask(request_bytes(b"/x", b"accept-encoding: dcb, gzip"))
    assert f.upstream.requests[0].all("accept-encoding") == [b"dcb, gzip"], "nothing reads the body here"


async def test_a_part_is_asked_for_without_coding_as_it_could_not_be_decoded(front: Fronts) -> None:
    f = await front(answer(ok(b"part")), policies=[Reads()])
    await (await f.client()).ask(request_bytes(b"/x", b"accept-encoding: gzip", b"range: bytes=0-9"))
    request = f.upstream.requests[0]
    assert (request.all("accept-encoding"), request.header("range")) == ([b"identity"], "bytes=0-9")


async def test_a_replaced_part_is_a_whole_and_a_type_may_be_given(front: Fronts) -> None:
    async def replace(x: Exchange) -> None:
        assert x.response is not None
        x.response.replace_body("käse", content_type=None if x.request.path == "/keep" else "text/csv")

    class Replace:
        on_response = staticmethod(replace)

    part = ok(b"art", b"content-range: bytes 1-3/4", b"content-type: text/html; charset=latin1; x=1",
              status=b"206 Partial Content")  # fmt: skip
    f = await front(answer(part), policies=[Replace()])
    client = await f.client()
    reply = await client.ask(request_bytes(b"/x", b"range: bytes=1-3"))
    assert (reply.status, reply.header("content-type"), bytes(reply.body)) == (200, "text/csv", "käse".encode())
    assert not names(reply) & set(DROPPED)
    reply = await client.ask(request_bytes(b"/keep"))
    assert reply.header("content-type") == "text/html; charset=utf-8; x=1"


# pieces


@BOTH_LOOPS
async def test_hooks_for_pieces_get_them_decoded(front: Fronts) -> None:
    f = await front(answer(encoded("gzip", body=b"hello" * 50_000)), policies=[Upper()])
    client = await f.client()
    reply = await client.ask(request_bytes(b"/x", b"accept-encoding: gzip, br", b"range: bytes=0-9", b"if-range: x"))
    assert bytes(reply.body) == b"HELLO" * 50_000 + b"!"
    assert not names(reply) & set(DROPPED)
    request = f.upstream.requests[0]
    assert request.all("accept-encoding") == [b"identity"]
    assert request.all("range") == request.all("if-range") == []
    reply = await client.ask(request_bytes(b"/x", method=b"HEAD"), "HEAD")
    assert not names(reply) & {*DROPPED, "content-length"}


async def test_pieces_that_cannot_be_decoded_cut_the_response(front: Fronts) -> None:
    f = await front(answer(encoded("compress")), policies=[Upper()])
    assert_problem(await (await f.client()).ask(request_bytes(b"/x")), 502, "response.undecodable")
    f = await front(answer(ok(gzip.compress(b"x" * 1000)[:-4], b"content-encoding: gzip")), policies=[Upper()])
    client = await f.client()
    await client.send(request_bytes(b"/x"))
    assert not (await client.until_closed()).endswith(b"0\r\n\r\n")


async def test_a_bomb_is_not_inflated_for_hooks(front: Fronts) -> None:
    f = await front(answer(encoded("gzip", body=bytes(300_000_000))), policies=[Upper()])
    client = await f.client()
    await client.send(request_bytes(b"/x"))
    assert len(await client.until_closed(20)) < 80_000_000


@pytest.mark.parametrize("pieces", [1, 5])
async def test_hooks_for_pieces_of_a_request_get_them_decoded(front: Fronts, pieces: int) -> None:
    f = await front(policies=[Upper()])
    client = await f.client()
    data = gzip.compress(b"hello" * 5000)
    raw = request_bytes(b"/x", b"content-encoding: gzip", b"content-digest: x", method=b"POST", body=data)
    await client.send(raw, cuts=[len(raw) * n // pieces for n in range(1, pieces)])
    assert (await client.reply()).status == 200
    request = f.upstream.requests[0]
    assert bytes(request.body) == b"HELLO" * 5000
    assert request.all("content-encoding") == request.all("content-digest") == []
    reply = await client.ask(request_bytes(b"/x", b"content-encoding: zz", method=b"POST", body=data))
    assert_problem(reply, 415, "request.unsupported_coding")
    assert reply.header("accept-encoding") == "gzip, deflate, br, zstd"


async def test_a_malformed_request_body_ends_the_exchange(front: Fronts) -> None:
    f = await front(policies=[Upper()])
    f.upstream.forget_faults()
    client = await f.client()
    reply = await client.ask(request_bytes(b"/x", b"content-encoding: gzip", method=b"POST", body=b"no gzip at all"))
    assert_problem(reply, 400, "request.undecodable")


# requests


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        (b"gzip", gzip.compress(PLAIN), 200, ""),
        (b"br", brotli.compress(PLAIN), 200, ""),
        (b"compress", PLAIN, 415, "request.unsupported_coding"),
        (b"gzip", PLAIN, 400, "request.undecodable"),
        (b"gzip", gzip.compress(bytes(3_000_000)), 413, "request.body_too_large"),
    ],
)
async def test_the_body_of_a_request_is_decoded_and_goes_on_as_it_came(
    front: Fronts, coding: bytes, body: bytes, status: int, code: str
) -> None:
    seen: list[bytes] = []

    async def read(x: Exchange) -> None:
        seen.append(await x.request.body())

    f = await front(policies=[Ask(read)])
    client = await f.client()
    reply = await client.ask(request_bytes(b"/x", b"content-encoding: " + coding, method=b"POST", body=body))
    assert reply.status == status
    if code:
        assert_problem(reply, status, code)
    else:
        assert seen == [PLAIN]
        assert bytes(f.upstream.requests[0].body) == body
        assert f.upstream.requests[0].all("content-encoding") == [coding]


async def test_a_streamed_and_a_replaced_request(front: Fronts) -> None:
    async def stream(x: Exchange) -> None:
        data = b"".join([piece async for piece in x.request.stream()])
        x.request.replace_body(data.upper(), content_type="text/plain")

    f = await front(policies=[Ask(stream)])
    client = await f.client()
    raw = request_bytes(
        b"/x", b"content-encoding: gzip", b"content-md5: x", method=b"POST", body=gzip.compress(b"hello")
    )
    assert (await client.ask(raw)).status == 200
    request = f.upstream.requests[0]
    assert bytes(request.body) == b"HELLO"
    assert request.all("content-type") == [b"text/plain"]
    assert request.all("content-encoding") == request.all("content-md5") == []


# the gateway's own requests


async def test_the_answer_to_a_subrequest_is_decoded(front: Fronts) -> None:
    upstream = await front.upstream(answer(negotiated))
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("s", [upstream.url])

    class Copies:
        def __init__(self, scope: Any) -> None:
            self.service = scope.service("s")

        async def on_request(self, x: Exchange) -> Response:
            found = await self.service.ask(Subrequest.of(x), timeout=3.0, limit=1000)
            assert found.whole
            short = await self.service.ask(Subrequest.of(x), timeout=3.0, limit=5)
            assert (short.body, short.whole) == (PLAIN[:5], False)
            return Response(found.status, body=found.body, headers=dict(found.headers.items()))

    gateway.route("/*", respond=404, policies=[{"python": {"use": Copies}}])
    running = await front.start(gateway)
    client: RawClient = await front.client(running)
    reply = await client.ask(request_bytes(b"/x", b"accept-encoding: gzip, zz"))
    assert reply.json() == PERSON
    assert reply.header("content-encoding") is None
    assert reply.header("etag") == '"1"'
    assert upstream.requests[0].all("accept-encoding") == [b"gzip"]


async def test_a_large_body_is_read_without_holding_up_the_others(front: Fronts) -> None:
    async def text() -> AsyncIterator[bytes]:
        yield gzip.compress(b"0123456789abcdef" * 400_000, 1)

    async def respond(x: Exchange) -> Response:
        return Response(200, body=text(), headers={"content-encoding": "gzip"})

    reads = Reads(limit=10_000_000)
    f = await front(policies=[reads, Ask(respond)])
    reply = await (await f.client()).ask(request_bytes(b"/x"))
    assert len(reads.seen[0]) == 6_400_000
    assert reply.header("content-encoding") == "gzip"
