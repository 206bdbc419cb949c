"""A subrequest: a request of the gateway's own; the response goes to the code that made it.

    own = Subrequest(b"GET", b"/keys.json")
    own.headers.set("accept", "application/json")
    answer = await own.ask(service, timeout=5.0, limit=65536)

It is an exchange without a client connection, so it gets balancing, retries, pools, TLS and timeouts like any other.
`ask` reads the whole response. `open` returns at the response's head, and the body streams, both ways if the request
has a body under way. `pass_route` runs the router and the policies first.

Rules of the file: the Task that waits for the response owns the subrequest, and cancelling the Task ends it and
releases all it holds; it is bounded in time; a failure is a `GatewayError`, with its text for the log. Subrequests are
few beside requests of clients, so each has a timer of its own, apart from the worker's sweep.
"""

from __future__ import annotations

import asyncio
import random
import time
from asyncio import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from propylon.engine import lines
from propylon.engine.ask import ask
from propylon.engine.attempt import Attempt
from propylon.engine.body import Body
from propylon.engine.content import CODING, RESPONSE, limit_accepted
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.retry import RetrySettings
from propylon.engine.snapshot import CompiledRoute, Snapshot
from propylon.engine.subrequest_client import OpenResponse, SubrequestClient
from propylon.http.forwarded import ForwardingRules, Origin
from propylon.http.headers import Headers
from propylon.http.request_head import HeadRules, RequestFields
from propylon.http.request_id import RequestIds
from propylon.http.request_reader import RequestReader
from propylon.http.trusted_proxies import TrustedProxies
from propylon.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from propylon.engine.backend import Endpoint, Service
    from propylon.engine.sides import Upstream

    Sender = Callable[[Exchange], Awaitable[Attempt]]

NO_CLIENT: Final = Origin(b"", b"http", b"", b"")
"""The origin of a subrequest without a client: no forwarding fields."""

NO_GATEWAY: Final = Snapshot(
    router=Router([]),
    routes=(),
    services={},
    outside=CompiledRoute("-"),
    reader=RequestReader(HeadRules()),
    forwarding=ForwardingRules(x_forwarded=False, standard=False, via=None, trusted=TrustedProxies(())),
)
"""The snapshot of a subrequest that belongs to no configuration."""

ONCE: Final = RetrySettings(attempts=1)

MAX_DEPTH: Final = 8
"""Nesting of subrequests through the router; nginx bounds its subrequests at 50."""

_new_id: Final = RequestIds(time.time, random.Random().getrandbits)  # noqa: S311 - unique, not secret


class SubrequestResponse(NamedTuple):
    """The response of an endpoint.

    Attributes:
        status: 200 to 599.
        headers: its header section.
        body: up to the limit, decoded: its Content-Encoding is gone from `headers`.
        whole: whether the body is complete.
    """

    status: int
    headers: Headers
    body: bytes
    whole: bool


