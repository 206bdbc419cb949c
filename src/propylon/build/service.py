"""Builds services from their configuration."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from propylon.address import EndpointAddress
from propylon.build.errors import BuildError
from propylon.config.addresses import ASGI
from propylon.config.reference import with_objects
from propylon.config.schema.service import ServiceConfig
from propylon.engine.request_out import PRESERVE
from propylon.engine.retry import RetrySettings
from propylon.outbound.pool import PoolLimits
from propylon.outbound.tls import EndpointTls, TlsSettings, digest_of
from propylon.plugins import BALANCERS, PROVIDERS
from propylon.services.balancing import Chance
from propylon.services.breaker import BreakerSettings
from propylon.services.discovery import EndpointSpec, ProviderContext
from propylon.services.ejection import EjectionSettings
from propylon.services.service import Service
from propylon.services.settings import (
    BreakerUse,
    Concurrency,
    HealthCheck,
    Hedging,
    Named,
    PassiveHealth,
    ServiceSettings,
    Transport,
)
from propylon.transport.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from propylon.config.schema import GatewayConfig, ServiceTlsConfig
    from propylon.config.schema.balance import BalanceEntry
    from propylon.config.schema.discover import DiscoverConfig
    from propylon.config.schema.health import HealthConfig
    from propylon.config.schema.resilience import BreakerConfig, RetryConfig
    from propylon.services.discovery import Provider

NOTHING_RUNS: Final[Mapping[str, Service]] = MappingProxyType({})

HERE: Final = Path()

CHANCE: Final = Chance(monotonic, random.random)


@dataclass(slots=True)
class BuildContext:
    """The context for building services.

    Attributes:
        gateway: the whole configuration.
        running: the current services: one with an unchanged configuration is reused.
        base_dir: the folder of the configuration file.
        same_code: whether the modules beside the configuration have the code that the current services refer to.
        tls: TLS with endpoints, by the digest of its settings and files. Reading the system's authorities takes 25 ms,
            so services with the same settings share a context, also across configurations.
    """

    gateway: GatewayConfig
    running: Mapping[str, Service]
    base_dir: Path
    same_code: Callable[[], bool]
    tls: dict[str, EndpointTls] = field(init=False)

    def __post_init__(self) -> None:
        transports = [service.settings.transport for service in self.running.values()]
        self.tls = {each.tls.digest: each.tls for each in transports if each.tls is not None}


def build_service(name: str, config: ServiceConfig, context: BuildContext) -> Service:
    """Return a new service, or the current one of this name if its configuration is unchanged.

    Raises:
        BuildError: a certificate cannot be read, or an algorithm or a provider cannot be created.
    """
    settings = _settings(name, config, context)
    found = tuple(EndpointSpec(each.url, each.weight, each.priority, each.zone) for each in config.endpoints)
    return _service(name, settings, found, config.discover, context)


def build_targets(urls: Iterable[str], context: BuildContext) -> dict[str, Service]:
    """Return the service of each `target:`, shared by all routes to it. There may be thousands."""
    settings: dict[str, ServiceSettings] = {}
    services = {}
    for url in urls:
        if url.startswith(ASGI):
            services[url] = build_service(url, _application(url.removeprefix(ASGI)), context)
            continue
        scheme = EndpointAddress.parse(url).scheme
        if scheme not in settings:
            settings[scheme] = _settings(url, ServiceConfig.model_validate({"endpoints": [url]}), context)
        services[url] = _service(url, settings[scheme], (EndpointSpec(url),), None, context)
    return services


def _application(reference: str) -> ServiceConfig:
    """Return the service of `target: asgi:module:name`. The application gets the client's Host."""
    return ServiceConfig.model_validate({"discover": {"asgi": reference}, "host": "preserve"})


def _service(
    name: str,
    settings: ServiceSettings,
    found: tuple[EndpointSpec, ...],
    discover: DiscoverConfig | None,
    context: BuildContext,
) -> Service:
    where = f"services.{name}"
    known = context.running.get(name)
    if known is not None and known.settings == settings and known.configured == found:
        return known
    try:
        provider = None if discover is None else make_provider(discover, ProviderContext(name, context.base_dir))
    except Exception as error:  # providers may be user code
        raise BuildError(f"{where}.discover: {error}") from error
    algorithm, balance, _ = settings.balance
    try:
        balancer = BALANCERS.find(algorithm).Balancer(balance, CHANCE)
    except Exception as error:  # so may algorithms
        raise BuildError(f"{where}.balance: {error}") from error
    return Service(name, settings, found, balancer, CHANCE, provider)


def make_provider(config: DiscoverConfig, context: ProviderContext) -> Provider:
    """Create the provider of `discover:`; exceptions of its module, `ImportError` or any other, are passed on."""
    return cast("Provider", PROVIDERS.find(config.name).Provider(config.config, context))


