"""Whatever bytes a client sends, cut anywhere: they are requests, or one clean refusal, and what goes out is the same.

The gateway runs once for all examples, in a loop of its own; the upstream's oracle reads everything that went out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11
import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from propylon import Gateway
from tests.support.client import ConnectionEnded, RawClient, Reply
from tests.support.oracle import Message
from tests.support.upstream import ScriptedUpstream, answer, ok

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # a hanging example would be shrunk for minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Stage:
    """The running gateway and its upstream."""

    loop: asyncio.AbstractEventLoop
    gateway: Gateway
    upstream: ScriptedUpstream


@asynccontextmanager
async def staged(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Stage]:
    async with ScriptedUpstream(answer(ok())) as upstream:
        gateway = Gateway(listen="127.0.0.1:0")
        gateway.route("/*", target=upstream.url)
        async with gateway:
            yield Stage(loop, gateway, upstream)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    loop = uvloop.new_event_loop()
    context = staged(loop)
    try:
        yield loop.run_until_complete(context.__aenter__())
        loop.run_until_complete(context.__aexit__(None, None, None))
    finally:
        loop.close()


TOKENS = st.sampled_from([b"x", b"X-Long-Name", b"accept", b"a!#$%&'*+-^`|~1"])
VALUES = st.binary(max_size=12).map(lambda raw: re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"v", raw).strip(b" \t"))
SEGMENTS = st.sampled_from([b"/", b"/a", b"/a/b", b"/%20", b"/~x", b"/a?b=c", b"/?%zz", b"/A//b"])
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One valid request."""
    lines = [b"%s: %s" % (draw(TOKENS), draw(VALUES)) for _ in range(draw(st.integers(0, 3)))]
    body = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        size = draw(st.integers(1, 10))
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        body = b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        body = b""
    head = [draw(METHODS) + b" " + draw(SEGMENTS) + b" HTTP/1.1", b"Host: a.example", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


INSERTS = st.sampled_from(
    [
        b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"\xff", b"0", b"-1", b"\x0b", b"\r\n\r\n",
        b"0\r\n\r\n", b"%2e%2e/", b"chunked", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n", b"GET / HTTP/1.1\r\n", b"HTTP/1.0",
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid requests with a few bytes inserted, deleted, doubled or exchanged."""
    data = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 6))
        kind = draw(st.sampled_from(["insert", "delete", "double", "replace"]))
        if kind == "insert":
            data = data[:at] + draw(INSERTS) + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + length :]
        elif kind == "double":
            data = data[: at + length] + data[at:]
        else:
            data = data[:at] + draw(INSERTS) + data[at + length :]
    return data


CUTS: st.SearchStrategy[list[int]] = st.one_of(
    st.just([]), st.lists(st.integers(1, 300), max_size=6), st.just(list(range(1, 400)))
)


async def converse(stage: Stage, data: bytes, cuts: list[int]) -> tuple[list[Reply], list[Message]]:
    """Send `data`, half-close, and return every answer and every whole request that reached the upstream."""
    before = len([request for request in stage.upstream.requests if request.complete])
    replies: list[Reply] = []
    cut: Reply | None = None
    async with RawClient(stage.gateway.port) as client:
        await client.send(data, cuts=cuts)
        if not client.broken:
            try:
                client.half_close()
            except OSError:
                pass
        while True:
            try:
                replies.append(await client.reply("GET", seconds=1))
            except ConnectionEnded as ended:
                cut = ended.partial
                break
    assert cut is None, f"a cut answer: {cut}"
    after = [request for request in stage.upstream.requests if request.complete]
    return replies, after[before:]


def check(stage: Stage, replies: list[Reply], arrived: list[Message]) -> None:
    """What must hold whatever was sent."""
    try:
        stage.upstream.check()
    finally:
        stage.upstream.forget_faults()  # the next example begins anew
    accepted = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status != 200]
    assert all(reply.status in GATEWAYS_OWN for reply in refused), [reply.status for reply in refused]
    assert all(reply.json()["code"] for reply in refused if reply.body)
    assert len(arrived) == len(accepted), "an answer for each request that went upstream, and no more"


GATEWAYS_OWN = {400, 404, 405, 408, 413, 414, 417, 431, 501, 502, 505, 508}


def oracle_reading(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Method and body of each request as h11 reads them; None when it refuses any, or the last is not whole."""
    found: list[tuple[bytes, bytes]] = []
    while data:
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(data)
        method, body = b"", bytearray()
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return None
            if isinstance(event, h11.Request):
                method = event.method
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None
        found.append((method, bytes(body)))
        data = parser.trailing_data[0]
    return found


@EXAMPLES
@given(data=st.lists(requests(), min_size=1, max_size=4).map(b"".join), cuts=CUTS)
def test_valid_requests_cut_anywhere_arrive_as_they_were_sent(stage: Stage, data: bytes, cuts: list[int]) -> None:
    replies, arrived = stage.loop.run_until_complete(converse(stage, data, cuts))
    check(stage, replies, arrived)
    read = oracle_reading(data)
    assert read is not None
    assert [(request.method, bytes(request.body)) for request in arrived] == read
    assert [reply.status for reply in replies] == [200] * len(read)


@settings(EXAMPLES, max_examples=400)
@given(data=mutated(), cuts=CUTS)
def test_mutated_requests_are_requests_or_one_clean_refusal(stage: Stage, data: bytes, cuts: list[int]) -> None:
    replies, arrived = stage.loop.run_until_complete(converse(stage, data, cuts))
    check(stage, replies, arrived)
    read = oracle_reading(data)
    if read is not None and len(arrived) == len(read):
        assert [(request.method, bytes(request.body)) for request in arrived] == read


@EXAMPLES
@given(data=mutated(), cuts=CUTS)
def test_the_cuts_make_no_difference(stage: Stage, data: bytes, cuts: list[int]) -> None:
    whole = stage.loop.run_until_complete(converse(stage, data, []))
    in_pieces = stage.loop.run_until_complete(converse(stage, data, cuts))
    assert [reply.status for reply in whole[0]] == [reply.status for reply in in_pieces[0]]
    assert [(m.method, m.target, bytes(m.body)) for m in whole[1]] == [
        (m.method, m.target, bytes(m.body)) for m in in_pieces[1]
    ]


@EXAMPLES
@given(data=st.binary(max_size=200), cuts=CUTS)
def test_noise_is_refused_once_and_never_reaches_the_upstream(stage: Stage, data: bytes, cuts: list[int]) -> None:
    replies, arrived = stage.loop.run_until_complete(converse(stage, data, cuts))
    check(stage, replies, arrived)
    assert len(replies) <= 1
    assert arrived == []