class Subrequest(SubrequestClient):
    """One request of the gateway's own. It can be sent once."""

    __slots__ = ()

    def __init__(
        self,
        method: bytes,
        path: bytes,
        query: bytes | None = None,
        *,
        parent: Exchange | None = None,
    ) -> None:
        """Make a subrequest, which is not sent yet.

        Args:
            path: canonical; the endpoint's base path is put in front.
            parent: the exchange for which it is made, if any: it has the same snapshot, and the same client in its
                forwarding fields.
        """
        above = None if parent is None else parent.client
        depth = above.depth + 1 if isinstance(above, SubrequestClient) else 1
        super().__init__(
            NO_CLIENT if parent is None else parent.origin, None if above is None else above.listener_id, depth
        )
        self.exchange = Exchange(self, NO_GATEWAY if parent is None else parent.snapshot, method, path, query)
        self.exchange.id = _new_id()

    @classmethod
    def of(cls, x: Exchange) -> Self:
        """Return a copy of an exchange's current request, with policies' changes, without its body.

        Its path is rewritten by the route of `x`, for any service; it is not retried.
        """
        own = cls(x.method, x.path, x.query, parent=x)
        copy, route, seen = own.exchange, x.route, x.changed_request
        copy.id, copy.fields, copy.host = x.id, x.fields, x.host
        copy.path_params, copy.path_rest, copy.rewritten = x.path_params, x.path_rest, x.rewritten
        copy.route = CompiledRoute(
            route.name,
            captures=route.captures,
            rewrite=route.rewrite,
            stripped=route.stripped,
            query_edit=route.query_edit,
            retry=ONCE,
        )
        if seen is not None and seen.headers.changed:
            own.headers.raw = list(seen.headers.raw)
        return own

    def __repr__(self) -> str:
        x = self.exchange
        return f"<Subrequest {x.method.decode('latin-1')} {x.path.decode('latin-1')}>"

    @property
    def headers(self) -> Headers:
        """The header section to send, Host included."""
        return self.exchange.request.headers

    async def ask(self, service: Service, *, timeout: float, limit: int) -> SubrequestResponse:
        """Send it to an endpoint of `service`, by the service's settings, and read the response.

        Args:
            timeout: seconds for the whole subrequest, to the end of the body.
            limit: most bytes of the body to read; 0 reads none.

        Raises:
            GatewayError: choose.*, connect.*, attempt.*, head.*, relay.*, response.undecodable.
        """
        limit_accepted(self.headers)
        return await self._read(await self.open(service, timeout=timeout), limit)

    async def ask_on(
        self, connection: Upstream, endpoint: Endpoint, *, timeout: float, limit: int
    ) -> SubrequestResponse:
        """Send it on a given connection: without balancing, retries and counts.

        Args:
            connection: open; finished after the response.
            endpoint: gives authority, Host and base path of the request.
            timeout, limit: as for `ask`.

        Raises:
            GatewayError: attempt.*, head.*, relay.*.
        """

        async def once(x: Exchange) -> Attempt:
            attempt = x.attempt = Attempt(x, None, endpoint)
            attempt.upstream = connection
            while not attempt.advance():
                await x.pause()
            return attempt

        return await self._read(await self._begin(self._run(once), timeout), limit)

    async def open(self, service: Service, *, timeout: float | None) -> OpenResponse:
        """Send it to an endpoint of `service`; return at the response's head. Call `close` when done.

        Args:
            timeout: seconds for the whole subrequest, to the end of the body; `None` for only the usual timeouts.

        Raises:
            GatewayError: choose.*, connect.*, attempt.*, head.*.
        """
        self.exchange.service = service
        return await self._begin(self._run(ask), timeout)

    async def pass_route(self, *, timeout: float | None) -> OpenResponse:
        """Send it through the router and the policies of its snapshot, like a client's request.

        Failures become error responses, as for a client. Call `close` when done.

        Args:
            timeout: seconds for the whole subrequest, to the end of the body; `None` for only the usual timeouts.

        Raises:
            GatewayError: attempt.total_timeout; relay.truncated if it ended without a response; admit.loop for one
                nested deeper than `MAX_DEPTH`.
        """
        if self.depth > MAX_DEPTH:
            raise GatewayError("admit.loop", log=f"{self!r} is made for itself")
        x = self.exchange
        if x.changed_request is not None:
            x.fields = RequestFields.of(self.headers.raw, x.snapshot.reader.rules)
            x.host = x.fields.host
        return await self._begin(forward(self.exchange), timeout)

    def close(self) -> None:
        """Discard the rest of the response; does nothing after its end."""
        self.exchange.fail(GatewayError("relay.client_gone"))

    async def _begin(self, coroutine: Coroutine[None, None, None], timeout: float | None) -> OpenResponse:
        x = self.exchange
        self._answer = asyncio.get_running_loop().create_future()
        x.started = monotonic()
        if timeout is not None:
            x.set_timeouts(total=timeout)  # bounds retries; the exchange drops it at the response's head
            x.defer(asyncio.get_running_loop().call_later(timeout, self._expire).cancel)
        x.start(coroutine)
        try:
            return await self._answer
        except BaseException:
            self.close()
            raise

    def _expire(self) -> None:
        self.exchange.fail(GatewayError("attempt.total_timeout"))

    async def _read(self, answer: OpenResponse, limit: int) -> SubrequestResponse:
        """Read a body up to a limit, decoded."""
        body, pieces, room = answer.body, [], limit
        try:
            decoder = RESPONSE.decoder(answer.headers) if limit else None
            while limit and room >= 0 and (data := await body.read()):
                for piece in RESPONSE.pieces(decoder, data):
                    pieces.append(piece[:room])
                    room -= len(piece)
                    if room < 0:
                        break
            whole = room >= 0 and body.ended and not body.held()
            if whole:
                RESPONSE.end(decoder)
        finally:
            self.close()
        if decoder is not None:
            answer.headers.remove(CODING)
        return SubrequestResponse(answer.status, answer.headers, b"".join(pieces), whole)

    async def _run(self, send: Sender) -> None:
        """Carry the exchange, in place of `forward()`: without router and policies."""
        x = self.exchange
        try:
            upstream = (await send(x)).upstream
            assert upstream is not None
            head, body = upstream.head, upstream.body
            assert head is not None
            x.status = head.status
            x.arm_relay(upstream)
            self._deliver(head.status, Headers(head.visible), body if isinstance(body, Body) else Body.of(body))
            while not upstream.complete:
                if upstream.error is not None:
                    raise upstream.error
                await x.pause()
        except GatewayError as error:
            if x.attempt is not None:
                x.attempt.blame(error)
            x.error = error
        except (Exception, CancelledError):
            lines.defect(x, "a request of the gateway's own failed by a defect")
            x.error = GatewayError("gateway.failed")
        finally:
            x.settle()
            x.body = None
