"""Request bodies in a file: read by a policy as often as it likes, and still sent whole."""

from __future__ import annotations

from typing import cast

import pytest

from propylon.engine.body import HIGH_WATER_BYTES, Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.spool import PIECE_BYTES, BodyFile, FileSource, spool
from tests.support.deadline import settle
from tests.support.fakes import FakeClient, FakeUpstream, exchange


def with_body(body: bytes | Body | None) -> Exchange:
    x = exchange()
    x.body = body
    return x


def holding(data: bytes) -> BodyFile:
    file = BodyFile(max_size=1 << 20)
    file.write(data)
    file.seek(0)
    return file


def body_of(x: Exchange) -> Body:
    return cast("Body", x.body)


@pytest.mark.parametrize("body", [b"hello", Body.of(b"hello")], ids=["whole", "stream"])
async def test_a_policy_reads_it_from_the_beginning_and_the_service_gets_it_whole(body: bytes | Body) -> None:
    x = with_body(body)
    file = await spool(x, 5)
    assert file.read() == b"hello"
    assert await body_of(x).read_all(9, "request.body_too_large") == b"hello"
    x.settle()


async def test_a_policy_cannot_close_it_and_the_exchange_does() -> None:
    x = with_body(b"hello")
    with await x.request.file(limit=9) as file:
        assert file.read(2) == b"he"
    file.close()
    assert not file.closed
    assert await body_of(x).read_all(9, "request.body_too_large") == b"hello"
    x.settle()
    assert file.closed


async def test_no_body_is_an_empty_file() -> None:
    x = with_body(None)
    assert (await spool(x, 0)).read() == b""
    x.settle()


async def test_a_body_beyond_the_limit_is_refused_and_the_file_is_closed_with_the_exchange() -> None:
    source = FakeUpstream()
    body = Body(source)
    body.feed(b"123456")
    x = with_body(body)
    with pytest.raises(GatewayError) as caught:
        await spool(x, 5)
    assert caught.value.code == "request.body_too_large"
    x.settle()


async def test_a_file_is_fed_to_its_sink_whole_in_order_and_in_pieces() -> None:
    data = bytes(range(256)) * 1024
    file, sink = holding(data), FakeClient()
    FileSource(file, len(data)).body.pipe(sink)
    await settle()
    pieces = [call[1] for call in sink.calls if call[0] == "write_body"]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert sink.calls[-1] == ("end_body", [])
    file.discard()


async def test_a_file_waits_while_anybody_holds_it() -> None:
    file, sink = holding(b"x" * 3 * PIECE_BYTES), FakeClient()
    source = FileSource(file, 3 * PIECE_BYTES)
    sink.on_write = lambda data: source.hold(sink)
    source.body.pipe(sink)
    other = object()
    for taken in (1, 2, 3):
        await settle()
        assert sink.names == ["write_body"] * taken
        source.hold(other)
        source.release(sink)
        assert sink.names == ["write_body"] * taken
        source.release(other)
    await settle()
    assert sink.names[-1] == "end_body"
    file.discard()


async def test_a_file_nobody_takes_is_read_no_further_than_the_bound() -> None:
    file = holding(b"x" * 10 * PIECE_BYTES)
    source = FileSource(file, 10 * PIECE_BYTES)
    source.release(None)
    await settle()
    assert source.body.size
    assert len(source.body.held()) <= HIGH_WATER_BYTES + PIECE_BYTES
    assert not source.body.ended
    file.discard()


async def test_no_more_is_read_for_an_endpoint_that_is_given_up_while_it_is_full() -> None:
    """It lets go of what it held: that is no reason to write the rest to it."""
    x = with_body(b"x" * 10 * PIECE_BYTES)
    file, sink = await spool(x, 10 * PIECE_BYTES), FakeClient()
    source = body_of(x).source
    sink.on_write = lambda data: source.hold(sink)
    body_of(x).pipe(sink)
    await settle()
    sink.on_write = lambda data: None
    source.release(sink)
    x.settle()
    await settle()
    assert len(sink.body) == PIECE_BYTES
    assert file.closed


async def test_an_endpoint_that_is_full_holds_the_file() -> None:
    """What tells the client side to wait must reach the body that is sent, wherever it comes from now."""
    x = with_body(b"x" * 10)
    file = await spool(x, 10)
    upstream = FakeUpstream()
    body_of(x).pipe(upstream)
    assert body_of(x).source is not x.client
    await settle()
    assert upstream.request_body == b"x" * 10
    x.settle()
    assert file.closed


async def test_an_exchange_that_ends_before_its_file_was_sent_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x = with_body(b"hello")
    await spool(x, 9)
    sink = FakeClient()
    body_of(x).pipe(sink)  # feeding begins in the next turn of the loop
    x.settle()
    await settle()
    assert sink.body == b""
    assert caplog.records == []
