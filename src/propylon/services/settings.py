"""Settings of a service: the runtime form of its part of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from propylon.engine.retry import RetrySettings
from propylon.outbound.pool import PoolLimits
from propylon.services.ejection import EjectionSettings
from propylon.transport.probes import Probes

if TYPE_CHECKING:
    from propylon.outbound.tls import EndpointTls
    from propylon.services.breaker import BreakerSettings

SERVER_ERRORS = frozenset(range(500, 600))
GATEWAY_ERRORS = frozenset((502, 503, 504))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How connections to endpoints are opened and kept. Equal ones may share connections.

    Attributes:
        tls: TLS with `https` endpoints.
        server_name: the name to verify in TLS, if not the endpoint's own.
        limits: of each endpoint's pool.
        follow_dns: whether connections are retired whose address a name of an endpoint does not have any more.
        write_buffer: bytes buffered for an endpoint before backpressure pauses the client.
        response_head: maximum bytes of the head of a response.
        probes: when an endpoint that is silent counts as vanished.
    """

    tls: EndpointTls | None = None
    server_name: str | None = None
    limits: PoolLimits = field(default_factory=PoolLimits)
    follow_dns: bool = True
    write_buffer: int = 256 * 1024
    response_head: int = 64 * 1024
    probes: Probes = Probes()  # noqa: RUF009 - it is frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class PassiveHealth:
    """Ejection of endpoints by the outcomes of real requests.

    Attributes:
        ejection: when, and for how long.
        statuses: statuses that count as failures, as a missing response does.
        share: maximum share of a service's endpoints ejected at the same time, 0 to 1.
    """

    ejection: EjectionSettings = field(default_factory=EjectionSettings)
    statuses: frozenset[int] = GATEWAY_ERRORS
    share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """The active health check of endpoints. Equal ones of one address share one check.

    Attributes:
        path: path below the endpoint's base path, query included; `None` only opens a connection.
        method: method of the request.
        headers: additional fields of the request.
        port: port of the check, if not the endpoint's own.
        statuses: statuses of a healthy endpoint.
        body: required content in the first 64 KiB of the response; empty for none.
        interval: seconds from the start of a check to that of the next.
        timeout: maximum seconds of a check.
        healthy: consecutive successes until an endpoint is healthy.
        unhealthy: consecutive failures until it is unhealthy.
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
        statuses: statuses that count as failures, as a missing response does.
        endpoints: whether each endpoint has one.
        service: whether the service as a whole has one.
    """

    settings: BreakerSettings
    statuses: frozenset[int] = SERVER_ERRORS
    endpoints: bool = True
    service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """Limits of the exchanges in flight, in one worker.

    Attributes:
        max: in the whole service; `None` for no limit.
        per_endpoint: at one endpoint.
        queue: maximum number of waiting exchanges.
        queue_timeout: maximum seconds they wait.
        adaptive: algorithm that adapts the limit: `aimd`, `gradient` or `None`.
        min: minimum of an adaptive limit.
    """

    max: int | None = None
    per_endpoint: int | None = None
    queue: int = 0
    queue_timeout: float | None = 5.0
    adaptive: str | None = None
    min: int = 4


@dataclass(frozen=True, slots=True)
class Hedging:
    """When a hedged request is sent to a second endpoint.

    Attributes:
        delay: seconds without a response; `None` for the 95th percentile of latencies.
    """

    delay: float | None = None


class Named(NamedTuple):
    """A provider or an algorithm.

    Attributes:
        name: its name.
        settings: its settings, with objects instead of references to them.
        written: its settings as written.
    """

    name: str
    settings: Any = None
    written: Any = None


P2C: Final = Named("p2c")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Settings of a service and all its endpoints.

    Attributes:
        host: the `host:` rule: `None` for the endpoint's own name, `PRESERVE`, or a fixed value.
        discover: the provider, if any.
        balance: the balancing algorithm.
        panic: share of healthy endpoints below which all are used; 0 for only when none is healthy.
        zone: the gateway's own zone, which is preferred.
        slow_start: seconds in which the share of a new or recovered endpoint rises.
        health: the active health check, if any.
        budget: retries allowed: a share of the requests, and a number a second.
    """

    host: bytes | None = None
    transport: Transport = field(default_factory=Transport)
    discover: Named | None = None
    balance: Named = P2C
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
