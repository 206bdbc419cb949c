"""The client's side of a subrequest (`Client`): it gets the response of the exchange."""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.http.headers import Headers, headers_of

if TYPE_CHECKING:
    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Head
    from propylon.http.forwarded import Origin
    from propylon.http.headers import Pair


class OpenResponse(NamedTuple):
    """A response whose body is under way.

    Attributes:
        status: 200 to 599.
        headers: its header section.
        body: to read, or to use as the body of a `Response`. The reader closes the subrequest.
    """

    status: int
    headers: Headers
    body: Body


class SubrequestClient:
    """Takes the response of one exchange, and delivers it to the waiting Task.

    Attributes:
        exchange: of the subrequest; body, route and path parameters may be set before it is sent.
        listener_id: the listener of the client for which it is made, so that it reaches no more routes than that.
        depth: the number of nested subrequests, this one included.
    """

    __slots__ = ("_answer", "_body", "_due", "_origin", "_timer", "depth", "exchange", "listener_id")

    exchange: Exchange
    expects_continue = False

    def __init__(self, origin: Origin, listener_id: str | None, depth: int) -> None:
        """`origin`: the client in the forwarding fields."""
        self._origin = origin
        self.listener_id = listener_id
        self.depth = depth
        self._due = inf
        self._timer: asyncio.TimerHandle | None = None
        self._answer: asyncio.Future[OpenResponse] | None = None
        self._body: Body | None = None

    def _deliver(self, status: int, headers: Headers, body: Body) -> None:
        """Deliver the response to the waiting Task."""
        self._body = body
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(OpenResponse(status, headers, body))

    @property
    def due(self) -> float:
        """Time of the exchange's next check (`time.monotonic`)."""
        return self._due

    @due.setter
    def due(self, when: float) -> None:
        self._due = when
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when < inf and not self.exchange.finished:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, when - monotonic()), self._check)

    def _check(self) -> None:
        self._timer = None
        self._due = inf
        self.exchange.check(monotonic())

    @property
    def protocol(self) -> str:
        """No protocol: there is no connection."""
        return "internal"

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """There is no client."""
        return None

    def origin(self, x: Exchange) -> Origin:
        """Return the client in the forwarding fields."""
        return self._origin

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        """Deliver a whole response."""
        self._deliver(head.status, headers_of(head.block + added), Body.of(body))

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        """Deliver the head of a response whose body follows."""
        self._deliver(head.status, headers_of(head.block + added), Body(ResponseSource(self.exchange), length))

    def send_interim(self, head: Head) -> None:
        """Ignore a 1xx response."""

    def write_body(self, data: bytes) -> None:
        """Feed a piece of the response's body."""
        assert self._body is not None
        self._body.feed(data)

    def end_body(self, trailers: list[Pair]) -> None:
        """End the response's body."""
        assert self._body is not None
        self._body.end(trailers)

    def hold(self, owner: object) -> None:
        """Hold a request body under way at its source."""
        if isinstance(self.exchange.body, Body):
            self.exchange.body.source.hold(owner)

    def release(self, owner: object) -> None:
        """Release a request body under way at its source."""
        if isinstance(self.exchange.body, Body):
            self.exchange.body.source.release(owner)

    def switch(self, head: Head, added: bytes) -> None:
        """Never called: a subrequest is no WebSocket."""

    def abort(self) -> None:
        """Fail the response's body, unless it has ended."""
        if self._body is not None and not self._body.ended:
            self._body.fail(self.exchange.error or GatewayError("relay.truncated"))

    def exchange_done(self, x: Exchange) -> None:
        """Fail the wait for a response, or the response's body, unless it has ended."""
        self.due = inf
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(x.error or GatewayError("relay.truncated"))
        else:
            self.abort()
        x.client = PastClient(self._origin, self.listener_id, self.depth)


class PastClient(SubrequestClient):
    """Replaces a subrequest as the client of its exchange when that is over.

    Otherwise the two form a reference cycle, which keeps the snapshot until the garbage collector runs: policies that a
    reload has removed would be closed no earlier.
    """

    __slots__ = ()

    @property
    def due(self) -> float:
        """Nothing has to be checked any more."""
        return inf

    @due.setter
    def due(self, when: float) -> None:
        """Take a deadline of what has just been given up."""


class ResponseSource:
    """The source of a subrequest's response body: that of the exchange's response (`BodySource`)."""

    __slots__ = ("_exchange",)

    def __init__(self, x: Exchange) -> None:
        self._exchange = x

    def hold(self, owner: object) -> None:
        """Hold the response's source."""
        if (source := self._exchange.response_source) is not None:
            source.hold(owner)

    def release(self, owner: object) -> None:
        """Release the response's source."""
        if (source := self._exchange.response_source) is not None:
            source.release(owner)

    def body_wanted(self) -> None:
        """Do nothing: a response is fed without request."""
