"""A connection from a client with a fake transport, in front of a gateway of fakes.

The connection is a `CheckedConnection`: whatever test runs on it also tests that no step leaves the table of states.
"""

from __future__ import annotations

import re
from typing import Any, cast

from propylon import Response
from propylon.engine.body import Body
from propylon.engine.exchange import Exchange
from propylon.engine.snapshot import ClientTimeouts
from propylon.engine.timing import Timeouts
from propylon.inbound.connections import Connections
from propylon.inbound.http1 import ClientConnection
from propylon.inbound.http1_state import TRANSITIONS, State
from propylon.runtime.core import Core
from tests.support.fakes import OK, FakeEndpoint, FakeTransport, FakeUpstream, snapshot

GET = b"GET /%d HTTP/1.1\r\nhost: a.example\r\n\r\n"
POST = b"POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
EVENTS = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
AT_ONCE = Timeouts(expect=None)  # without an event loop, nothing is offered for a time
TIMES = ClientTimeouts(header=10, keep_alive=75, write=60, body=30, linger=5)

_STATE: Any = ClientConnection._state


class CheckedConnection(ClientConnection):
    """A connection that takes no step that is not in `TRANSITIONS`.

    Attributes:
        seen: the steps taken.
    """

    def __init__(self, *arguments: Any) -> None:
        self.seen: set[tuple[State, State]] = set()
        _STATE.__set__(self, State.NEW)
        super().__init__(*arguments)

    @property
    def _state(self) -> State:
        return cast("State", _STATE.__get__(self))

    @_state.setter
    def _state(self, value: State) -> None:
        before = self._state
        if value is not before:
            assert value in TRANSITIONS[before], f"from {before.name} to {value.name}"
            self.seen.add((before, value))
        _STATE.__set__(self, value)


class Wire:
    """The connection, its transport, and the upstreams that its requests get one after the other."""

    def __init__(
        self,
        *policies: object,
        upstreams: int = 1,
        connections: Connections | None = None,
        connect: bool = True,
        **more: Any,
    ) -> None:
        self.upstreams = [FakeUpstream() for _ in range(upstreams)]
        self.endpoint = FakeEndpoint(*self.upstreams)
        keys = {"client_timeouts": TIMES, "timeouts": AT_ONCE} | more
        made_of = snapshot(*policies, endpoint=self.endpoint, **keys)
        self.connections = connections or Connections(Core(made_of))
        self.transport = FakeTransport()
        self.connection = CheckedConnection(self.connections)
        if connect:
            self.connection.connection_made(cast("Any", self.transport))

    @property
    def upstream(self) -> FakeUpstream:
        return self.upstreams[0]

    @property
    def state(self) -> State:
        return self.connection._state

    def feed(self, *pieces: bytes) -> Wire:
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def lost(self) -> None:
        self.connection.connection_lost(None)

    def statuses(self) -> list[int]:
        """The statuses of all answers so far."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", bytes(self.transport.written))]

    def answers(self, number: int, body: bytes = b"") -> None:
        """Let the upstream of request `number` answer."""
        self.upstreams[number].answer(OK + b"content-length: %d\r\n" % len(body), body)


def local(x: Exchange) -> Response:
    """Answer at once with the path that was asked for."""
    return Response(200, body=x.request.path)


def echo() -> Wire:
    return Wire(local)


def bodies(wire: Wire) -> list[bytes]:
    return re.findall(rb"\r\n\r\n(/[0-9]+)", bytes(wire.transport.written))


def stalled(wire: Wire) -> Body:
    """A response under way whose client reads nothing."""
    body = wire.upstream.begin_answer(OK + b"content-length: 9\r\n", b"abc")
    wire.connection.pause_writing()
    return body
