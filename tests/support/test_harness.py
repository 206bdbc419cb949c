"""The harness, tried on itself: what it must let pass, and what it must notice."""

from __future__ import annotations

import pytest

from tests.conftest import BOTH_LOOPS
from tests.support.client import ConnectionEnded, RawClient, request_bytes
from tests.support.deadline import within
from tests.support.oracle import RequestOracle
from tests.support.upstream import PeerGone, ScriptedUpstream, UpstreamConnection, answer, chunked, ok

DIRTY_REQUESTS = {
    "bare LF in the head": b"GET / HTTP/1.1\nhost: a\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n",
    "two content-lengths": b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n",
    "length and coding": b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in capitals": b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    "leading zero": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 01\r\n\r\nx",
    "chunk extension": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "control character": b"GET / HTTP/1.1\r\nhost: a\r\nx: \x01\r\n\r\n",
}


@pytest.mark.parametrize("raw", DIRTY_REQUESTS.values(), ids=DIRTY_REQUESTS.keys())
def test_oracle_notices(raw: bytes) -> None:
    oracle = RequestOracle()
    oracle.feed(raw)
    assert oracle.error


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_oracle_reads_pipelined_requests_cut_anywhere(step: int) -> None:
    stream = (
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        b"POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"
        b"GET /c HTTP/1.1\r\nhost: a\r\n\r\n"
    )
    oracle = RequestOracle()
    for start in range(0, len(stream), step):
        oracle.feed(stream[start : start + step])
    assert oracle.error is None
    assert [(bytes(m.target), bytes(m.body)) for m in oracle.complete] == [
        (b"/a", b"abcde"),
        (b"/b", b"hi"),
        (b"/c", b""),
    ]


@BOTH_LOOPS
async def test_client_and_upstream_talk_over_one_connection() -> None:
    async with (
        ScriptedUpstream(answer(ok(b"one"), chunked(b"t", b"wo"))) as upstream,
        RawClient(upstream.port) as client,
    ):
        await client.send_bytewise(request_bytes(b"/1"))
        assert bytes((await client.reply()).body) == b"one"
        assert bytes((await client.ask(request_bytes(b"/2", method=b"POST", body=b"x"))).body) == b"two"
        assert [m.target for m in upstream.requests] == [b"/1", b"/2"]
        assert len(upstream.connections) == 1
        client.close()
        await upstream.connections[0].gone()


@BOTH_LOOPS
async def test_client_tells_a_cut_response_from_a_whole_one() -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        connection.close()

    async with ScriptedUpstream(script) as upstream, RawClient(upstream.port) as client:
        with pytest.raises(ConnectionEnded) as caught:
            await client.ask(request_bytes())
        assert caught.value.partial is not None
        assert caught.value.partial.body == b"half"


@BOTH_LOOPS
async def test_reset_is_seen_on_both_sides() -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.reset()

    async with ScriptedUpstream(script) as upstream:
        async with RawClient(upstream.port) as client:
            await client.send(request_bytes())
            await client.assert_closed()
        async with RawClient(upstream.port) as client:
            await client.send(b"GET / HT")
            await upstream.until(lambda: len(upstream.received) > 40, "the first bytes")
            client.reset()
            await upstream.connections[1].gone()


async def test_upstream_reports_what_its_script_asserts() -> None:
    async def script(connection: UpstreamConnection) -> None:
        request = await connection.request()
        assert request.target == b"/expected"

    async with ScriptedUpstream(script) as upstream:
        async with RawClient(upstream.port) as client:
            await client.send(request_bytes(b"/other"))
            await upstream.until(lambda: bool(upstream.failures), "the script to fail")
        with pytest.raises(AssertionError, match="script failed"):
            upstream.check()
        upstream.failures.clear()


async def test_a_script_that_waits_for_more_ends_with_its_peer() -> None:
    ended: list[str] = []

    async def script(connection: UpstreamConnection) -> None:
        request = await connection.head()
        try:
            await connection.body_of(request)
        except PeerGone:
            ended.append("cut")
            connection.upstream.tell()

    async with ScriptedUpstream(script) as upstream:
        async with RawClient(upstream.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
            await upstream.until(lambda: upstream.received.endswith(b"abc"), "half a body")
        await upstream.until(lambda: bool(ended), "the script to end")


async def test_deadlines_say_what_was_awaited() -> None:
    async with ScriptedUpstream(answer(ok())) as upstream:
        with pytest.raises(AssertionError, match="the moon"):
            async with within(0.01, "the moon"):
                await upstream.until(lambda: False, "nothing")
