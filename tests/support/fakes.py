"""Both sides of an exchange without a socket: what tests of the engine and of the connections stand on.

    client, upstream = FakeClient(), FakeUpstream()
    x = exchange(snapshot(endpoint=FakeEndpoint(upstream)), client=client)
    x.start(forward(x))
    upstream.answer(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n", b"ok")
    assert client.calls[0][0] == "send"

`FakeClient` and `FakeUpstream` implement the protocols of `engine/sides.py`, `FakePool` and `FakeEndpoint` what steps 4
and 5 use of a service, and `FakeTransport` what a connection uses of asyncio. None of them needs an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, cast

import pytest

from propylon.engine.attempt import Attempt
from propylon.engine.body import Body
from propylon.engine.client_certificate import ClientCertificate
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.pipeline import PolicyUse, compile_pipeline
from propylon.engine.sides import Head
from propylon.engine.snapshot import CompiledRoute, Snapshot
from propylon.http.forwarded import ForwardingRules, Origin
from propylon.http.headers import Pair
from propylon.http.request_head import HeadRules, RequestFields
from propylon.http.request_reader import RequestReader
from propylon.http.response_head import ResponseHead
from propylon.http.trusted_proxies import TrustedProxies
from propylon.routing.router import Router, Rule
from propylon.services.balancing import Chance, round_robin
from propylon.services.breaker import Breaker
from propylon.services.service import Service
from propylon.services.settings import ServiceSettings
from propylon.services.vitals import Vitals
from propylon.transport.stream import TransportStream
from tests.support.frames import SWITCH

TOLD = b"x-forwarded-for: 192.0.2.1\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        """Take the place of `monotonic` in `modules`."""
        self.now = 1000.0
        for module in modules:
            monkeypatch.setattr(module, "monotonic", self)

    def __call__(self) -> float:
        return self.now


class FakeTransport:
    """Remembers what a connection does to it; a test that wants `pause_writing` calls it.

    What is written counts as unsent while it is `full`. As with a real one, nothing may be written behind `write_eof`,
    and what is written behind `close` is dropped.
    """

    def __init__(self) -> None:
        self.written = bytearray()
        self.protocol: Any = None
        self.full = False
        self.unsent = 0
        self.reading = True
        self.closing = self.aborted = self.eof = False
        self.high = 0
        self.extra: dict[str, Any] = {"peername": ("192.0.2.1", 50000), "sockname": ("192.0.2.9", 8080)}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.extra.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        if self.eof:
            raise RuntimeError("write behind write_eof")
        if not self.closing:
            self.written += data
            self.unsent += len(data) if self.full else 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data, self.written = bytes(self.written), bytearray()
        return data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing


class FakeClient:
    """The client side: a list of what it was told. With a `transport` it can become one end of a tunnel."""

    expects_continue = False

    def __init__(self) -> None:
        self.transport: FakeTransport | None = None
        self.early = b""
        self.stalled = self.ended = False
        self.calls: list[tuple[Any, ...]] = []
        self.sent_heads: list[Head] = []
        self.due = inf
        self.done: list[Exchange] = []
        self.holds: set[object] = set()
        self.on_write: Callable[[bytes], None] = lambda data: None
        self.client_certificate: ClientCertificate | None = None
        self.listener_id: str | None = None

    @property
    def body(self) -> bytes:
        """The body sent so far, of whole responses and of pieces."""
        return b"".join(call[-1] for call in self.calls if call[0] in ("send", "write_body"))

    @property
    def heads(self) -> list[tuple[int, bytes]]:
        """Status and block of every final response."""
        return [(call[1], call[2]) for call in self.calls if call[0] in ("send", "send_head")]

    @property
    def reasons(self) -> list[bytes | None]:
        """The reason phrase of every final response."""
        return [head.reason for head in self.sent_heads]

    @property
    def names(self) -> list[str]:
        """What was called, in order."""
        return [call[0] for call in self.calls]

    def origin(self, x: Exchange) -> Origin:
        return Origin(b"192.0.2.1", b"http", b"a.example", TOLD)

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        self.sent_heads.append(head)
        self.calls.append(("send", head.status, head.block + added, body))

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        self.sent_heads.append(head)
        self.calls.append(("send_head", head.status, head.block + added, length))

    def send_interim(self, head: Head) -> None:
        self.calls.append(("send_interim", head.status))

    def write_body(self, data: bytes) -> None:
        self.calls.append(("write_body", data))
        self.on_write(data)

    def end_body(self, trailers: list[Pair]) -> None:
        self.calls.append(("end_body", trailers))

    @property
    def reading(self) -> bool:
        """Whether nobody holds it."""
        return not self.holds

    def hold(self, owner: object) -> None:
        self.holds.add(owner)

    def release(self, owner: object) -> None:
        self.holds.discard(owner)

    def switch(self, head: Head, added: bytes) -> TransportStream | None:
        self.calls.append(("switch", head.status, head.block + added))
        return stream_of(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append(("connection_lost",))
        self.transport = None

    def abort(self) -> None:
        self.calls.append(("abort",))
        if self.transport is not None:
            self.transport.abort()

    def exchange_done(self, x: Exchange) -> None:
        self.done.append(x)


class FakeUpstream:
    """The endpoint's side of an attempt: remembers the request, and answers when a test says so."""

    def __init__(self, *, fresh: bool = True) -> None:
        self.head: ResponseHead | None = None
        self.body: bytes | Body = b""
        self.complete = self.heard = self.request_sent = self.usable = self.stalled = False
        self.error: GatewayError | None = None
        self.fresh = fresh
        self.transport: FakeTransport | None = None
        self.early = b""
        self.ended = False
        self.exchange: Exchange | None = None
        self.sent: list[tuple[Any, ...]] = []
        self.finished = 0
        self.holds: set[object] = set()
        self.on_send: Callable[[FakeUpstream], None] = lambda upstream: None
        self.on_finish: Callable[[], None] = lambda: None

    @property
    def line(self) -> bytes:
        """Method and path of the request."""
        return b"%b %b" % (self.sent[0][1], self.sent[0][3])

    @property
    def block(self) -> bytes:
        """The header section, with the authority as Host."""
        return b"host: %b\r\n%b%b" % (self.sent[0][2], self.sent[0][4], self.sent[0][5])

    @property
    def request_body(self) -> bytes:
        """The pieces of a body that followed its head."""
        return b"".join(call[1] for call in self.sent if call[0] == "write_body")

    def begin(self, x: Exchange) -> None:
        self.exchange = x

    def send(
        self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, body: bytes | None
    ) -> None:
        self.sent.append(("send", method, authority, path, block, added, body))
        self.request_sent = True
        self.on_send(self)

    def send_head(self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, length: int) -> None:
        self.sent.append(("send_head", method, authority, path, block, added, length))

    def write_body(self, data: bytes) -> None:
        self.sent.append(("write_body", data))

    def end_body(self, trailers: list[Pair]) -> None:
        self.sent.append(("end_body", trailers))
        self.request_sent = True

    def progressed(self) -> bool:
        """Everything is taken at once."""
        return False

    def finish(self) -> None:
        self.finished += 1
        self.on_finish()
        self.exchange = None
        if isinstance(self.body, Body):
            self.body.detach()
        if self.transport is not None:
            self.transport.abort()

    def switch(self) -> TransportStream | None:
        self.complete = True
        return stream_of(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None

    @property
    def held(self) -> bool:
        """Whether somebody holds it."""
        return bool(self.holds)

    paused = held

    def hold(self, owner: object) -> None:
        self.holds.add(owner)

    def release(self, owner: object) -> None:
        self.holds.discard(owner)

    def body_wanted(self) -> None:
        pass

    # what a test lets the endpoint do

    def answer(self, head: bytes = OK, body: bytes = b"") -> None:
        """Answer as a whole."""
        self.heard = self.complete = True
        self.head, self.body = ResponseHead(head), body
        self._notify()

    def open(self, head: bytes = SWITCH) -> None:
        """Answer a handshake with 101."""
        self.heard = True
        self.head = ResponseHead(head.removesuffix(b"\r\n"))
        self._notify()

    def begin_answer(self, head: bytes, body: bytes = b"") -> Body:
        """Answer with a head, and the first bytes of a body that is fed later."""
        self.heard = True
        stream = Body(self)
        if body:
            stream.feed(body)
        self.head, self.body = ResponseHead(head), stream
        self._notify()
        return stream

    def end_answer(self) -> None:
        """End what `begin_answer` began."""
        assert isinstance(self.body, Body)
        self.complete = True
        self.body.end([])
        self._notify()

    def fail(self, code: str) -> None:
        """Fail as a connection does."""
        self.error = GatewayError(code, log="10.0.0.7 said no")
        if isinstance(self.body, Body):
            self.body.fail(self.error)
        self._notify()

    def _notify(self) -> None:
        if self.exchange is not None:
            self.exchange.notify()


class FakeLease:
    """A claim that a test decides."""

    def __init__(self) -> None:
        self.upstream: FakeUpstream | None = None
        self.error: GatewayError | None = None
        self.withdrawn = False

    def withdraw(self) -> None:
        self.withdrawn = True


def stream_of(side: FakeClient | FakeUpstream) -> TransportStream | None:
    """What carries a WebSocket on the fake transport of a side; `None` if it has none."""
    if side.transport is None:
        return None
    transport, owner = cast("Any", side.transport), cast("Any", side)
    return TransportStream(transport, owner, side.early, stalled=side.stalled, ended=side.ended)


class FakePool:
    """Hands out `kept` upstreams by `take`, leases `new` ones; leaves a claim open while there is none."""

    def __init__(self, kept: Sequence[FakeUpstream], new: Sequence[FakeUpstream]) -> None:
        self.kept = list(kept)
        self.new = list(new)
        self.leases: list[FakeLease] = []
        self.refusal: GatewayError | None = None
        self.full = False

    def take(self, x: Any, now: float) -> FakeUpstream | None:
        return self.kept.pop() if self.kept else None

    @property
    def withdrawn(self) -> list[FakeLease]:
        """The claims that were given up."""
        return [lease for lease in self.leases if lease.withdrawn]

    def lease(self, x: Exchange) -> FakeLease:
        made = FakeLease()
        self.leases.append(made)
        made.error = self.refusal
        if self.new and self.refusal is None:
            made.upstream = self.new.pop(0)
        return made


class FakeEndpoint:
    """An endpoint whose pool is a `FakePool`."""

    def __init__(self, *new: FakeUpstream, kept: Sequence[FakeUpstream] = ()) -> None:
        self.url = "http://10.0.0.7:3001"
        self.authority = b"10.0.0.7:3001"
        self.base_path, self.root = b"", b"/"
        self.host: bytes | None = None
        self.weight = 1
        self.priority = 0
        self.zone: str | None = None
        self.breaker: Breaker | None = None
        self.vitals = Vitals(self.url)
        self.silent_until = 0.0
        self.pool = FakePool(kept, new)


def attempt_on(x: Exchange, upstream: Any) -> Attempt:
    """An attempt of `x` that has an upstream, and that nobody counts."""
    made = Attempt(x, None, FakeEndpoint())
    made.upstream = upstream
    return made


def fake_service(*endpoints: FakeEndpoint, **settings: Any) -> Service:
    """A service of fake endpoints, which are asked in turn; `settings` as in `ServiceSettings`."""
    chance = Chance(time.monotonic, lambda: 0.0)
    made = Service("fake", ServiceSettings(**settings), (), round_robin.Balancer(round_robin.Config(), chance), chance)
    made.endpoints = cast("Any", endpoints)
    made.refresh()
    return made


def snapshot(
    *policies: object,
    endpoint: FakeEndpoint | None = None,
    rule: dict[str, Any] | None = None,
    route: dict[str, Any] | None = None,
    **more: Any,
) -> Snapshot:
    """A snapshot of one route `/*` with `policies`; `rule`, `route`: further keys of the route's two halves."""
    uses = [each if isinstance(each, PolicyUse) else PolicyUse(f"p{n}", each) for n, each in enumerate(policies)]
    service = fake_service() if endpoint is None else fake_service(endpoint)
    compiled = CompiledRoute(
        **({"name": "all", "pipeline": compile_pipeline(uses), "service": service} | (route or {}))
    )
    rules = Rule(**({"route": compiled, "paths": ("/*",)} | (rule or {})))
    settings = {
        "router": Router([rules]),
        "routes": (compiled,),
        "services": {"fake": service},
        "outside": CompiledRoute("-"),
        "reader": RequestReader(HeadRules()),
        "forwarding": ForwardingRules(x_forwarded=True, standard=False, via=None, trusted=TrustedProxies([])),
    }
    return Snapshot(**(settings | more))


def exchange(
    made_of: Snapshot | None = None,
    *,
    client: Any = None,
    method: bytes = b"GET",
    path: bytes = b"/x",
    query: bytes | None = None,
    fields: bytes = b"host: a.example\r\n",
) -> Exchange:
    """An exchange at the moment its head has been read."""
    x = Exchange(client if client is not None else FakeClient(), made_of or snapshot(), method, path, query)
    x.fields = RequestFields(fields, HeadRules())
    x.host = x.fields.host
    x.id = b"id-1"
    return x
