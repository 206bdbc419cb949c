"""A connection to an endpoint is in one state at a time, and changes it only as the table says."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

from propylon.engine.body import Body
from propylon.engine.sides import UNKNOWN
from propylon.http.request_head import HeadRules, RequestFields
from propylon.outbound import http1_state as states
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.http1_state import TRANSITIONS, State
from tests.support.endpoint_wire import CHUNKED, LENGTH, OK, Pool
from tests.support.fakes import FakeClient, FakeTransport, exchange
from tests.support.frames import SWITCH, handshake

HANDSHAKE = handshake().partition(b"\r\n")[2][:-2]
ANSWERS = [
    LENGTH,
    CHUNKED,
    OK + b"content-length: 5\r\n\r\n",
    OK + b"\r\nx",
    b"HTTP/1.1 103 x\r\n\r\n",
    OK,
    b"\r\n",
    b"a",
]


class Watched(EndpointConnection):
    """Remembers every change of its state."""

    def __init__(self, pool: Any) -> None:
        self.seen: set[tuple[State, State]] = set()
        self._now = states.OPENING
        super().__init__(pool)

    @property  # type: ignore[override]
    def state(self) -> State:
        return self._now

    @state.setter
    def state(self, value: State) -> None:
        if value is not self._now:
            self.seen.add((self._now, value))
        self._now = value


class Walk:
    """One connection that is led at random through all that may happen to it."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.pool = Pool()
        self.connection = Watched(cast("Any", self.pool))
        self.connection.connection_made(cast("Any", FakeTransport()))

    async def _served(self, x: Any) -> None:
        while True:
            await x.pause()

    def begin(self) -> None:
        x = exchange(client=FakeClient())
        if self.chance.random() < 0.5:
            x.fields = RequestFields(HANDSHAKE, HeadRules())
        x.start(self._served(x))
        self.connection.begin(x)

    def send(self) -> None:
        self.connection.send(b"GET", b"a", b"/", b"", b"", None)

    def send_head(self) -> None:
        self.connection.send_head(b"PUT", b"a", b"/", b"", b"", self.chance.choice((UNKNOWN, 2)))

    def write_body(self) -> None:
        self.connection.write_body(b"x" * self.chance.choice((1, 1, 2)))

    def end_body(self) -> None:
        self.connection.end_body([])

    def receive(self) -> None:
        self.connection.data_received(self.chance.choice([*ANSWERS, SWITCH, SWITCH]))

    def receive_body(self) -> None:
        self.connection.data_received(b"hello")

    def eof(self) -> None:
        self.connection.eof_received()

    def lose(self) -> None:
        self.connection.connection_lost(self.chance.choice((None, OSError("reset"))))

    def stall(self) -> None:
        if self.connection.stalled:
            self.connection.resume_writing()
        else:
            self.connection.pause_writing()

    def possible(self) -> list[Callable[[], object]]:
        """What the engine and the transport may do now, by their own rules."""
        connection = self.connection
        steps: list[Callable[[], object]] = []
        if connection._transport is not None:
            steps += [self.receive, self.receive, self.lose, self.eof, connection.close]
        if connection.exchange is None:
            return [*steps, self.begin, self.begin, self.begin]
        steps += [connection.finish, self.stall]
        if connection.state is states.BEGUN:
            steps += [self.send, self.send_head] * 4
        if connection.state in (states.SENDING, states.EARLY, states.ANSWERED):
            steps += [self.write_body, self.end_body] * 2
        if isinstance(connection.body, Body):
            steps += [self.receive_body] * 3
        if connection.state is states.SWITCHING:
            steps += [connection.switch] * 2
        return steps

    def check(self) -> None:
        """What each state says of the rest of the connection."""
        connection, state = self.connection, self.connection.state
        closed = state in (states.CLOSING, states.CLOSED)
        if state in (states.BEGUN, states.SENDING, states.EARLY, states.ANSWERED):
            assert not connection.request_sent
        if state in (states.WAITING, states.RECEIVING, states.COMPLETE):
            assert connection.request_sent
        if not closed and state is not states.IDLE:
            assert connection.complete is (state in (states.ANSWERED, states.COMPLETE, states.SWITCHED))
            assert (connection.head is None) is (state in (states.BEGUN, states.SENDING, states.WAITING))
        assert (connection.exchange is None) <= (closed or state is states.IDLE)
        assert (connection.error is not None) <= closed
        assert closed <= (not connection.usable)
        assert (state is states.CLOSED) is (connection._transport is None)


def test_a_connection_changes_its_state_as_the_table_says_and_in_every_way_the_table_says() -> None:
    chance = Random(9)
    seen: set[tuple[State, State]] = set()
    for _ in range(4000):
        walk = Walk(chance)
        for _ in range(25):
            if walk.connection.state is states.CLOSED and walk.connection.exchange is None:
                break
            chance.choice(walk.possible())()
            walk.check()
        seen |= walk.connection.seen
    assert seen == {(state, other) for state, others in TRANSITIONS.items() for other in others}


def test_every_state_is_in_the_table_and_shows_its_name() -> None:
    named = {name.lower(): state for name, state in vars(states).items() if isinstance(state, State)}
    assert set(named.values()) == set(TRANSITIONS)
    assert {name: repr(state) for name, state in named.items()} == {name: name for name in named}
