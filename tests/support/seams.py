"""Other implementations of what the engine stands on (`engine/backend.py`, `engine/sides.py`), as small as they can be.

A `FunctionService` is a function that says where a request goes. An upstream here is a `Stream`: one of several on a
`SharedConnection`, as in HTTP/2. A stream ends and the connection stays; when the connection goes, so do all streams.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from propylon.engine import backend
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.retry import RetrySettings
from propylon.engine.sides import Upstream
from propylon.http.headers import Pair
from propylon.http.response_head import ResponseHead


class SharedConnection:
    """A connection on which `room` exchanges have a stream each.

    Attributes:
        streams: those under way, by their number.
        begun: all there have ever been.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.open = True
        self.streams: dict[int, Stream] = {}
        self.begun: list[Stream] = []
        self.waiting: list[StreamLease] = []

    def stream(self) -> Stream:
        made = Stream(self, len(self.begun))
        self.begun.append(made)
        self.streams[made.number] = made
        return made

    def ended(self, stream: Stream) -> None:
        """One stream is over; the connection serves the others, and the next that waits."""
        if self.streams.pop(stream.number, None) is not None and self.waiting and self.open:
            self.waiting.pop(0).grant(self.stream())

    def lose(self) -> None:
        """The connection breaks: every stream of it has failed."""
        self.open = False
        for stream in list(self.streams.values()):
            stream.fail("attempt.closed")


class Stream:
    """One exchange's part of a shared connection: all that the engine sees of it."""

    fresh = True
    stalled = held = False

    def __init__(self, connection: SharedConnection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.exchange: Exchange | None = None
        self.head: ResponseHead | None = None
        self.body: bytes | Body = b""
        self.error: GatewayError | None = None
        self.complete = self.heard = self.request_sent = False
        self.request: list[Any] = []
        self.received = b""

    def begin(self, x: Exchange) -> None:
        self.exchange = x
        if not self.connection.open:
            self.error = GatewayError("attempt.closed")

    def send(
        self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, body: bytes | None
    ) -> None:
        self.request = [method, authority, path]
        self.received = body or b""
        self.request_sent = True

    def send_head(self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, length: int) -> None:
        self.request = [method, authority, path]

    def write_body(self, data: bytes) -> None:
        self.received += data

    def end_body(self, trailers: list[Pair]) -> None:
        self.request_sent = True

    def switch(self) -> None:
        return None

    def progressed(self) -> bool:
        return True

    def finish(self) -> None:
        self.exchange = None
        if isinstance(self.body, Body):
            self.body.detach()
        self.connection.ended(self)

    def hold(self, owner: object) -> None:
        pass

    def release(self, owner: object) -> None:
        pass

    def body_wanted(self) -> None:
        pass

    # what a test lets the endpoint do

    def answer(self, head: bytes, body: bytes = b"") -> None:
        self.heard = self.complete = True
        self.head, self.body = ResponseHead(head), body
        self._tell()

    def begin_answer(self, head: bytes) -> Body:
        self.heard = True
        self.head, self.body = ResponseHead(head), Body(self)
        self._tell()
        return self.body

    def end_answer(self) -> None:
        assert isinstance(self.body, Body)
        self.complete = True
        self.body.end([])
        self._tell()

    def fail(self, code: str) -> None:
        self.error = GatewayError(code)
        if isinstance(self.body, Body):
            self.body.fail(self.error)
        self._tell()

    def _tell(self) -> None:
        if self.exchange is not None:
            self.exchange.notify()


class StreamLease:
    """A claim to a stream, for when another one ends."""

    def __init__(self, x: Exchange, connection: SharedConnection) -> None:
        self.upstream: Stream | None = None
        self.error: GatewayError | None = None
        self._exchange = x
        self._connection = connection
        if connection.open:
            connection.waiting.append(self)
        else:
            self.error = GatewayError("connect.refused")

    def grant(self, stream: Stream) -> None:
        self.upstream = stream
        self._exchange.notify()

    def withdraw(self) -> None:
        if self in self._connection.waiting:
            self._connection.waiting.remove(self)
        if self.upstream is not None:
            self._connection.ended(self.upstream)


class Streams:
    """The pool of an endpoint that has one connection."""

    def __init__(self, connection: SharedConnection) -> None:
        self.connection = connection

    @property
    def full(self) -> bool:
        return len(self.connection.streams) >= self.connection.room

    def take(self, x: Exchange, now: float) -> Stream | None:
        return None if self.full or not self.connection.open else self.connection.stream()

    def lease(self, x: Exchange) -> StreamLease:
        return StreamLease(x, self.connection)


class Load:
    """How busy an endpoint is, and nothing else."""

    def __init__(self) -> None:
        self.inflight = 0


class StreamEndpoint:
    """An endpoint with one connection, which `room` exchanges share."""

    base_path, root = b"", b"/"
    host: bytes | None = None
    silent_until = 0.0

    def __init__(self, name: str, room: int = 8) -> None:
        self.url = f"h2://{name}"
        self.authority = name.encode("ascii")
        self.connection = SharedConnection(room)
        self.pool = Streams(self.connection)
        self.vitals = Load()

    @property
    def streams(self) -> list[Stream]:
        return self.connection.begun


class Unlimited:
    """A budget that never ends."""

    def deposit(self, now: float) -> None:
        pass

    def withdraw(self, now: float) -> bool:
        return True


class FunctionService:
    """A service that is a function: of the exchange and of the endpoints that it should not choose, to an endpoint.

    Attributes:
        told: what it was told of attempts: the kind, the URL of the endpoint, and a status.
    """

    name = "function"
    only = concurrency = hedge_delay = affinity = None
    breaks = True

    def __init__(self, choose: Callable[[Exchange, Collection[Any]], StreamEndpoint], *all_of: StreamEndpoint) -> None:
        self.choose = choose
        self.endpoints = all_of
        self.retry = RetrySettings()
        self.budget = Unlimited()
        self.told: list[tuple[Any, ...]] = []

    @property
    def current(self) -> FunctionService:
        return self

    def random(self) -> float:
        return 0.0

    def endpoint(self, url: str) -> StreamEndpoint:
        return next(each for each in self.endpoints if each.url == url)

    def has_other(self, avoid: Collection[Any]) -> bool:
        return any(each not in avoid for each in self.endpoints)

    def begin(self, attempt: Any, now: float) -> None:
        self.told.append(("begin", attempt.endpoint.url))

    def answered(self, attempt: Any, status: int, now: float) -> None:
        self.told.append(("answered", attempt.endpoint.url, status))

    def outrun(self, attempt: Any, now: float) -> None:
        self.told.append(("outrun", attempt.endpoint.url))

    def failed(self, attempt: Any, code: str, now: float) -> None:
        self.told.append(("failed", attempt.endpoint.url))

    def inconclusive(self, attempt: Any, now: float) -> None:
        self.told.append(("inconclusive", attempt.endpoint.url))


def first_of(*endpoints: StreamEndpoint) -> FunctionService:
    """A service that goes to the first endpoint that it should not avoid."""

    def choose(x: Exchange, avoid: Iterable[Any]) -> StreamEndpoint:
        return next((each for each in endpoints if each not in avoid), endpoints[0])

    return FunctionService(choose, *endpoints)


def typed(
    service: FunctionService, endpoint: StreamEndpoint, stream: Stream, lease: StreamLease
) -> tuple[backend.Service, backend.Endpoint, backend.Pool, Upstream, backend.Lease]:
    """What the type checker is asked: are these the engine's Protocols?"""
    return service, endpoint, endpoint.pool, stream, lease
