"""A service: a named group of endpoints, and how one of them is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.outbound.address import EndpointAddress
from propylon.outbound.connect import connect
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.pool import Pool, PoolLimits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from propylon.outbound.resolve import Resolver


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What all endpoints of a service share.

    Attributes:
        host: the `host:` rule: `None` for the endpoint's own name, `PRESERVE`, or a fixed value.
        tls: the context for `https` endpoints.
        server_name: the name to check in TLS, if it is not the endpoint's own.
        limits: of each endpoint's pool.
        write_buffer: bytes that a connection holds for an endpoint that does not take them, before the client waits.
    """

    host: bytes | None = None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    limits: PoolLimits = field(default_factory=PoolLimits)
    write_buffer: int = 256 * 1024


class Endpoint:
    """One address of a service, with the connections to it.

    Attributes:
        url: as configured; for logs, never for clients.
        authority: what the Host field says by default.
        base_path: what stands in front of every path.
        host: the service's `host:` rule.
        weight: its share of the requests, relative to the others; 0 for none.
        pool: its connections.
    """

    __slots__ = (
        "_address", "_resolver", "_settings", "authority", "base_path", "credit", "host", "pool", "url", "weight",
    )  # fmt: skip

    def __init__(self, url: str, weight: int, settings: ServiceSettings, resolver: Resolver) -> None:
        """Raises `AddressError` for a URL that is no endpoint's."""
        self._address = EndpointAddress.parse(url)
        self._settings = settings
        self._resolver = resolver
        self.url = url
        self.authority = self._address.authority
        self.base_path = self._address.base_path
        self.host = settings.host
        self.weight = weight
        self.credit = 0
        self.pool = Pool(settings.limits, self._open)

    def __repr__(self) -> str:
        return f"<Endpoint {self.url} {self.pool!r}>"

    async def _open(self, pool: Pool, timeout: float | None) -> EndpointConnection:
        transport, connection = await connect(
            self._address,
            lambda: EndpointConnection(pool),
            resolver=self._resolver,
            tls=self._settings.tls if self._address.scheme == "https" else None,
            server_name=self._settings.server_name,
            timeout=timeout,
        )
        transport.set_write_buffer_limits(high=self._settings.write_buffer)
        return connection


class Service:
    """A named group of endpoints.

    Attributes:
        name: as configured.
        endpoints: in the order of the configuration.
    """

    def __init__(self, name: str, endpoints: Iterable[Endpoint]) -> None:
        self.name = name
        self.endpoints = tuple(endpoints)
        self._weighted = tuple(endpoint for endpoint in self.endpoints if endpoint.weight > 0)
        self._total = sum(endpoint.weight for endpoint in self._weighted)

    def choose(self) -> Endpoint:
        """Choose by smooth weighted round robin, as nginx does: shares are exact, and no endpoint gets bursts.

        Raises:
            GatewayError: choose.no_endpoint.
        """
        weighted = self._weighted
        if len(weighted) == 1:
            return weighted[0]
        if not weighted:
            raise GatewayError("choose.no_endpoint")
        best = weighted[0]
        for endpoint in weighted:
            endpoint.credit += endpoint.weight
            if endpoint.credit > best.credit:
                best = endpoint
        best.credit -= self._total
        return best

    def endpoint(self, url: str) -> Endpoint:
        """Find an endpoint by the URL it was configured with. Raises `ValueError` if there is none."""
        for endpoint in self.endpoints:
            if endpoint.url == url:
                return endpoint
        raise ValueError(f"service {self.name} has no endpoint {url!r}")
