"""A gateway with a scripted upstream behind it: the set-up of nearly every test here.

    async def test_something(front: Fronts) -> None:
        f = await front(answer(ok(b"hello")))
        client = await f.client()
        assert (await client.ask(request_bytes(b"/x"))).body == b"hello"
        assert f.upstream.requests[0].target == b"/x"

`front(script, route={...}, policies=[...], **keys)`: `route` are further keys of the one route `/*`, `policies` stand
on that route, and `keys` are keys of the configuration. Everything is closed after the test, and the test fails if the
gateway sent anything upstream that is not a clean HTTP/1.1 request.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from propylon import Gateway

from .client import RawClient
from .upstream import Script, ScriptedUpstream, answer, ok

if TYPE_CHECKING:
    from propylon.services.service import Service


def service_of(gateway: Gateway, name: str) -> Service:
    """A service of a running gateway, to look at its state."""
    assert gateway._worker is not None
    return gateway._worker.core.snapshot.services[name]


class Front:
    """One running gateway, the upstream behind it, and the clients of the test."""

    def __init__(self, stack: AsyncExitStack, gateway: Gateway, upstream: ScriptedUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self._stack = stack

    @property
    def port(self) -> int:
        """Where the gateway listens."""
        return self.gateway.port

    async def client(self) -> RawClient:
        """A new client connection, closed after the test."""
        return await self._stack.enter_async_context(RawClient(self.port))


class Fronts:
    """The `front` fixture: makes fronts that live as long as the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(
        self,
        script: Script | None = None,
        *,
        route: dict[str, Any] | None = None,
        policies: Sequence[Any] = (),
        **keys: Any,
    ) -> Front:
        upstream = await self._stack.enter_async_context(ScriptedUpstream(script or answer(ok())))
        timeouts = {"drain": "200ms"} | keys.pop("timeouts", {})
        gateway = Gateway(**({"listen": "127.0.0.1:0", "timeouts": timeouts} | keys))
        settings = {"path": "/*", "target": upstream.url, "policies": list(policies)} | (route or {})
        gateway.route(settings.pop("path"), **settings)
        return Front(self._stack, await self.start(gateway), upstream)

    async def start(self, gateway: Gateway) -> Gateway:
        """Run a gateway until the end of the test."""
        await self._stack.enter_async_context(gateway)
        return gateway

    async def upstream(self, script: Script | None = None) -> ScriptedUpstream:
        """A further upstream."""
        return await self._stack.enter_async_context(ScriptedUpstream(script or answer(ok())))

    async def client(self, gateway: Gateway) -> RawClient:
        """A client of any gateway."""
        return await self._stack.enter_async_context(RawClient(gateway.port))
