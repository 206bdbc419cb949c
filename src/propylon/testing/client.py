"""The test client: requests in, answers out."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Self, Unpack

import orjson

from propylon.address import listener_ids
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.http.headers import headers_of
from propylon.http.refusal import Refusal
from propylon.inbound.redirect_https import RedirectHttps
from propylon.runtime.core import Core
from propylon.testing.client_side import MemoryClient
from propylon.testing.messages import Answer, Handler, RequestOptions
from propylon.testing.service_side import put_services

if TYPE_CHECKING:
    from propylon.gateway import Gateway
    from propylon.http.headers import Pair
    from propylon.runtime.policies import Policies


class TestClient:
    """Sends requests through a gateway in memory, and records both ends. Not thread-safe.

    Policies are started by the first request, or by `with` and `async with`, which close them at the end, as does
    `close`.
    """

    __test__ = False  # pytest would collect it as a class of tests

    def __init__(
        self,
        gateway: Gateway,
        services: Mapping[str, Handler] | None = None,
        *,
        host: str = "gateway.test",
        scheme: str | None = None,
        client: str = "127.0.0.1",
        listener: str | None = None,
    ) -> None:
        """Compile the gateway, which completes its configuration.

        Args:
            services: the handler of each service.
            host: the Host field of requests without one.
            scheme: `http` or `https`, as if the listener had TLS; by default that of `listener`. Without both it is
                http, or https if what comes by http is redirected.
            client: the client's address.
            listener: name or address of the listener; by default the first one of the scheme, or the first of all.

        Raises:
            ConfigError, BuildError: the configuration is wrong.
            ValueError: the gateway has no such service or listener.
        """
        snapshot = gateway.compiled()
        self._core = Core(snapshot)
        self._core.directory.enter(snapshot.services)
        self._starting = asyncio.Lock()
        self._host, self._client = host, client
        self._scheme, self._listener_id, self._redirect = _entrance(gateway, listener, scheme)
        self._loop: asyncio.AbstractEventLoop | None = None
        put_services(snapshot, services or {})

    def request(self, method: str, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a request and wait for the end of its exchange, async `on_done` hooks included.

        Raises:
            BuildError: a policy cannot be started.
            RuntimeError: an event loop is running; use `request_async`.
        """
        if _loop_is_running():
            raise RuntimeError("an event loop runs here: use `await client.request_async(...)`")
        return self._own_loop().run_until_complete(self.request_async(method, target, **options))

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()  # one for all requests: policies may have objects bound to it
            weakref.finalize(self, _close, self._loop, self._core.policies)
        return self._loop

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

    async def start(self) -> None:
        """Start the policies, unless they are started.

        Raises:
            BuildError: one of them cannot be started.
        """
        core = self._core
        async with self._starting:
            if core.policies.snapshot is None:
                await core.policies.start(core.snapshot)
                core.take(core.snapshot)

    def close(self) -> None:
        """Close the policies; the next request starts them again. Within a running event loop use `close_async`."""
        if self._loop is not None:
            self._loop.run_until_complete(self.close_async())

    async def close_async(self) -> None:
        """Close the policies, unless they are closed."""
        await self._core.policies.close()

    def __enter__(self) -> Self:
        self._own_loop().run_until_complete(self.start())
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close_async()

    async def request_async(self, method: str, target: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send a request from within a running event loop; many may be in flight at once."""
        await self.start()
        headers, body = _message(options, self._host)
        self._core.directory.sweep(monotonic())  # without health checks: nothing listens at these addresses
        client = MemoryClient(
            options.get("client", self._client), self._scheme, self._listener_id, options.get("client_certificate")
        )
        pieces: Iterable[bytes] = ()
        try:
            x = client.begin(self._core, method, target, headers)
        except Refusal as refusal:
            x = self._core.refused(client, GatewayError(refusal.code, refusal.detail))
        else:
            if self._redirect is not None and x.refusal is None:
                self._redirect.admit(x)
            if isinstance(body, bytes):
                x.body = body
            elif body is not None:
                x.body, pieces = Body(client), body
        await client.carry(x, pieces)
        if client.defect is not None:
            raise client.defect
        return Answer(x.status, headers_of(client.block), bytes(client.received), client.complete, x, client.sent)


def _entrance(gateway: Gateway, listener: str | None, scheme: str | None) -> tuple[str, str, RedirectHttps | None]:
    """Return the scheme of requests, the id of their listener, and its redirect to https."""
    from propylon.config.schema.listener_refs import find_listener, listeners_by_name, usual_listener, usual_scheme

    listen = gateway.config.listen
    if listener is None:
        scheme = scheme or usual_scheme(listen)
        found: str | None = usual_listener(listen, scheme)
    else:
        found = find_listener(listener, listeners_by_name(listen))
    if found is None:
        raise ValueError(f"the gateway has no listener {listener!r}")
    settings = listen[listener_ids(each.address for each in listen).index(found)]
    redirect = settings.redirect_https
    return (
        scheme or ("http" if settings.tls is None else "https"),
        found,
        None if redirect is None else RedirectHttps(redirect.port, redirect.except_),
    )


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _close(loop: asyncio.AbstractEventLoop, policies: Policies) -> None:
    """Close the loop of a collected client, and its policies unless another loop is running."""
    if not _loop_is_running():
        loop.run_until_complete(policies.close())
    loop.close()


def _message(options: RequestOptions, host: str) -> tuple[list[Pair], bytes | Iterable[bytes] | None]:
    """Return the header section and the body of a request, with framing fields unless they are given."""
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
