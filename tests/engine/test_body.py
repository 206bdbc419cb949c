"""Bodies under way: handed on as they come, or held within a bound until somebody wants them."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.body import HIGH_WATER_BYTES, Body
from propylon.engine.errors import GatewayError
from propylon.http.headers import Pair
from tests.support.deadline import settle


class Source:
    """Remembers what the body asks for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.holds: list[object] = []

    @property
    def reading(self) -> bool:
        return not self.holds

    def hold(self, owner: object) -> None:
        assert owner not in self.holds
        self.calls.append("hold")
        self.holds.append(owner)

    def release(self, owner: object) -> None:
        self.calls.append("release")
        self.holds.remove(owner)

    def body_wanted(self) -> None:
        self.calls.append("wanted")


class Sink:
    """Collects a body; `full` makes it hold a source at that many bytes, as a slow peer does."""

    def __init__(self, source: Source | None = None, full: int = 0) -> None:
        self.pieces: list[bytes] = []
        self.trailers: list[Pair] | None = None
        self._source = source
        self._full = full

    def write_body(self, data: bytes) -> None:
        assert self.trailers is None
        assert data
        self.pieces.append(data)
        if self._source is not None and sum(map(len, self.pieces)) >= self._full:
            self._source.hold(self)
            self._source = None

    def end_body(self, trailers: list[Pair]) -> None:
        assert self.trailers is None
        self.trailers = trailers


def test_a_piped_body_is_handed_on_piece_by_piece() -> None:
    source, sink = Source(), Sink()
    body = Body(source)
    body.pipe(sink)
    body.feed(b"a")
    body.feed(b"b")
    assert sink.pieces == [b"a", b"b"]
    body.end([(b"x", b"1")])
    assert sink.trailers == [(b"x", b"1")]
    assert source.calls == ["wanted"]


def test_what_was_held_comes_before_what_follows() -> None:
    sink = Sink()
    body = Body(Source())
    body.feed(b"a")
    body.feed(b"b")
    assert body.held() == b"ab"
    body.pipe(sink)
    body.feed(b"c")
    assert sink.pieces == [b"a", b"b", b"c"]
    assert body.held() == b""


def test_a_body_that_has_ended_is_piped_whole_and_asks_for_nothing() -> None:
    source, sink = Source(), Sink()
    body = Body(source)
    body.feed(b"a")
    body.end([])
    body.pipe(sink)
    assert (sink.pieces, sink.trailers) == ([b"a"], [])
    assert source.calls == []


def test_a_body_that_nobody_reads_holds_its_source_once() -> None:
    source = Source()
    body = Body(source)
    body.feed(b"x" * HIGH_WATER_BYTES)
    assert source.calls == []
    body.feed(b"x")
    body.feed(b"x")
    assert source.calls == ["hold"]


def test_piping_resumes_a_paused_source() -> None:
    source = Source()
    body = Body(source)
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    body.pipe(Sink())
    assert source.calls == ["hold", "wanted", "release"]


def test_a_sink_that_pauses_the_source_while_it_takes_what_was_held_is_obeyed() -> None:
    source = Source()
    body = Body(source)
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    body.pipe(Sink(source, full=HIGH_WATER_BYTES))
    assert not source.reading  # the sink will resume it itself; nobody else may


def test_detaching_drops_everything_and_lets_the_source_go_on() -> None:
    source = Source()
    body = Body(source)
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    body.detach()
    assert source.calls == ["hold", "release"]
    body.feed(b"y" * (HIGH_WATER_BYTES + 1))
    body.end([])
    assert body.held() == b""
    assert source.reading


async def test_of_a_body_that_has_ended_before_it_is_detached_all_can_be_read() -> None:
    """The connection that fed it gives it up at once; whoever reads comes later."""
    source = Source()
    body = Body(source)
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    body.end([])
    body.detach()
    assert source.reading
    assert len(await body.read()) == HIGH_WATER_BYTES + 1
    assert await body.read() == b""


def test_a_body_that_was_handed_on_does_not_keep_its_sink_once_it_is_detached() -> None:
    """A sink leads to the exchange, and the exchange to the body: a circle would have to wait for the collector."""
    body, sink = Body(Source()), Sink()
    body.pipe(sink)
    body.end([])
    body.detach()
    assert not any(each is sink for each in gc.get_referents(body))


async def test_reading_waits_for_a_piece_and_then_for_the_end() -> None:
    source = Source()
    body = Body(source)
    reading = asyncio.ensure_future(body.read())
    await settle()
    assert not reading.done()
    body.feed(b"a")
    body.feed(b"b")
    assert await reading == b"ab"
    reading = asyncio.ensure_future(body.read())
    await settle()
    assert not reading.done()
    body.end([])
    assert await reading == b""
    assert source.calls == ["wanted"]


async def test_reading_resumes_a_paused_source() -> None:
    source = Source()
    body = Body(source)
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    assert len(await body.read()) == HIGH_WATER_BYTES + 1
    assert source.calls == ["hold", "wanted", "release"]


