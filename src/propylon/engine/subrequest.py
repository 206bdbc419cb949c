"""A request of the gateway's own: no client has sent it, and whoever has made it gets the answer.

    own = Subrequest(b"GET", b"/keys.json")
    own.headers.set("accept", "application/json")
    answer = await own.ask(service, timeout=5.0, limit=65536)

It is an exchange without a connection, so it takes the same way to an endpoint as every other: balancing, retries,
pools, TLS, timeouts. Rules of the file: whoever waits for the answer owns the request, and when the waiting Task is
cancelled, the request ends and leaves nothing behind; all of it is bounded in time and in size; what goes wrong is a
`GatewayError` like any other, whose text is for the log. These requests are few beside those of clients, so each has
a timer of its own instead of a place in the worker's sweep.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from asyncio import CancelledError
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from propylon.engine.attempt import attempt, give_up
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.request_out import send_request
from propylon.engine.retry import RetrySettings
from propylon.engine.snapshot import CompiledRoute, Snapshot
from propylon.http.forwarded import ForwardingRules, Origin, TrustedProxies
from propylon.http.headers import Headers
from propylon.http.request_head import HeadRules
from propylon.http.request_id import RequestIds
from propylon.http.request_reader import RequestReader
from propylon.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.sides import Head, Upstream
    from propylon.http.headers import Pair
    from propylon.http.response_head import ResponseHead
    from propylon.services.endpoint import Endpoint
    from propylon.services.service import Service

    Way = Callable[[Exchange], Awaitable[Upstream]]

NO_CLIENT: Final = Origin(b"", b"http", b"", b"")
"""Where a request comes from that nobody has sent: a service is told about no client."""

NO_GATEWAY: Final = Snapshot(
    router=Router([]),
    routes=(),
    services={},
    outside=CompiledRoute("-"),
    reader=RequestReader(HeadRules()),
    forwarding=ForwardingRules(x_forwarded=False, standard=False, via=None, trusted=TrustedProxies(())),
)
"""What a request runs on that has to do with no configuration."""

ONCE: Final = RetrySettings(attempts=1)

_new_id: Final = RequestIds(time.time, random.Random().getrandbits)  # noqa: S311 - they are unique, not secret

log = logging.getLogger("propylon.engine")


class SubrequestResponse(NamedTuple):
    """What an endpoint has answered.

    Attributes:
        status: 200 to 599.
        headers: its header section.
        body: as much of it as was asked for.
        whole: whether that is all of it.
    """

    status: int
    headers: Headers
    body: bytes
    whole: bool


class Subrequest:
    """One request and, for its exchange, the client's side (`Client`). It is sent once.

    Attributes:
        exchange: what carries it; body, route and path parameters may be set before it is sent.
    """

    __slots__ = ("_body", "_done", "_due", "_error", "_head", "_origin", "_room", "_timer", "_whole", "exchange")

    def __init__(
        self,
        method: bytes,
        path: bytes,
        query: bytes | None = None,
        *,
        snapshot: Snapshot = NO_GATEWAY,
        origin: Origin = NO_CLIENT,
    ) -> None:
        """Make a request, which is not sent yet.

        Args:
            path: canonical; the endpoint's base path is put in front.
            snapshot: the configuration that it belongs to, if any.
            origin: what the service is told about a client.
        """
        self.exchange = Exchange(self, snapshot, method, path, query)
        self.exchange.id = _new_id()
        self._origin = origin
        self._due = inf
        self._timer: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[None] | None = None
        self._head: ResponseHead | None = None
        self._body = bytearray()
        self._room = 0
        self._whole = False
        self._error: GatewayError | None = None

    @classmethod
    def of(cls, x: Exchange) -> Self:
        """Return a copy of an exchange's request as it is now, policies' changes included; its body is not in it.

        It takes the same path to whichever service it is sent to, rewritten as the route of `x` says, and is sent once.
        """
        own = cls(x.method, x.path, x.query, snapshot=x.snapshot, origin=x.origin)
        copy, route, seen = own.exchange, x.route, x.changed_request
        copy.id, copy.fields, copy.host = x.id, x.fields, x.host
        copy.path_params, copy.path_rest, copy.rewritten = x.path_params, x.path_rest, x.rewritten
        copy.route = CompiledRoute(route.name, rewrite=route.rewrite, query_edit=route.query_edit, retry=ONCE)
        if seen is not None and seen.headers.changed:
            own.headers.raw = list(seen.headers.raw)
        return own

    def __repr__(self) -> str:
        x = self.exchange
        return f"<Subrequest {x.method.decode('latin-1')} {x.path.decode('latin-1')}>"

    @property
    def headers(self) -> Headers:
        """The header section; what is set here is sent, Host included."""
        return self.exchange.request.headers

    async def ask(self, service: Service, *, timeout: float, limit: int) -> SubrequestResponse:
        """Send it to an endpoint of `service`, as the service's settings say.

        Args:
            timeout: seconds for all of it, to the end of the body.
            limit: bytes of the body that are read at the most; 0 if nobody wants it.

        Raises:
            GatewayError: choose.*, connect.*, attempt.*, head.*, relay.*.
        """
        self.exchange.service = service
        return await self._carry(attempt, timeout, limit)

    async def ask_on(
        self, connection: Upstream, endpoint: Endpoint, *, timeout: float, limit: int
    ) -> SubrequestResponse:
        """Send it on one connection, beside all balancing: nothing is counted, and nothing is tried twice.

        Args:
            connection: open, and given up behind the answer.
            endpoint: how requests to it are written.
            timeout, limit: as for `ask`.

        Raises:
            GatewayError: attempt.*, head.*, relay.*.
        """

        async def once(x: Exchange) -> Upstream:
            x.upstream = connection
            connection.begin(x)
            if connection.error is None:
                send_request(x, endpoint, connection, None)
            while connection.head is None and connection.error is None:
                await x.pause()
            if connection.error is not None:
                raise connection.error
            return connection

        return await self._carry(once, timeout, limit)

    async def _carry(self, way: Way, timeout: float, limit: int) -> SubrequestResponse:
        x = self.exchange
        self._done = asyncio.get_running_loop().create_future()
        x.started = monotonic()
        x.set_timeouts(total=timeout)
        x.start(self._run(way, x.total_deadline, limit))
        try:
            await self._done
        finally:
            x.fail(GatewayError("relay.client_gone"))  # who waited was cancelled; a request that is over is not touched
        if self._error is not None:
            raise self._error
        head = self._head
        assert head is not None
        return SubrequestResponse(head.status, Headers(head.visible), bytes(self._body), self._whole)

    async def _run(self, way: Way, deadline: float, limit: int) -> None:
        """Carry the exchange: what `forward()` is for a request of a client."""
        x = self.exchange
        self._error = GatewayError("gateway.failed")
        try:
            upstream = await way(x)
            self._head = upstream.head
            x.total_deadline = deadline  # with the head the way of a client's request is over, and its time unlimited
            await self._read(upstream, limit)
            self._error = None
        except GatewayError as error:
            if x.attempt is not None:
                x.attempt.blame(error)
            self._error = error
        except (Exception, CancelledError):
            log.exception("a request of the gateway's own failed by a defect: %r", self)
        finally:
            give_up(x)
            x.close()
            x.body = None

    async def _read(self, upstream: Upstream, limit: int) -> None:
        x = self.exchange
        self._room = limit
        if not isinstance(upstream.body, Body):
            self.write_body(upstream.body)
        elif limit:
            x.arm(x.timeouts.idle, "relay.idle_timeout")
            upstream.body.pipe(self)
            while not upstream.complete and self._room >= 0:
                if upstream.error is not None:
                    raise upstream.error
                await x.pause()
        self._whole = upstream.complete and self._room >= 0

    # the client's side

    @property
    def due(self) -> float:
        """When the exchange has to be checked (`time.monotonic`)."""
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
    def client_certificate(self) -> ClientCertificate | None:
        """There is no client."""
        return None

    def origin(self, x: Exchange) -> Origin:
        """Tell what the service is told about a client."""
        return self._origin

    def write_body(self, data: bytes) -> None:
        """Take a piece of the answer's body; what exceeds the limit ends the request."""
        if self._room > 0:
            self._body += data[: self._room]
        self._room -= len(data)
        if self._room < 0:
            self.exchange.notify()

    def end_body(self, trailers: list[Pair]) -> None:
        """Take the end of the answer's body."""

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        """Nobody is answered."""

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        """Nobody is answered."""

    def send_interim(self, head: Head) -> None:
        """Nobody is told that the endpoint is still at it."""

    def hold(self, owner: object) -> None:
        """The whole body is there already."""

    def release(self, owner: object) -> None:
        """The whole body is there already."""

    def switch(self, head: Head, added: bytes) -> None:
        """It never asks for another protocol."""

    def abort(self) -> None:
        """There is no connection."""

    def exchange_done(self, x: Exchange) -> None:
        """Hand the answer over."""
        self.due = inf
        if self._done is not None and not self._done.done():
            self._done.set_result(None)
