"""The table of states: random events take every step that it has and no other, and what each state says is so."""

from __future__ import annotations

import asyncio
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from propylon import Response
from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.exchange import Exchange
from propylon.engine.snapshot import ClientLimits
from propylon.engine.websocket import tunnel as tunnel_module
from propylon.engine.websocket.settings import DRAINED
from propylon.http.request_reader import EMPTY_LINE
from propylon.inbound import http1, http1_body, http1_lifetime
from propylon.inbound.http1 import TURN_REQUESTS
from propylon.inbound.http1_state import TRANSITIONS, State
from tests.support.fakes import OK, Clock, FakeTransport, FakeUpstream
from tests.support.frames import frame, handshake
from tests.support.wire import GET, POST, Wire

ENDED = {State.NEW, State.CLOSING, State.CLOSED}
READS_BODY = {State.EXPECTING, State.BODY, State.DISCARDING}
BETWEEN = {State.NEW, State.IDLE, State.HEAD, State.PIPELINED, State.DISCARDING, State.LINGERING}
UNDER_WAY = {State.EXPECTING, State.BODY, State.ANSWERING, State.TUNNEL}


def answer_some(x: Exchange) -> Response | None:
    """Answer /local at once; everything else goes to an upstream."""
    return Response(200, body=b"x") if x.path == b"/local" else None


class Stage:
    """A wire, and what may happen to it; a transport behaves like one that is closed when it is."""

    def __init__(self, clock: Clock, *, full: bool = False) -> None:
        limits = ClientLimits(pipeline_buffer=300, connections=0 if full else None)
        self.clock = clock
        self.wire = Wire(answer_some, upstreams=50, connect=False, limits=limits)
        self.wire.transport.extra["socket"] = SimpleNamespace(getsockopt=lambda level, option: 0, fileno=lambda: -1)
        self.connection: Any = self.wire.connection
        self.ended = self.lost = False

    @property
    def protocol(self) -> Any:
        """What has the transport: the connection, or one end of a tunnel."""
        return self.wire.transport.protocol or self.connection

    @property
    def upstream(self) -> FakeUpstream | None:
        x = self.connection.exchange
        return None if x is None else x.upstream

    # from the client

    def feed(self, data: bytes) -> None:
        if not self.ended and not self.wire.transport.closing and self.wire.transport.reading:
            self.protocol.data_received(data)

    def fin(self) -> None:
        if not self.ended and not self.wire.transport.closing:
            self.ended = True
            if not self.protocol.eof_received():
                self.wire.transport.close()

    def lose(self) -> None:
        if not self.lost:
            self.ended = self.lost = True
            self.wire.transport.closing = True
            self.protocol.connection_lost(None)

    def stall(self) -> None:
        if not self.lost and self.protocol is self.connection and not self.connection._stalled:
            self.connection.pause_writing()

    def read(self) -> None:
        if not self.lost and self.protocol is self.connection and self.connection._stalled:
            self.connection.resume_writing()

    # from the endpoint

    def answer(self) -> None:
        upstream = self.upstream
        if upstream is None or upstream.head is not None:
            return
        if self.connection.exchange.is_websocket:
            upstream.transport = FakeTransport()
            upstream.open()
        else:
            upstream.answer(OK + b"content-length: 2\r\n", b"ok")

    def begin_answer(self) -> None:
        if self.upstream is not None and self.upstream.head is None and not self.connection.exchange.is_websocket:
            self.upstream.begin_answer(OK + b"transfer-encoding: chunked\r\n", b"some")

    def end_answer(self) -> None:
        if self.upstream is not None and not isinstance(self.upstream.body, bytes) and not self.upstream.complete:
            self.upstream.end_answer()

    def fail(self) -> None:
        if self.upstream is not None and self.upstream.transport is None:
            self.upstream.fail("attempt.closed" if self.upstream.head is None else "relay.truncated")

    def lose_endpoint(self) -> None:
        if self.upstream is not None and self.upstream.transport is not None and not self.upstream.transport.closing:
            self.upstream.transport.closing = True
            self.upstream.transport.protocol.connection_lost(None)

    def exhaust(self) -> None:
        """Let further requests wait for a connection to the endpoint."""
        self.wire.endpoint.pool.new.clear()

    # from the gateway

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wire.connections.sweep(self.clock.now)

    def drain(self) -> None:
        self.wire.connections.intake.draining = True
        self.wire.connections.drain(self.clock.now, 1.0, DRAINED)

    def abort(self) -> None:
        self.connection.abort()

    def turn(self) -> None:
        """Let the event loop turn; it does so behind each event too, as it may."""

    def check(self) -> None:
        """What each state says."""
        connection, state = self.connection, self.wire.state
        assert (connection._transport is None) == (state in (State.NEW, State.CLOSED))
        assert (connection._reader is not None) == (state in READS_BODY)
        assert not (state in UNDER_WAY and connection.exchange is None)
        assert not (state in BETWEEN and connection.exchange is not None)
        if state is State.IDLE:
            assert connection._buffer in (b"", EMPTY_LINE)
        elif state in (State.HEAD, State.PIPELINED):
            assert connection._buffer
        waits = state in (State.IDLE, State.HEAD, State.LINGERING) or (
            state is State.DISCARDING and not connection.held
        )
        if waits and not self.wire.transport.closing:
            assert connection.deadline < inf, "it would wait for ever"
        if state is State.LINGERING:
            assert self.wire.transport.eof
        elif state is State.CLOSING:
            assert self.wire.transport.closing
        assert (self.connection in self.wire.connections.open) == (
            state is not State.NEW and (state is not State.CLOSED or connection.exchange is not None)
        )