async def test_a_cancelled_read_loses_nothing() -> None:
    body = Body(Source())
    reading = asyncio.ensure_future(body.read())
    await settle()
    reading.cancel()
    await settle()
    body.feed(b"a")
    assert await body.read() == b"a"


async def test_read_all_takes_exactly_its_limit() -> None:
    body = Body.of(b"12345")
    assert await body.read_all(5, "request.body_too_large") == b"12345"
    with pytest.raises(GatewayError) as caught:
        await Body.of(b"123456").read_all(5, "response.body_too_large")
    assert caught.value.code == "response.body_too_large"
    assert await Body.of(b"").read_all(0, "request.body_too_large") == b""


async def test_read_all_refuses_before_the_body_has_ended() -> None:
    body = Body(Source())
    body.feed(b"123456")
    with pytest.raises(GatewayError):
        await body.read_all(5, "request.body_too_large")


@given(
    st.lists(st.integers(1, 40000).map(bytes), max_size=8),
    st.lists(st.sampled_from(["feed", "read"]), max_size=20),
)
def test_what_is_held_stays_bounded_if_the_source_obeys(pieces: list[bytes], steps: list[str]) -> None:
    async def scenario() -> None:
        source = Source()
        body = Body(source)
        left, got = list(pieces), b""
        for step in steps:
            if step == "feed" and left and source.reading:
                body.feed(left.pop(0))
            elif step == "read" and body.held():
                got += await body.read()
            assert len(body.held()) <= HIGH_WATER_BYTES + max(map(len, pieces), default=0)
        assert got + body.held() == b"".join(pieces[: len(pieces) - len(left)])

    asyncio.run(scenario())


async def test_a_body_whose_end_will_never_come_gives_what_there_is_and_then_fails() -> None:
    body = Body(Source())
    body.feed(b"a")
    body.fail(GatewayError("relay.truncated"))
    assert await body.read() == b"a"
    with pytest.raises(GatewayError) as caught:
        await body.read()
    assert caught.value.code == "relay.truncated"


async def test_whoever_waits_for_a_piece_learns_of_the_failure() -> None:
    body = Body(Source())
    reading = asyncio.ensure_future(body.read_all(9, "response.body_too_large"))
    await settle()
    body.fail(GatewayError("relay.truncated"))
    with pytest.raises(GatewayError):
        await reading


class Pieces:
    """A sink that remembers what it was given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = False

    def write_body(self, data: bytes) -> None:
        self.pieces.append(data)

    def end_body(self, trailers: list[Pair]) -> None:
        self.ended = True


def test_a_tap_gets_what_is_held_and_all_that_follows_and_the_sink_gets_it_too() -> None:
    body, first, second, sink = Body(Source()), Pieces(), Pieces(), Pieces()
    body.feed(b"a")
    body.tap(first)
    body.feed(b"b")
    body.tap(second)
    body.pipe(sink)
    body.feed(b"c")
    body.end([])
    assert [b"".join(each.pieces) for each in (first, second, sink)] == [b"abc"] * 3
    assert first.ended
    assert second.ended


def test_a_tap_neither_asks_for_a_body_nor_lets_more_of_it_come() -> None:
    source = Source()
    body = Body(source)
    body.tap(Pieces())
    body.feed(b"x" * (HIGH_WATER_BYTES + 1))
    assert source.calls == ["hold"]


def test_a_tap_that_is_taken_away_gets_nothing_more_even_in_the_middle_of_a_piece() -> None:
    body, other = Body(Source()), Pieces()

    class Leaves(Pieces):
        def write_body(self, data: bytes) -> None:
            super().write_body(data)
            body.untap(self)

    leaves = Leaves()
    body.feed(b"a")
    body.tap(leaves)
    body.tap(other)
    body.feed(b"b")
    assert leaves.pieces == [b"a"]
    assert other.pieces == [b"a", b"b"]


# taps


class Tap(Sink):
    """A tap that notes how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def fail_body(self, error: GatewayError) -> None:
        self.errors.append(error.code)


def test_a_tap_is_told_of_a_body_that_is_cut_short_or_not_wanted_any_more() -> None:
    for end in ("fail", "detach"):
        body, tap = Body(Source()), Tap()
        body.feed(b"held")
        body.tap(tap)
        body.pipe(Sink())
        body.feed(b"more")
        if end == "fail":
            body.fail(GatewayError("relay.truncated"))
        else:
            body.detach()
        assert b"".join(tap.pieces) == b"heldmore"
        assert tap.trailers is None
        assert tap.errors == ["relay.truncated" if end == "fail" else "relay.client_gone"]


def test_a_tap_on_a_body_that_has_ended_gets_all_of_it() -> None:
    body, tap = Body.of(b"all"), Tap()
    body.tap(tap)
    body.pipe(Sink())
    body.detach()
    assert (tap.pieces, tap.trailers, tap.errors) == ([b"all"], [], [])
