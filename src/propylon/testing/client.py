"""The test client: requests in, answers out."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Unpack

import orjson

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.http.refusal import Refusal
from propylon.runtime.core import Core
from propylon.testing.client_side import MemoryClient
from propylon.testing.messages import Answer, Handler, RequestOptions, fields_of
from propylon.testing.service_side import put_services

if TYPE_CHECKING:
    from propylon.gateway import Gateway
    from propylon.http.headers import Pair


class TestClient:
    """Sends requests through a gateway and shows both ends. Use one within one thread."""

    __test__ = False  # pytest would take it for a class of tests

    def __init__(
        self,
        gateway: Gateway,
        services: Mapping[str, Handler] | None = None,
        *,
        host: str = "gateway.test",
        scheme: str = "http",
        client: str = "127.0.0.1",
    ) -> None:
        """Compile the gateway; from now on its configuration is complete.

        Args:
            services: what stands for each service.
            host: the Host field of requests that bring none.
            scheme: `http` or `https`, as if the listener had TLS.
            client: the address requests come from.

        Raises:
            ConfigError, BuildError: the configuration is wrong.
            ValueError: a service that the gateway does not have.
        """
        snapshot = gateway.compiled()
        self._core = Core(snapshot)
        self._core.take(snapshot)
        self._host, self._scheme, self._client = host, scheme, client
        self._loop: asyncio.AbstractEventLoop | None = None
        put_services(snapshot, services or {})

    def request(self, method: str, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a request and wait for the end of its exchange, async `on_done` hooks included.

        Raises:
            RuntimeError: an event loop runs already; use `request_async`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("an event loop runs here: use `await client.request_async(...)`")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()  # one for all requests: policies may keep what is bound to it
            weakref.finalize(self, self._loop.close)
        return self._loop.run_until_complete(self.request_async(method, target, **options))

    def get(self, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a GET; see `request`."""
        return self.request("GET", target, **options)

    def head(self, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a HEAD; see `request`."""
        return self.request("HEAD", target, **options)

    def post(self, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a POST; see `request`."""
        return self.request("POST", target, **options)

    def put(self, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a PUT; see `request`."""
        return self.request("PUT", target, **options)

    def patch(self, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a PATCH; see `request`."""
        return self.request("PATCH", target, **options)

    def delete(self, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a DELETE; see `request`."""
        return self.request("DELETE", target, **options)

    def options(self, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send an OPTIONS; see `request`."""
        return self.request("OPTIONS", target, **options)

    async def request_async(self, method: str, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a request from within a running event loop; many may be under way at once."""
        headers, body = _message(options, self._host)
        self._core.directory.sweep(monotonic())  # and no health check: nothing listens at these addresses
        client = MemoryClient(options.get("client", self._client), self._scheme, options.get("client_certificate"))
        pieces: Iterable[bytes] = ()
        try:
            x = client.begin(self._core, method, target, headers)
        except Refusal as refusal:
            x = self._core.refused(client, GatewayError(refusal.code, refusal.detail))
        else:
            if isinstance(body, bytes):
                x.body = body
            elif body is not None:
                x.body, pieces = Body(client), body
        await client.carry(x, pieces)
        if client.defect is not None:
            raise client.defect
        return Answer(x.status, fields_of(client.block), bytes(client.received), client.complete, x, client.sent)


def _message(options: RequestOptions, host: str) -> tuple[list[Pair], bytes | Iterable[bytes] | None]:
    """Make the header section and the body of a request, with framing fields unless they are given."""
    given = options.get("headers", ())
    pairs = given.items() if isinstance(given, Mapping) else given
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    names = {name.lower() for name, _ in headers}
    body = options.get("body")
    if isinstance(body, str):
        body = body.encode()
    if "json" in options:
        body = orjson.dumps(options["json"])
        if b"content-type" not in names:
            headers.append((b"content-type", b"application/json"))
    if b"host" not in names:
        headers.insert(0, (b"host", host.encode("latin-1")))
    if body is not None and not names & {b"content-length", b"transfer-encoding"}:
        length = b"%d" % len(body) if isinstance(body, bytes) else None
        headers.append((b"content-length", length) if length is not None else (b"transfer-encoding", b"chunked"))
    return headers, body
