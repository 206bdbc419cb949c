"""A request of the gateway's own: no client has sent it, and whoever has made it gets the answer.

    own = Subrequest(b"GET", b"/keys.json")
    own.headers.set("accept", "application/json")
    answer = await own.ask(service, timeout=5.0, limit=65536)

It is an exchange without a connection, so it takes the same way to an endpoint as every other: balancing, retries,
pools, TLS, timeouts. `ask` reads the whole answer. `open` returns with the head of it and the body follows as it comes,
both ways if the request has a body under way. `pass_route` lets the router and the policies have it first.

Rules of the file: whoever waits for the answer owns the request, and when the waiting Task is cancelled, the request
ends and leaves nothing behind; all of it is bounded in time; what goes wrong is a `GatewayError` like any other, whose
text is for the log. These requests are few beside those of clients, so each has a timer of its own instead of a place
in the worker's sweep.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from asyncio import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from propylon.engine.ask import ask
from propylon.engine.attempt import Attempt
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.retry import RetrySettings
from propylon.engine.snapshot import CompiledRoute, Snapshot
from propylon.engine.subrequest_client import OpenResponse, SubrequestClient
from propylon.http.forwarded import ForwardingRules, Origin, TrustedProxies
from propylon.http.headers import Headers
from propylon.http.request_head import HeadRules, RequestFields
from propylon.http.request_id import RequestIds
from propylon.http.request_reader import RequestReader
from propylon.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from propylon.engine.backend import Endpoint, Service
    from propylon.engine.sides import Upstream

    Way = Callable[[Exchange], Awaitable[Attempt]]

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

MAX_DEPTH: Final = 8
"""Requests through the router that are made for each other; nginx allows 50 in the other direction, in number."""

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


class Subrequest(SubrequestClient):
    """One request of the gateway's own. It is sent once."""

    __slots__ = ()

    def __init__(
        self,
        method: bytes,
        path: bytes,
        query: bytes | None = None,
        *,
        parent: Exchange | None = None,
    ) -> None:
        """Make a request, which is not sent yet.

        Args:
            path: canonical; the endpoint's base path is put in front.
            parent: the exchange for which it is made, if any: it belongs to the same configuration, and the service is
                told about the same client.
        """
        above = None if parent is None else parent.client
        depth = above.depth + 1 if isinstance(above, SubrequestClient) else 1
        super().__init__(NO_CLIENT if parent is None else parent.origin, depth)
        self.exchange = Exchange(self, NO_GATEWAY if parent is None else parent.snapshot, method, path, query)
        self.exchange.id = _new_id()

    @classmethod
    def of(cls, x: Exchange) -> Self:
        """Return a copy of an exchange's request as it is now, policies' changes included; its body is not in it.

        It takes the same path to whichever service it is sent to, rewritten as the route of `x` says, and is sent once.
        """
        own = cls(x.method, x.path, x.query, parent=x)
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
        """Send it to an endpoint of `service`, as the service's settings say, and read the answer.

        Args:
            timeout: seconds for all of it, to the end of the body.
            limit: bytes of the body that are read at the most; 0 if nobody wants it.

        Raises:
            GatewayError: choose.*, connect.*, attempt.*, head.*, relay.*.
        """
        return await self._read(await self.open(service, timeout=timeout), limit)

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

        async def once(x: Exchange) -> Attempt:
            made = x.attempt = Attempt(x, None, endpoint)
            made.upstream = connection
            while not made.advance():
                await x.pause()
            return made

        return await self._read(await self._begin(self._run(once), timeout), limit)

    async def open(self, service: Service, *, timeout: float | None) -> OpenResponse:
        """Send it to an endpoint of `service`; return with the head of the answer. `close` it when done.

        Args:
            timeout: seconds for all of it, to the end of the body; `None` for none but the usual ones.

        Raises:
            GatewayError: choose.*, connect.*, attempt.*, head.*.
        """
        self.exchange.service = service
        return await self._begin(self._run(ask), timeout)

    async def pass_route(self, *, timeout: float | None) -> OpenResponse:
        """Send it through the router and the policies of its snapshot, as if a client had sent it.

        Failures are answers here, as a client gets them. `close` it when done.

        Args:
            timeout: seconds for all of it, to the end of the body; `None` for none but the usual ones.

        Raises:
            GatewayError: attempt.total_timeout; relay.truncated if it ended without an answer; admit.loop for one that
                was made for one, and so on, more than `MAX_DEPTH` times.
        """
        if self.depth > MAX_DEPTH:
            raise GatewayError("admit.loop", log=f"{self!r} is made for itself")
        x = self.exchange
        if x.changed_request is not None:
            x.fields = RequestFields.of(self.headers.raw, x.snapshot.reader.rules)
            x.host = x.fields.host
        return await self._begin(forward(self.exchange), timeout)

    def close(self) -> None:
        """Take nothing more of the answer. What has ended is left as it is."""
        self.exchange.fail(GatewayError("relay.client_gone"))

    async def _begin(self, way: Coroutine[None, None, None], timeout: float | None) -> OpenResponse:
        x = self.exchange
        self._answer = asyncio.get_running_loop().create_future()
        x.started = monotonic()
        if timeout is not None:
            x.set_timeouts(total=timeout)  # retries go by it; behind the head it counts no more
            x.defer(asyncio.get_running_loop().call_later(timeout, self._expire).cancel)
        x.start(way)
        try:
            return await self._answer
        except BaseException:
            self.close()
            raise

    def _expire(self) -> None:
        self.exchange.fail(GatewayError("attempt.total_timeout"))

    async def _read(self, answer: OpenResponse, limit: int) -> SubrequestResponse:
        """Read a body up to a limit."""
        body, pieces, room = answer.body, [], limit
        try:
            while limit and room >= 0 and (data := await body.read()):
                pieces.append(data[:room])
                room -= len(data)
            whole = room >= 0 and body.ended and not body.held()
        finally:
            self.close()
        return SubrequestResponse(answer.status, answer.headers, b"".join(pieces), whole)

    async def _run(self, way: Way) -> None:
        """Carry the exchange: what `forward()` is for a request of a client, without router and policies."""
        x = self.exchange
        try:
            upstream = (await way(x)).upstream
            assert upstream is not None
            head, body = upstream.head, upstream.body
            assert head is not None
            x.status = head.status
            x.arm_relay(upstream)
            self._tell(head.status, Headers(head.visible), body if isinstance(body, Body) else Body.of(body))
            while not upstream.complete:
                if upstream.error is not None:
                    raise upstream.error
                await x.pause()
        except GatewayError as error:
            if x.attempt is not None:
                x.attempt.blame(error)
            x.error = error
        except (Exception, CancelledError):
            log.exception("a request of the gateway's own failed by a defect: %r", self)
            x.error = GatewayError("gateway.failed")
        finally:
            x.settle()
            x.body = None
