"""A tunnel between two peers in memory: no sockets, no event loop, and time only as a test says.

    t = Relay()
    t.client.send(frame(1, b"hi"))
    assert t.endpoint.frames() == [Frame(1, b"hi")]

The whole way of the exchange is gone, from the handshake on: `t.x` is carried by `forward()`. Whatever a peer does is
followed by what a loop would do next: transports that were closed tell it, and what waited is delivered.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

import pytest

from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.websocket import tunnel as tunnel_module
from propylon.engine.websocket.settings import TunnelSettings
from propylon.engine.websocket.tunnel import Tunnel
from propylon.http.websocket import Close
from tests.support.fakes import Clock, FakeClient, FakeEndpoint, FakeTransport, FakeUpstream, exchange, snapshot
from tests.support.frames import SWITCH, Frame, handshake, read_frames

HANDSHAKE = handshake().partition(b"\r\n")[2].removesuffix(b"\r\n")


class Peer:
    """The far side of one connection of the gateway."""

    def __init__(self, relay: Relay, *, is_client: bool) -> None:
        self.transport = FakeTransport()
        self.is_client = is_client
        self.lost = False
        self._relay = relay
        self._sent: deque[bytes | None] = deque()

    def send(self, *pieces: bytes) -> None:
        """Send bytes, a read each; they wait while the gateway does not read."""
        self._sent.extend(pieces)
        self._relay.settle()

    def fin(self) -> None:
        """Send FIN."""
        self._sent.append(None)
        self._relay.settle()

    def reset(self) -> None:
        """Send RST; what the gateway has not read is gone."""
        self._sent.clear()
        self.transport.abort()
        self._relay.settle()

    def stall(self) -> None:
        """Take nothing more, until the gateway notices."""
        self.transport.full = True
        self.transport.unsent += 1
        self.transport.protocol.pause_writing()
        self._relay.settle()

    def resume(self) -> None:
        """Take everything again."""
        self.transport.full, self.transport.unsent = False, 0
        if not self.lost:
            self.transport.protocol.resume_writing()
        self._relay.settle()

    def frames(self) -> list[Frame]:
        """All frames that have come, which are whole."""
        found, rest = read_frames(bytes(self.transport.written), masked=not self.is_client)
        assert rest == b"", f"half a frame: {rest!r}"
        return found

    def take(self) -> list[Frame]:
        """The frames that have come since this was asked last."""
        found = self.frames()
        self.transport.take()
        return found

    @property
    def closed_with(self) -> tuple[int, str]:
        """What the Close frame said that has come last, behind which nothing came."""
        return self.frames()[-1].close

    def step(self) -> bool:
        """Do one thing that a loop would do next; False if there is none."""
        transport = self.transport
        protocol = transport.protocol
        if protocol is None or self.lost:
            return False
        if transport.closing:
            if transport.aborted or not transport.unsent:
                self.lost = True
                protocol.connection_lost(None)
            return self.lost
        if not self._sent or not transport.reading:
            return False
        data = self._sent.popleft()
        if data is not None:
            protocol.data_received(data)
        elif not protocol.eof_received():
            transport.close()
        return True


class Relay:
    """An exchange that has become a tunnel.

    Attributes:
        client: the peer of the client's side.
        endpoint: the peer of the endpoint's side; of the last one that has opened a WebSocket.
        upstreams: what further endpoints there are, should the first one be lost.
        told: how often the exchange was done.
    """

    def __init__(
        self,
        *policies: object,
        clock: Clock | None = None,
        upstreams: int = 1,
        head: bytes = SWITCH,
        from_client: bytes = b"",
        from_endpoint: bytes = b"",
        transport: FakeTransport | None = None,
        **settings: Any,
    ) -> None:
        """`transport`: of the client's connection, if it is a special one; `settings`: those of the tunnel."""
        self.clock = clock
        self.client, self.endpoint = Peer(self, is_client=True), Peer(self, is_client=False)
        self.client.transport = transport or self.client.transport
        self.upstreams = [FakeUpstream() for _ in range(upstreams)]
        for upstream in self.upstreams[1:]:
            upstream.transport = Peer(self, is_client=False).transport
        self.upstreams[0].transport = self.endpoint.transport
        self.upstreams[0].early = from_endpoint
        self.fake = FakeClient()
        self.fake.transport, self.fake.early = self.client.transport, from_client
        made_of = snapshot(*policies, endpoint=FakeEndpoint(*self.upstreams))
        self.x: Exchange = exchange(made_of, client=self.fake, fields=HANDSHAKE)
        if settings:
            self.x.tunnel_settings = TunnelSettings(**settings)
        self.x.start(forward(self.x))
        self.upstreams[0].open(head)
        if self.x.tunnel is not None:
            self.tunnel: Tunnel = self.x.tunnel
        self.settle()

    def replace(self, number: int, early: bytes = b"", head: bytes = SWITCH) -> None:
        """Let the endpoint `number` open the WebSocket in place of the one that was lost."""
        upstream = self.upstreams[number]
        self.endpoint = Peer(self, is_client=False)
        upstream.transport, upstream.early = self.endpoint.transport, early
        upstream.open(head)
        self.settle()

    def check(self, seconds: float = 0.0) -> None:
        """Let time pass, and sweep as the worker does: only what is due."""
        assert self.clock is not None
        self.clock.now += seconds
        if self.fake.due <= self.clock.now:
            self.fake.due = inf
            self.x.check(self.clock.now)
        self.settle()

    def settle(self) -> None:
        """Do all that a loop would do next."""
        while self.client.step() or self.endpoint.step():
            pass

    def close(self, code: int = 4000, reason: str = "") -> None:
        """Close it as a policy does."""
        self.tunnel.close(code, reason)
        self.settle()

    def close_at(self, seconds: float, close: Close) -> None:
        """Close it later, as a worker that stops does."""
        assert self.clock is not None
        self.tunnel.close_at(self.clock.now + seconds, close)

    @property
    def done(self) -> bool:
        """Whether both connections are closed, and the exchange over, once."""
        if not self.fake.done:
            return False
        assert self.fake.done == [self.x]
        assert self.client.transport.closing
        assert self.endpoint.transport.closing
        return True

    @property
    def error(self) -> str | None:
        """The code of what ended it."""
        return None if self.x.error is None else self.x.error.code


def clock_of(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for everything that a tunnel asks for the time."""
    return Clock(monkeypatch, tunnel_module, exchange_module, timed_module)
