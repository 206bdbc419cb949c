"""Event streams on their way to the client: untouched, and said something to only where it does no harm."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine import event_stream as module
from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import MAX_HELD_BYTES
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.timing import Ending
from propylon.engine.websocket.settings import DRAINED
from propylon.http.sse import BOM, COMMENT, HEARTBEAT
from tests.support.fakes import OK, Clock, FakeClient, FakeEndpoint, FakeUpstream, exchange, snapshot

HEAD = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
ONE, TWO = b"data: 1\n\n", b"data: 2\n\n"
STREAMS = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b":", BOM, BOM[:1], BOM[1:]]), max_size=10)


class Stream:
    """An exchange whose response is an event stream under way."""

    def __init__(self, *policies: object, head: bytes = HEAD, method: bytes = b"GET", **rules: Any) -> None:
        self.client, self.upstream = FakeClient(), FakeUpstream()
        self.done: list[str] = []
        made_of = snapshot(*policies, endpoint=FakeEndpoint(self.upstream))
        self.x: Exchange = exchange(made_of, client=self.client, method=method)
        self.x.set_stream_rules(**rules)
        self.x.defer(lambda: self.done.append("done"))
        self.x.start(forward(self.x))
        self.upstream.request_sent = True
        self.body: Body = self.upstream.begin_answer(head)

    def feed(self, *pieces: bytes) -> Stream:
        for piece in pieces:
            self.body.feed(piece)
        return self

    def pieces(self) -> list[bytes]:
        """The pieces the client got."""
        return [call[1] for call in self.client.calls if call[0] == "write_body"]

    def check(self, now: float) -> None:
        """Check as a sweep does: only if it is due."""
        if self.client.due <= now:
            self.client.due = inf
            self.x.check(now)

    @property
    def ended(self) -> bool:
        """Whether the body was ended, once, and nothing came behind it."""
        names = self.client.names
        assert names.count("end_body") <= 1
        assert "end_body" not in names or names[-1] == "end_body"
        return "end_body" in names


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, module, exchange_module, timed_module)


# passing on


def test_pieces_pass_one_by_one_as_they_came() -> None:
    pieces = [b"id: 7\nretry: 10\n", b"da", b"ta: x\r\n", b"\r\n", ONE + TWO, b": quiet\n\n"]
    stream = Stream().feed(*pieces)
    assert stream.pieces() == pieces
    stream.upstream.end_answer()
    assert stream.ended
    assert stream.done == ["done"]


@given(STREAMS, st.booleans())
def test_every_stream_arrives_as_it_was_sent(pieces: list[bytes], whole: bool) -> None:
    stream = Stream(error_event=whole).feed(*pieces)
    stream.upstream.end_answer()
    assert stream.client.body == b"".join(pieces)
    assert stream.ended


@pytest.mark.parametrize(
    "head",
    [
        OK + b"content-type: text/plain\r\n",
        HEAD + b"content-encoding: gzip\r\n",
        OK + b"content-type: text/event-stream\r\ncontent-length: 900\r\n",
    ],
)
def test_what_is_no_event_stream_in_plain_text_is_not_touched(head: bytes, clock: Clock) -> None:
    for policies in ((), (Sees(),)):
        stream = Stream(*policies, head=head, heartbeat=1.0, error_event=True, max_age=2.0).feed(b"data: 1")
        assert stream.x.lasting is None
        stream.check(clock.now + 10)
        assert stream.pieces() == [b"data: 1"]
        stream.upstream.fail("relay.truncated")
        assert stream.client.names[-1] == "abort"


class Sees:
    """A policy that looks at the response."""

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def on_response(self, x: Exchange) -> None:
        assert x.response is not None
        for name, value in self._fields.items():
            x.response.headers.set(name.replace("_", "-"), value)


def test_what_a_policy_has_made_of_the_head_counts() -> None:
    assert Stream(Sees()).x.lasting is not None
    assert Stream(Sees(content_type="text/plain")).x.lasting is None
    assert Stream(Sees(content_encoding="br")).x.lasting is None


def test_what_chunk_policies_make_of_a_stream_is_what_is_looked_at() -> None:
    class Quiet:
        def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
            return data.replace(b"secret", b"-")

    stream = Stream(Quiet(), error_event=True).feed(b"data: sec", b"data: secret\n", b"\n", b"data: un")
    assert stream.pieces() == [b"data: secdata: -\n\n"]
    stream.upstream.fail("relay.truncated")
    assert stream.pieces()[-1].startswith(b"event: error\n")


def test_a_head_request_has_no_stream() -> None:
    client, upstream = FakeClient(), FakeUpstream()
    x = exchange(snapshot(endpoint=FakeEndpoint(upstream)), client=client, method=b"HEAD")
    x.start(forward(x))
    upstream.answer(HEAD)
    assert x.finished
    assert client.names == ["send"]


# silence


def test_an_event_stream_may_be_silent_unless_idle_is_set(clock: Clock) -> None:
    stream = Stream()
    assert stream.x.deadline == inf
    for policy in (lambda x: x.set_timeouts(idle=5.0), lambda x: x.set_timeouts(event_stream=5.0)):
        stream = Stream(policy)
        assert stream.x.deadline == clock.now + 5
        stream.check(clock.now + 5)
        assert stream.client.names[-1] == "abort"
        assert stream.x.error is not None
        assert stream.x.error.code == "relay.idle_timeout"


def test_a_heartbeat_fills_silence_and_nothing_else(clock: Clock) -> None:
    stream = Stream(heartbeat=15.0)
    for _ in range(3):
        clock.now += 14
        stream.feed(ONE)
        stream.check(clock.now)
    assert stream.pieces() == [ONE] * 3
    clock.now += 15
    stream.check(clock.now)
    stream.check(clock.now + 14.9)
    assert stream.pieces() == [ONE] * 3 + [HEARTBEAT]
    stream.check(clock.now + 15)
    assert stream.pieces() == [ONE] * 3 + [HEARTBEAT] * 2


def test_no_heartbeat_comes_into_an_event(clock: Clock) -> None:
    stream = Stream(heartbeat=15.0).feed(b"data: x\n")
    stream.check(clock.now + 15)
    assert stream.pieces() == [b"data: x\n"]
    assert stream.client.due == clock.now + 30
    clock.now += 20
    stream.feed(b"\n")
    stream.check(clock.now + 15)
    assert stream.pieces() == [b"data: x\n", b"\n", HEARTBEAT]


def test_a_heartbeat_comes_before_an_event_that_is_held(clock: Clock) -> None:
    stream = Stream(heartbeat=15.0, error_event=True).feed(b"data: x\n")
    stream.check(clock.now + 15)
    stream.feed(b"\n")
    assert stream.pieces() == [HEARTBEAT, b"data: x\n\n"]


@pytest.mark.parametrize("pieces", [[BOM + ONE], [BOM, ONE], [BOM[:1], BOM[1:2], BOM[2:] + ONE]])
def test_a_byte_order_mark_behind_a_heartbeat_is_dropped(clock: Clock, pieces: list[bytes]) -> None:
    stream = Stream(heartbeat=15.0)
    stream.check(clock.now + 15)
    assert stream.feed(*pieces).client.body == HEARTBEAT + ONE
    assert Stream().feed(*pieces).client.body == BOM + ONE
    held = Stream(heartbeat=15.0, error_event=True).feed(BOM + b"data")
    held.check(clock.now + 15)
    assert held.feed(b": 1\n\n").client.body == BOM + ONE


# comments


@pytest.mark.parametrize(
    ("piece", "possible"), [(b"", True), (ONE, True), (b"data: x\n", True), (b"data: x\r", False), (b"data", False)]
)
def test_a_comment_stands_between_lines(piece: bytes, possible: bool) -> None:
    stream = Stream()
    if piece:
        stream.feed(piece)
    before = stream.client.body
    assert stream.x.lasting is not None
    assert stream.x.lasting.comment() is possible
    assert stream.client.body == before + (COMMENT if possible else b"")


# errors


def test_a_failure_is_told_as_an_event_and_the_body_ends(clock: Clock) -> None:
    stream = Stream(error_event=True).feed(ONE, b"data: ha", b"lf\n")
    assert stream.pieces() == [ONE]
    stream.upstream.fail("relay.truncated")
    told = b'event: error\ndata: {"code":"relay.truncated","request_id":"id-1"}\n\n'
    assert stream.pieces() == [ONE, told]
    assert stream.ended
    assert stream.x.finished
    assert stream.upstream.finished == 1
    assert stream.done == ["done"]


def test_without_the_rule_a_failure_cuts_the_stream() -> None:
    stream = Stream().feed(ONE)
    stream.upstream.fail("relay.truncated")
    assert stream.pieces() == [ONE]
    assert not stream.ended
    assert stream.client.names[-1] == "abort"


def test_a_client_that_has_gone_is_told_nothing() -> None:
    for code in ("relay.client_gone", "relay.client_stalled"):
        stream = Stream(error_event=True).feed(ONE)
        stream.x.fail(GatewayError(code))
        assert stream.pieces() == [ONE]
        assert stream.client.names[-1] == "abort"


def test_whole_events_pass_in_one_piece_with_what_was_held_of_them() -> None:
    stream = Stream(error_event=True).feed(b"data: 1\n", b"\ndata: 2\n\ndata:", b" 3", b"\n\n", ONE)
    assert stream.pieces() == [b"data: 1\n\ndata: 2\n\n", b"data: 3\n\n", ONE]


def test_an_event_that_is_too_large_to_hold_flows_and_a_failure_cuts_it() -> None:
    stream = Stream(error_event=True).feed(b"data: " + b"x" * (MAX_HELD_BYTES - 6))
    assert stream.pieces() == []
    stream.feed(b"y")
    assert len(stream.client.body) == MAX_HELD_BYTES + 1
    stream.feed(b"z")
    assert stream.pieces()[-1] == b"z"
    stream.upstream.fail("relay.truncated")
    assert stream.client.names[-1] == "abort"


def test_behind_an_event_that_was_too_large_events_are_whole_again() -> None:
    stream = Stream(error_event=True).feed(b"x" * (MAX_HELD_BYTES + 1), b"\n\ndata:")
    assert stream.pieces()[-1] == b"\n\n"
    stream.upstream.fail("relay.truncated")
    assert stream.pieces()[-1].startswith(b"event: error\n")
    assert stream.ended


@given(STREAMS, st.integers(0, 10))
def test_whatever_comes_a_client_that_is_told_has_whole_events_only(pieces: list[bytes], at: int) -> None:
    stream = Stream(error_event=True).feed(*pieces[:at])
    stream.upstream.fail("relay.truncated")
    events, told, _ = stream.client.body.partition(b"event: error\n")
    assert told
    assert events == b"" or events[-1:] in (b"\r", b"\n")
    assert b"".join(pieces).startswith(events)


# ends


def test_an_old_stream_is_ended_at_once_if_no_event_is_under_way(clock: Clock) -> None:
    stream = Stream(max_age=60.0).feed(ONE)
    stream.check(clock.now + 59.9)
    assert not stream.ended
    stream.check(clock.now + 60)
    assert stream.ended
    assert stream.x.finished
    assert stream.upstream.finished == 1
    stream.feed(TWO)
    assert stream.pieces() == [ONE]


@pytest.mark.parametrize("whole", [False, True])
def test_an_old_stream_is_ended_behind_the_event_under_way(clock: Clock, whole: bool) -> None:
    stream = Stream(max_age=60.0, error_event=whole).feed(ONE, b"data: x")
    stream.check(clock.now + 60)
    stream.feed(b"y\n")
    assert not stream.ended
    stream.feed(b"\n" + TWO + b"data: 3")
    assert stream.client.body == ONE + b"data: xy\n\n" + TWO
    assert stream.ended
    assert stream.x.finished


def test_a_stream_is_ended_when_the_gateway_stops_also_if_it_begins_later(clock: Clock) -> None:
    stream = Stream(max_age=60.0).feed(ONE)
    stream.x.end_by(Ending(clock.now + 5, DRAINED))
    stream.check(clock.now + 5)
    assert stream.ended

    late = Stream(lambda x: x.end_by(Ending(clock.now + 5, DRAINED))).feed(ONE)
    late.check(clock.now + 5)
    assert late.ended
