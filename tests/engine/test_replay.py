"""A body that is kept while it is sent: the second endpoint gets every byte of it, or nothing at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.body import Body
from propylon.engine.replay import Replay
from tests.support.fakes import FakeUpstream


def body_of(*pieces: bytes) -> tuple[Body, FakeUpstream]:
    """A body of which these pieces have arrived, and its source."""
    source = FakeUpstream()
    body = Body(source)
    for piece in pieces:
        body.feed(piece)
    return body, source


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=12), st.data())
def test_every_sink_gets_the_same_bytes_and_one_end(pieces: list[bytes], data: st.DataObject) -> None:
    """Pieces come before, while and between sinks; the limit is never reached."""
    replay = Replay(1000)
    body, source = body_of()
    sinks: list[FakeUpstream] = []
    for piece in pieces:
        if data.draw(st.booleans()):
            if data.draw(st.booleans()):
                replay.suspend()
            sinks.append(FakeUpstream())
            replay.pipe(body, sinks[-1])
            assert not source.paused
        elif sinks and data.draw(st.booleans()):
            replay.suspend()
            assert source.paused
        body.feed(piece)
    last = FakeUpstream()
    replay.pipe(body, last)
    body.end([(b"x-sum", b"1")])
    again = FakeUpstream()
    replay.suspend()
    replay.pipe(body, again)
    whole = b"".join(pieces)
    assert replay.complete
    for sink in (last, again):
        assert sink.request_body == whole
        assert [call for call in sink.sent if call[0] == "end_body"] == [("end_body", [(b"x-sum", b"1")])]
    assert all(whole.startswith(sink.request_body) for sink in sinks)


def test_a_body_of_exactly_the_limit_is_kept_and_one_byte_more_is_not() -> None:
    for size, whole in ((10, True), (11, False)):
        replay, sink = Replay(10), FakeUpstream()
        body, _ = body_of()
        replay.pipe(body, sink)
        for _ in range(size):
            body.feed(b"x")
        assert replay.complete is whole
        assert sink.request_body == b"x" * size


def test_what_is_too_large_is_kept_no_more() -> None:
    replay, sink = Replay(3), FakeUpstream()
    body, _ = body_of(b"ab")
    replay.pipe(body, sink)
    body.feed(b"cd")
    body.feed(b"e")
    assert replay._kept == []
    assert not replay.complete
    assert sink.request_body == b"abcde"


def test_what_comes_between_two_sinks_is_sent_though_it_is_too_large_and_only_then_forgotten() -> None:
    """A source that is told to hold may have one more piece on its way: without it the body would have a hole."""
    replay, first, second = Replay(3), FakeUpstream(), FakeUpstream()
    body, source = body_of(b"ab")
    replay.pipe(body, first)
    replay.suspend()
    assert source.paused
    body.feed(b"cdef")
    assert replay.complete
    replay.pipe(body, second)
    assert not source.paused
    assert second.request_body == b"abcdef"
    assert not replay.complete


def test_who_is_no_longer_plugged_in_gets_nothing() -> None:
    replay, first = Replay(100), FakeUpstream()
    body, source = body_of()
    replay.pipe(body, first)
    replay.suspend()
    replay.suspend()
    body.feed(b"a")
    replay.detach()
    assert not source.paused
    body.feed(b"b")
    body.end([])
    assert first.sent == []


def test_what_comes_behind_the_last_sink_is_bounded() -> None:
    replay = Replay(3)
    body, _ = body_of()
    replay.pipe(body, FakeUpstream())
    replay.suspend()
    replay.detach()
    body.feed(b"abcdef")
    assert replay._kept == []
    assert not replay.complete


def test_before_the_first_sink_there_is_nothing_to_hold() -> None:
    replay, sink = Replay(3), FakeUpstream()
    replay.suspend()
    replay.detach()
    body, source = body_of(b"ab")
    replay.pipe(body, sink)
    assert not source.paused
    assert sink.request_body == b"ab"
