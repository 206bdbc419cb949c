"""What a service is told about itself: the runtime form of its part of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from propylon.engine.retry import RetrySettings
from propylon.outbound.pool import PoolLimits
from propylon.services.ejection import EjectionSettings

if TYPE_CHECKING:
    import ssl

    from propylon.services.breaker import BreakerSettings

SERVER_ERRORS = frozenset(range(500, 600))
GATEWAY_ERRORS = frozenset((502, 503, 504))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How connections to endpoints are made and kept. Equal ones may share connections.

    Attributes:
        tls: the context for `https` endpoints.
        tls_digest: of everything that the context is made of, as contexts cannot be compared.
        server_name: the name to check in TLS, if it is not the endpoint's own.
        limits: of each endpoint's pool.
        write_buffer: bytes that a connection holds for an endpoint that does not take them, before the client waits.
    """

    tls: ssl.SSLContext | None = field(default=None, compare=False)
    tls_digest: str = ""
    server_name: str | None = None
    limits: PoolLimits = field(default_factory=PoolLimits)
    write_buffer: int = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PassiveHealth:
    """Which answers of real requests put an endpoint aside.

    Attributes:
        ejection: when, and for how long.
        statuses: the answers that count as failures, besides none at all.
        share: how many of a service's endpoints may be put aside at the same time, 0 to 1.
    """

    ejection: EjectionSettings = field(default_factory=EjectionSettings)
    statuses: frozenset[int] = GATEWAY_ERRORS
    share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How the gateway finds out by itself whether an endpoint is well. Equal ones of one address are made once.

    Attributes:
        path: what is asked for below the endpoint's base path, query included; `None` only opens a connection.
        method: of the request.
        headers: fields of the request besides those that every check has.
        port: where it is asked, if that is not the endpoint's own port.
        statuses: the answers that say it is well.
        body: what the first 64 KiB of the answer must contain; empty for nothing.
        interval: seconds from the beginning of a check to that of the next.
        timeout: seconds a check may take.
        healthy: good checks in a row that bring an endpoint back.
        unhealthy: bad checks in a row that put one aside.
    """

    path: str | None = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    port: int | None = None
    statuses: frozenset[int] = frozenset(range(200, 400))
    body: bytes = b""
    interval: float = 10.0
    timeout: float = 2.0
    healthy: int = 2
    unhealthy: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerUse:
    """Circuit breakers of a service.

    Attributes:
        settings: when they open, and for how long.
        statuses: the answers that count as failures, besides none at all.
        endpoints: whether each endpoint has one.
        service: whether the service as a whole has one.
    """

    settings: BreakerSettings
    statuses: frozenset[int] = SERVER_ERRORS
    endpoints: bool = True
    service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How many exchanges may be under way, in one worker.

    Attributes:
        max: in the whole service; `None` for as many as come.
        per_endpoint: at one endpoint.
        queue: exchanges that may wait for their turn.
        queue_timeout: seconds they wait at the most.
        adaptive: what moves `max` by what it measures: `aimd`, `gradient` or nothing.
        min: what `adaptive` never goes below.
    """

    max: int | None = None
    per_endpoint: int | None = None
    queue: int = 0
    queue_timeout: float | None = 5.0
    adaptive: str | None = None
    min: int = 4


@dataclass(frozen=True, slots=True)
class Hedging:
    """When a second endpoint is asked beside the first.

    Attributes:
        delay: seconds without an answer; `None` for the 95th percentile of what answers take.
    """

    delay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What all endpoints of a service share.

    Attributes:
        host: the `host:` rule: `None` for the endpoint's own name, `PRESERVE`, or a fixed value.
        discover: name and settings of the provider, if one finds the endpoints.
        balance: name and settings of the balancing algorithm.
        panic: share of healthy endpoints below which all are used; 0 for only when none is healthy.
        zone: the gateway's own zone, whose endpoints come first.
        slow_start: seconds in which a new or recovered endpoint gets its share step by step.
        health: the check that every endpoint has to pass, if any.
        budget: retries allowed: a share of the requests, and so many a second besides.
    """

    host: bytes | None = None
    transport: Transport = field(default_factory=Transport)
    discover: Any = None
    balance: tuple[str, Any] = ("p2c", None)
    retry: RetrySettings = field(default_factory=RetrySettings)
    budget: tuple[float, float] = (0.2, 3.0)
    hedging: Hedging | None = None
    passive: PassiveHealth | None = field(default_factory=PassiveHealth)
    health: HealthCheck | None = None
    breaker: BreakerUse | None = None
    concurrency: Concurrency = field(default_factory=Concurrency)
    panic: float = 0.0
    zone: str | None = None
    slow_start: float = 0.0
