"""An endpoint: one address of a service, with its connections and state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.address import EndpointAddress
    from propylon.outbound.pool import Pool
    from propylon.services.breaker import Breaker
    from propylon.services.discovery import EndpointSpec
    from propylon.services.vitals import Vitals


class Endpoint:
    """One address of a service.

    Attributes:
        url: as configured or found; for logs, never for clients.
        authority: default value of the Host field.
        base_path: prefix of every path.
        root: the path of a request of whose path nothing is left.
        host: the service's `host:` rule: `None` for the endpoint's own name, `PRESERVE`, or a fixed value.
        weight: its relative share of the requests; 0 to drain.
        priority: its tier: a higher number is used only when the lower ones are not healthy enough.
        zone: its zone, if known.
        pool: its connections.
        vitals: load, latency and health of its address, shared by all services that use it.
        breaker: its circuit breaker, if the service has breakers.
        silent_until: until when it is taken for one that does not respond to `Expect` (`time.monotonic`).
    """

    __slots__ = (
        "address", "authority", "base_path", "breaker", "host", "pool", "priority", "root", "silent_until", "url",
        "vitals", "weight", "zone",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        address: EndpointAddress,
        pool: Pool,
        vitals: Vitals,
        breaker: Breaker | None = None,
        *,
        host: bytes | None = None,
        weight: int = 1,
        priority: int = 0,
        zone: str | None = None,
    ) -> None:
        self.url = url
        self.address = address
        self.authority = address.authority
        self.base_path = address.base_path
        self.root = address.root
        self.host = host
        self.weight = weight
        self.priority = priority
        self.zone = zone
        self.pool = pool
        self.vitals = vitals
        self.breaker = breaker
        self.silent_until = 0.0

    def __repr__(self) -> str:
        return f"<Endpoint {self.url} {self.pool!r}>"

    def is_as(self, found: EndpointSpec, host: bytes | None) -> bool:
        """Return whether it is equal to the endpoint found."""
        expected = (found.url, found.weight, found.priority, found.zone, host)
        return expected == (self.url, self.weight, self.priority, self.zone, self.host)
