"""The service side of an exchange, in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from math import inf
from typing import TYPE_CHECKING, cast

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.response import Response
from propylon.engine.sides import UNKNOWN
from propylon.http.fields import CONNECTION_BOUND
from propylon.http.headers import headers_of
from propylon.http.refusal import Refusal
from propylon.http.response_head import ResponseHead
from propylon.outbound.connect import ConnectError
from propylon.outbound.pool import Pool, PoolLimits
from propylon.services.discovery import EndpointSpec
from propylon.testing.client_side import MemoryClient
from propylon.testing.flow import Flow
from propylon.testing.messages import Handler, ServiceDown, ServiceRequest, StreamedResponse

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.snapshot import Snapshot
    from propylon.http.headers import Pair
    from propylon.outbound.http1 import EndpointConnection
    from propylon.services.endpoint import Endpoint


class MemoryUpstream(Flow):
    """One connection to a service in memory (`Upstream`); it serves one exchange only."""

    fresh = True

    def __init__(self, target: tuple[str, str], handler: Handler, pool: Pool) -> None:
        super().__init__()
        self._target, self._handler, self._pool = target, handler, pool
        self._exchange: Exchange | None = None
        self._head_sent: tuple[bytes, bytes, bytes] = (b"", b"", b"")
        self._body_sent = bytearray()
        self._task: asyncio.Task[None] | None = None
        self.head: ResponseHead | None = None
        self.body: bytes | Body = b""
        self.error: GatewayError | None = None
        self.complete = self.request_sent = self.heard = self.stalled = False
        self.usable = True
        self.idle_since = 0.0
        self.retire_at = inf

    def begin(self, x: Exchange) -> None:
        """Begin an exchange."""
        self._exchange = x

    def send(
        self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, body: bytes | None
    ) -> None:
        """Serve a complete request."""
        self.request_sent = True
        framing = b"content-length: %d\r\n" % len(body) if body is not None else b""
        self._serve(method, path, b"host: %b\r\n%b%b%b" % (authority, block, added, framing), body or b"")

    def send_head(self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, length: int) -> None:
        """Record the head of a request."""
        framing = b"transfer-encoding: chunked\r\n" if length == UNKNOWN else b"content-length: %d\r\n" % length
        self._head_sent = (method, path, b"host: %b\r\n%b%b%b" % (authority, block, added, framing))

    def write_body(self, data: bytes) -> None:
        """Record a piece of the body."""
        self._body_sent += data

    def end_body(self, trailers: list[Pair]) -> None:
        """Record the end of the body, and serve the request."""
        self.request_sent = True
        x = self._exchange
        if x is not None:
            x.arm(x.timeouts.response, "head.timeout")
        self._serve(*self._head_sent, bytes(self._body_sent))

    def switch(self) -> None:
        """Do nothing: services in memory send no 101."""

    def progressed(self) -> bool:
        """Return False: no bytes are ever unsent."""
        return False

    def finish(self) -> None:
        """End the exchange."""
        self._exchange = None
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self.usable:
            self.usable = False
            if self._task is not None:
                self._task.cancel()
            self._pool.lost(cast("EndpointConnection", self))

    def _serve(self, method: bytes, target: bytes, block: bytes, body: bytes) -> None:
        path, mark, query = target.decode("latin-1").partition("?")
        request = ServiceRequest(
            *self._target, method.decode("latin-1"), path, query if mark else None, headers_of(block), body
        )
        x = self._exchange
        if x is not None:
            if isinstance(x.client, MemoryClient):  # and not of a subrequest
                x.client.sent.append(request)
            self._task = asyncio.create_task(self._answer(x, request), name="propylon service in memory")

    async def _answer(self, x: Exchange, request: ServiceRequest) -> None:
        try:
            reply = self._handler(request) if callable(self._handler) else self._handler
            if isinstance(reply, Awaitable):
                reply = await reply
            if isinstance(reply, ServiceDown):
                raise reply
            await self._respond(x, reply, request.method.encode("latin-1"))
        except ServiceDown as down:
            self.error = GatewayError(down.code)
        except Refusal as refusal:
            self.error = GatewayError(refusal.code, log=refusal.detail)
        except Exception as error:
            if isinstance(x.client, MemoryClient):
                x.client.defect = error
            self.error = GatewayError("attempt.closed")
        x.notify()

    async def _respond(self, x: Exchange, response: Response, method: bytes) -> None:
        fields = [pair for pair in response.headers.raw if pair[0].lower() not in CONNECTION_BOUND]
        pieces = response.pieces if isinstance(response, StreamedResponse) else None
        content = await response.body()
        if pieces is not None:
            fields.append((b"transfer-encoding", b"chunked"))
        elif response.status not in (204, 304) and "content-length" not in response.headers:
            fields.append((b"content-length", b"%d" % len(content)))
        head = ResponseHead.of(response.status, fields)
        self.heard = True
        if pieces is None or not head.has_body(method):
            self.body = content if head.has_body(method) else b""
            self.complete, self.head = True, head
            return
        body = self.body = Body(self)
        self.head = head
        x.notify()
        for piece in filter(None, pieces):
            await self.flows()
            body.feed(piece)
            await asyncio.sleep(0)  # so that the pieces are not joined
        if isinstance(response, StreamedResponse) and response.truncated:
            self.error = GatewayError("relay.truncated")
            body.fail(self.error)
        else:
            self.complete = True
            body.end([])


def put_services(snapshot: Snapshot, services: Mapping[str, Handler]) -> None:
    """Give every endpoint a pool of connections to its handler, without discovery of endpoints."""
    for service in snapshot.services.values():
        if not service.endpoints:
            service.apply((EndpointSpec(f"http://{_host_of(service.name)}.test"),))
    endpoints = [(name, endpoint) for name, service in snapshot.services.items() for endpoint in service.endpoints]
    known = {name for name, _ in endpoints} | {endpoint.url for _, endpoint in endpoints}
    if unknown := set(services) - known:
        raise ValueError(f"the gateway has no service {sorted(unknown)}, only {sorted(known)}")
    for name, endpoint in endpoints:
        _put(endpoint, name, services.get(endpoint.url) or services.get(name) or _echo)


def _host_of(service: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-") or "service"


def _put(endpoint: Endpoint, service: str, handler: Handler) -> None:
    async def open_connection(pool: Pool, timeout: float | None) -> EndpointConnection:
        if isinstance(handler, ServiceDown) and handler.code.startswith("connect."):
            raise ConnectError(handler.code, f"{endpoint.url} is down")
        return cast("EndpointConnection", MemoryUpstream((service, endpoint.url), handler, pool))

    endpoint.pool = Pool(PoolLimits(), open_connection)


def _echo(request: ServiceRequest) -> Response:
    """Return the request as JSON."""
    return Response(
        200,
        json={
            "service": request.service,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": list(request.headers.items()),
            "body": request.body.decode("utf-8", "replace"),
        },
    )