def _settings(name: str, config: ServiceConfig, context: BuildContext) -> ServiceSettings:
    where = f"services.{name}"
    known = context.running.get(name)
    discover = balance = None
    if known is not None:
        discover, balance = known.settings.discover, known.settings.balance
    host = None if config.host == "endpoint" else PRESERVE if config.host == "preserve" else config.host.encode("ascii")
    budget = config.retry.budget
    limits = config.concurrency
    return ServiceSettings(
        host=host,
        transport=_transport(where, config, context),
        discover=None if config.discover is None else _named(f"{where}.discover", config.discover, discover, context),
        balance=_named(f"{where}.balance", config.balance, balance, context),
        retry=retry_settings(config.retry),
        budget=(budget.ratio, budget.per_second),
        hedging=None if config.hedge is None else Hedging(None if config.hedge.delay == "p95" else config.hedge.delay),
        passive=_passive(config.health),
        health=_health_check(config.health),
        breaker=_breaker(config.breaker) if config.breaker is not None else None,
        concurrency=Concurrency(
            max=limits.max,
            per_endpoint=limits.per_endpoint,
            queue=limits.queue,
            queue_timeout=limits.queue_timeout,
            adaptive=limits.adaptive,
            min=limits.min,
        ),
        panic=config.panic,
        zone=context.gateway.zone,
        slow_start=config.slow_start,
    )


def _named(where: str, entry: BalanceEntry | DiscoverConfig, known: Named | None, context: BuildContext) -> Named:
    """Return name and settings with references replaced by Python objects.

    Args:
        known: the current ones of the service: returned if they were written in the same way, and the code is the same.
    """
    try:
        objects = with_objects(entry.config)
    except Exception as error:  # importing user code may raise anything
        raise BuildError(f"{where}: {error}") from error
    if known is not None and (known.name, known.written) == (entry.name, entry.config) and context.same_code():
        return known
    return Named(entry.name, objects, entry.config)


def retry_settings(config: RetryConfig) -> RetrySettings:
    """Return the runtime form of `retry:` of a service or a route."""
    return RetrySettings(
        attempts=config.attempts,
        on=frozenset(config.on),
        statuses=config.statuses,
        methods=frozenset(method.encode("ascii") for method in config.methods),
        same_endpoint=config.same_endpoint,
        backoff=config.backoff,
        backoff_max=config.max_backoff,
        per_try=config.per_try,
        body_buffer=config.body_buffer,
    )


def _passive(config: HealthConfig) -> PassiveHealth | None:
    passive = config.passive
    if not passive.enabled:
        return None
    ejection = EjectionSettings(
        consecutive=passive.consecutive,
        failure_rate=passive.failure_rate,
        minimum=passive.minimum,
        window=passive.window,
        base=passive.eject,
        max=passive.max_eject,
    )
    return PassiveHealth(ejection=ejection, statuses=passive.statuses, share=passive.max_ejected)


def _health_check(config: HealthConfig) -> HealthCheck | None:
    if config.path is None and not config.tcp:
        return None
    return HealthCheck(
        path=config.path,
        method=config.method,
        headers=tuple(config.headers.items()),
        port=config.port,
        statuses=config.statuses,
        body=(config.body or "").encode(),
        interval=config.interval,
        timeout=config.timeout,
        healthy=config.healthy,
        unhealthy=config.unhealthy,
    )


def _breaker(config: BreakerConfig) -> BreakerUse:
    settings = BreakerSettings(
        failure_rate=config.failure_rate,
        minimum=config.minimum,
        window=config.window,
        consecutive=config.consecutive,
        failures=config.failures,
        slow=config.slow,
        open=config.open,
        open_max=config.max_open,
    )
    return BreakerUse(
        settings=settings, statuses=config.statuses, endpoints=config.per != "service", service=config.per != "endpoint"
    )


def _transport(where: str, config: ServiceConfig, context: BuildContext) -> Transport:
    limits = config.connections
    tls = None
    addresses = [EndpointAddress.parse(endpoint.url) for endpoint in config.endpoints]
    if config.discover is not None or any(address.scheme == "https" for address in addresses):
        tls = _tls(where, config.tls, context)
    return Transport(
        tls=tls,
        server_name=config.tls.server_name,
        limits=PoolLimits(
            max=limits.max,
            idle=limits.idle,
            idle_timeout=inf if limits.idle_timeout is None else limits.idle_timeout,
            max_age=inf if limits.max_age is None else limits.max_age,
            queue=limits.queue,
            queue_timeout=limits.queue_timeout,
        ),
        follow_dns=limits.follow_dns,
        write_buffer=context.gateway.limits.write_buffer,
        response_head=limits.response_head,
        probes=Probes(
            inf if limits.tcp_keepalive is None else limits.tcp_keepalive,
            inf if limits.tcp_user_timeout is None else limits.tcp_user_timeout,
        ),
    )


def _tls(where: str, config: ServiceTlsConfig, context: BuildContext) -> EndpointTls:
    """Return the TLS of these settings: the one in use, if the files have the same content."""
    files = [str(path) if path is not None else None for path in (config.ca, config.certificate, config.key)]
    settings = TlsSettings(config.verify, *files)
    digest = digest_of(settings)
    if digest not in context.tls:
        try:
            context.tls[digest] = EndpointTls(settings)
        except ValueError as error:
            raise BuildError(f"{where}.tls: {error}") from None
    return context.tls[digest]