CHUNKED = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
EXPECT = b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
EXPECT_LOCAL = EXPECT.replace(b"/a", b"/local")
LOCAL = b"GET /local HTTP/1.1\r\nhost: a\r\n\r\n"
LAST = b"GET /local HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
LOCAL_POST = POST.replace(b"/1 ", b"/local ")
PIECES = (
    GET % 1, GET % 2, LOCAL, LOCAL + LOCAL, LAST, LOCAL * (TURN_REQUESTS + 2), GET % 1 + b"GET / HT", b"GET / HT",
    b"\r\n", b"\r", b"\n", POST % 3, POST % 3 + b"a", LOCAL_POST % 3, LOCAL_POST % 3 + b"a", LOCAL_POST % 999999,
    CHUNKED, b"3\r\nabc\r\n", b"0\r\n\r\n", EXPECT, EXPECT_LOCAL, b"a", b"ab", b"abc", b"abc" + GET % 3,
    b"bc\r\n", b"bc" + LOCAL, b"bcGET", b"BAD\r\n\r\n", b"x" * 400, handshake(), frame(1, b"hi"),
)  # fmt: skip
RARE = ("fin", "lose", "fail", "lose_endpoint", "drain", "abort", "exhaust")
OFTEN = ("turn", "stall", "read", "answer", "begin_answer", "end_answer")
EVENTS = st.one_of(
    st.sampled_from(PIECES).map(lambda data: ("feed", data)),
    st.sampled_from(PIECES).map(lambda data: ("feed", data)),
    st.sampled_from((0.1, 0.6, 6.0, 11.0, 31.0, 61.0, 76.0)).map(lambda seconds: ("wait", seconds)),
    st.sampled_from(RARE).map(lambda name: (name,)),
    st.sampled_from(OFTEN).map(lambda name: (name,)),
)


Events = list[tuple[Any, ...]]
FIRST = ("feed", LOCAL_POST % 3)  # answered before its body has come
HANDSHAKE: Events = [("feed", handshake()), ("answer",)]
SCRIPTS: tuple[Events, ...] = (
    [FIRST, ("feed", b"abc")],
    [FIRST, ("feed", b"abc" + LOCAL)],
    [FIRST, ("drain",), ("feed", b"abc")],
    [FIRST, ("fin",), ("lose",)],
    [FIRST, ("wait", 31.0)],
    [("exhaust",), ("feed", EXPECT), ("fin",)],
    [("exhaust",), ("feed", EXPECT), ("feed", b"abc")],
    [("exhaust",), ("feed", EXPECT), ("abort",)],
    [("exhaust",), ("feed", EXPECT), ("lose",)],
    [("feed", GET % 1 + EXPECT), ("exhaust",), ("answer",)],
    [("feed", EXPECT[:9]), ("feed", EXPECT[9:])],
    [("feed", EXPECT_LOCAL)],
    [("feed", GET % 1), ("lose",)],
    [("feed", POST % 3), ("abort",)],
    [("feed", POST % 3), ("lose",)],
    [("feed", POST[:9]), ("feed", POST[9:] % 3)],
    [("feed", LOCAL_POST % 999999), ("lose",)],
    [("feed", b"GET / HT"), ("lose",)],
    [("feed", b"GET / HT"), ("fin",)],
    [("feed", b"GET / HT"), ("stall",), ("feed", b"TP/1.1\r\nhost: a\r\n\r\n")],
    [("stall",), ("feed", LOCAL), ("drain",)],
    [("stall",), ("feed", POST % 3), ("read",)],
    [("stall",), ("feed", b"GET / HT"), ("read",)],
    [("feed", b"\r"), ("feed", b"\n")],
    [("feed", LOCAL * (TURN_REQUESTS + 1)), ("lose",)],
    [("feed", GET % 1 + b"\r\n"), ("answer",)],
    [*HANDSHAKE, ("feed", frame(1, b"hi")), ("lose",), ("lose_endpoint",)],
    [*HANDSHAKE, ("fin",), ("lose_endpoint",), ("lose",)],
    [*HANDSHAKE, ("abort",), ("lose_endpoint",), ("lose",)],
)
"""Steps that chance takes rarely."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, http1, http1_body, http1_lifetime, exchange_module, timed_module, tunnel_module)


async def play(stage: Stage, events: Events) -> None:
    stage.connection.connection_made(stage.wire.transport)
    stage.check()
    for name, *arguments in events:
        getattr(stage, name)(*arguments)
        stage.check()
        if name == "turn":
            await asyncio.sleep(0)
            stage.check()


def test_events_take_every_step_of_the_table_and_no_other(clock: Clock) -> None:
    """`CheckedConnection` refuses any other; and the table has none that cannot happen."""
    seen: set[tuple[State, State]] = set()

    @settings(max_examples=500, derandomize=True, deadline=None, database=None)
    @given(events=st.lists(EVENTS, max_size=14), full=st.integers(0, 30).map(lambda number: number == 30))
    def take_steps(events: Events, full: bool) -> None:
        stage = Stage(clock, full=full)
        with asyncio.Runner() as runner:
            runner.run(play(stage, events))
        nonlocal seen
        seen |= stage.connection.seen

    for script in SCRIPTS:
        take_steps = example(events=script, full=False)(take_steps)
    take_steps()
    table = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    missing = sorted(f"{before.name} to {after.name}" for before, after in table - seen)
    assert not missing, ", ".join(missing)


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)
