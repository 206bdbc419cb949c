"""Bodies on their way through policies: order, the end, waiting, failing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.engine import hook_task
from propylon.engine import transform as transform_module
from propylon.engine.body import HIGH_WATER_BYTES, Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.transform import Transform
from tests.support.deadline import settle
from tests.support.fakes import Clock, FakeClient, FakeUpstream, exchange

ChunkHook = Callable[[Exchange, bytes], Any]


def transform(*functions: ChunkHook, x: Exchange | None = None) -> tuple[Transform, FakeClient, FakeUpstream]:
    source, sink = FakeUpstream(), FakeClient()
    named = tuple((function, f"p{number}") for number, function in enumerate(functions))
    return Transform(x or waiting(), named, source, sink), sink, source


def waiting(codes: list[str] | None = None) -> Exchange:
    """An exchange under way; `codes` gets what it fails with."""

    async def way(x: Exchange) -> None:
        try:
            while True:
                await x.pause()
        except GatewayError as error:
            if codes is not None:
                codes.append(error.code)

    x = exchange()
    x.start(way(x))
    return x


def upper(x: Exchange, data: bytes) -> bytes:
    return data.upper()


async def slow_upper(x: Exchange, data: bytes) -> bytes:
    await asyncio.sleep(0)
    return data.upper()


def keeps_all(x: Exchange, data: bytes) -> bytes:
    """Hold everything back until the end."""
    held = x.state.setdefault("held", bytearray())
    held += data
    return b"" if data else bytes(held)


def test_each_piece_goes_through_every_hook_in_order() -> None:
    stage, sink, _ = transform(
        lambda x, data: data + b"1" if data else b"", lambda x, data: data + b"2" if data else b""
    )
    stage.write_body(b"a")
    stage.write_body(b"b")
    assert sink.calls == [("write_body", b"a12"), ("write_body", b"b12")]
    stage.end_body([(b"x", b"1")])
    assert sink.calls[2:] == [("end_body", [])]
    assert stage.ended


def test_the_end_is_told_with_an_empty_piece_and_what_it_gives_goes_through_the_next_hooks() -> None:
    told: list[bytes] = []

    def second(x: Exchange, data: bytes) -> bytes:
        told.append(data)
        return data.upper()

    stage, sink, _ = transform(keeps_all, second)
    for piece in (b"a", b"b"):
        stage.write_body(piece)
    assert sink.calls == []
    stage.end_body([])
    assert sink.calls == [("write_body", b"AB"), ("end_body", [])]
    assert told == [b"ab", b""]


def test_a_hook_may_swallow_a_piece() -> None:
    stage, sink, _ = transform(lambda x, data: b"")
    stage.write_body(b"a")
    stage.end_body([])
    assert sink.calls == [("end_body", [])]


async def test_pieces_behind_an_async_hook_wait_in_order() -> None:
    order: list[bytes] = []

    async def slow(x: Exchange, data: bytes) -> bytes:
        for _ in range(3 - len(order)):
            await asyncio.sleep(0)
        order.append(data)
        return data.upper()

    stage, sink, source = transform(slow, upper)
    stage.write_body(b"a")
    assert source.paused
    stage.write_body(b"b")
    stage.end_body([])
    assert sink.calls == []
    await settle()
    assert order == [b"a", b"b", b""]
    assert sink.calls == [("write_body", b"A"), ("write_body", b"B"), ("end_body", [])]
    assert not source.paused


@given(
    st.lists(st.binary(min_size=1, max_size=4), max_size=6),
    st.lists(st.sampled_from([upper, slow_upper, keeps_all]), min_size=1, max_size=3, unique=True),
)
@settings(max_examples=50)
def test_plain_and_async_hooks_give_the_same_bytes(pieces: list[bytes], functions: list[ChunkHook]) -> None:
    async def scenario() -> None:
        stage, sink, _ = transform(*functions)
        for piece in pieces:
            stage.write_body(piece)
        stage.end_body([])
        for _ in range(30 + 20 * len(pieces)):
            await asyncio.sleep(0)
        whole = b"".join(pieces)
        assert sink.body == (whole if functions == [keeps_all] else whole.upper())
        assert sink.names.count("end_body") == 1
        assert stage.ended

    asyncio.run(scenario())


def test_a_failing_hook_ends_the_exchange_and_nothing_more_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    def broken(x: Exchange, data: bytes) -> bytes:
        raise ValueError("chunk")

    codes: list[str] = []
    x = waiting(codes)
    stage, sink, _ = transform(broken, x=x)
    stage.write_body(b"a")
    assert codes == ["response.policy_failed"]
    assert sink.calls == []
    assert "policy p0 raised ValueError" in caplog.text
    assert "id=id-1" in caplog.text


async def test_a_failing_async_hook_ends_the_exchange_too() -> None:
    async def broken(x: Exchange, data: bytes) -> bytes:
        await asyncio.sleep(0)
        raise GatewayError("request.body_too_large")

    codes: list[str] = []
    x = waiting(codes)
    stage, sink, _ = transform(upper, broken, x=x)
    stage.write_body(b"a")
    stage.write_body(b"b")
    await settle()
    assert codes == ["request.body_too_large"]
    assert sink.calls == []


@pytest.mark.parametrize("wrong", ["text", 5, [b"x"], None])
def test_what_is_no_bytes_is_the_policys_failure_and_is_not_sent(wrong: object) -> None:
    codes: list[str] = []
    x = waiting(codes)
    stage, sink, _ = transform(lambda x, data: wrong, x=x)
    stage.write_body(b"a")
    assert codes == ["response.policy_failed"]
    assert sink.calls == []


async def test_an_async_hook_is_cancelled_with_its_exchange() -> None:
    ended: list[str] = []

    async def endless(x: Exchange, data: bytes) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return data

    stage, sink, _ = transform(endless)
    stage.write_body(b"a")
    stage.write_body(b"b")
    await settle()
    stage.cancel()
    await settle()
    assert ended == ["cancelled"]
    assert sink.calls == []


async def test_what_an_async_hook_gives_after_the_end_of_the_exchange_is_dropped() -> None:
    gate = asyncio.Event()

    async def slow(x: Exchange, data: bytes) -> bytes:
        await gate.wait()
        return data

    x = waiting()
    stage, sink, _ = transform(slow, x=x)
    stage.write_body(b"a")
    await settle()
    x.settle()
    gate.set()
    await settle()
    assert sink.calls == []


async def test_what_waits_for_an_async_hook_stays_bounded() -> None:
    """A source that obeys gives one piece more at the most, also when much was held before the body was piped."""
    gate = asyncio.Event()

    async def slow(x: Exchange, data: bytes) -> bytes:
        await gate.wait()
        return data

    stage, _, source = transform(slow)
    body = Body(source)
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    assert source.paused
    body.pipe(stage)
    assert source.paused
    gate.set()
    await settle()


async def test_a_sink_that_is_full_keeps_the_source_paused_when_an_async_hook_is_done() -> None:
    """A transport says once that it is full, not at each write (asyncio.BaseProtocol.pause_writing)."""
    stage, sink, source = transform(slow_upper)

    def once(data: bytes) -> None:
        sink.on_write = lambda data: None
        source.hold(sink)

    sink.on_write = once
    stage.write_body(b"a")
    stage.write_body(b"b")  # chunks come several at a time
    await settle()
    assert sink.body == b"AB"
    assert source.paused


def test_a_hook_that_blocks_and_then_raises_is_named_for_both(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch, hook_task, transform_module)

    def busy(x: Exchange, data: bytes) -> bytes:
        clock.now += 0.2
        if data == b"b":
            raise ValueError("no")
        return data

    stage, _, _ = transform(busy, x=waiting([]))
    stage.write_body(b"a")
    stage.write_body(b"b")
    told = [record.getMessage().partition(" status=")[0] for record in caplog.records]
    blocked = "policy p0 blocked the event loop for 200 ms: nothing else moved meanwhile"
    assert sorted(told[1:]) == sorted([blocked, "policy p0 raised ValueError"])
    assert told[0] == blocked
