"""Text for how endpoints are chosen and how failures are handled, one line for each active rule.

Rules of the file: disabled rules have no line; the lines on retries and hedging are for the method of the request.
"""

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, cast

from propylon.outbound.http1_reader import MAX_HEAD_BYTES
from propylon.outbound.pool import PoolLimits

if TYPE_CHECKING:
    from propylon.engine.retry import RetrySettings
    from propylon.engine.snapshot import CompiledRoute
    from propylon.services.breaker import BreakerSettings
    from propylon.services.discovery import EndpointSpec
    from propylon.services.service import Service
    from propylon.services.settings import ServiceSettings, Transport


def service_of(route: "CompiledRoute") -> "Service | None":
    """Return the service of a route. Routes built from a configuration have services of this type only."""
    return cast("Service | None", route.service)


def choice(service: "Service") -> str:
    """Return a short text: the algorithm and the number of endpoints it chooses from."""
    settings = service.settings
    name, shown = settings.balance.name, getattr(settings.balance.settings, "shown", "")
    algorithm = f"{name} ({shown})" if shown else name
    if settings.discover is not None:
        return f"one of the endpoints that {settings.discover[0]} finds, by {algorithm}"
    serving = _serving(service)
    if not serving:
        return "answered with 503, as every endpoint has weight 0"
    return f"one of {serving} by {algorithm}" if serving > 1 else "its only endpoint"


def endpoint_lines(service: "Service") -> list[str]:
    """Return the configured endpoints, each with its weight, priority and zone."""
    return [f"{each.url} ({', '.join(_traits(each, service.settings.zone))})" for each in service.found]


def rule_lines(route: "CompiledRoute", method: bytes) -> list[str]:
    """Return the lines on health, breaker, limits, hedging, retries and fallback of the route's service."""
    service = service_of(route)
    if service is None:
        return []
    settings, retry = service.settings, route.retry or service.settings.retry
    several = settings.discover is not None or _serving(service) > 1
    return [
        *_health(service),
        *_breaker(settings),
        *_load(settings),
        *_connections(settings.transport),
        *(_hedging(settings) if several and method in retry.methods else ()),
        *_retries(retry, several, method),
        *_fallback(route),
    ]


def _serving(service: "Service") -> int:
    """Return the number of configured endpoints with a weight above 0."""
    return sum(each.weight > 0 for each in service.found)


def _traits(endpoint: "EndpointSpec", zone: str | None) -> Iterator[str]:
    yield f"weight {endpoint.weight}" if endpoint.weight else "weight 0: gets nothing new"
    if endpoint.priority:
        yield f"priority {endpoint.priority}: when those below are not well"
    if endpoint.zone is not None:
        yield f"zone {endpoint.zone}" if endpoint.zone != zone else f"zone {zone}, the gateway's own"


def _health(service: "Service") -> Iterator[str]:
    check, passive = service.settings.health, service.settings.passive
    if check is not None:
        asked = "a connection" if check.path is None else f"{check.method} {check.path}"
        yield f"health check: {asked} every {check.interval:g}s; {check.unhealthy} bad ones put an endpoint aside"
    spared = service.settings.discover is None and passive is not None and passive.share * _serving(service) < 1
    if passive is not None and not spared:  # with so few endpoints none is ejected
        rule = passive.ejection
        rules = [f"{rule.consecutive} failures in a row"] if rule.consecutive is not None else []
        if rule.failure_rate is not None:
            rules.append(f"{rule.failure_rate:.0%} failures in {rule.window:g}s")
        yield f"passive health: {' or '.join(rules)} put an endpoint aside for {rule.base:g}s"


def _breaker(settings: "ServiceSettings") -> Iterator[str]:
    use = settings.breaker
    if use is None:
        return
    scopes = (("each endpoint", use.endpoints), ("the service", use.service))
    scope = " and ".join(name for name, is_used in scopes if is_used)
    yield f"breaker of {scope}: {' or '.join(_rules(use.settings))} open it for {use.settings.open:g}s"


def _rules(settings: "BreakerSettings") -> Iterator[str]:
    if settings.consecutive is not None:
        yield f"{settings.consecutive} failures in a row"
    if settings.failures is not None:
        yield f"{settings.failures} failures in {settings.window:g}s"
    if settings.failure_rate is not None:
        yield f"{settings.failure_rate:.0%} failures in {settings.window:g}s"


def _load(settings: "ServiceSettings") -> Iterator[str]:
    limits = settings.concurrency
    bounds = [f"{limits.max} in the service"] if limits.max is not None else []
    bounds += [f"{limits.per_endpoint} at an endpoint"] if limits.per_endpoint is not None else []
    if bounds:
        yield f"concurrency: {', '.join(bounds)}; {limits.queue or 'none'} may wait"
    if settings.slow_start:
        yield f"slow start: {settings.slow_start:g}s"


def _connections(transport: "Transport") -> Iterator[str]:
    usual, limits = PoolLimits(), transport.limits
    if limits.max_age != usual.max_age:
        yield f"connections: {'of any age' if limits.max_age == inf else f'used for {limits.max_age:g}s at most'}"
    if not transport.follow_dns:
        yield "connections: stay when the endpoint's name has other addresses"
    if transport.response_head != MAX_HEAD_BYTES:
        yield f"connections: heads of responses up to {transport.response_head} bytes"


def _hedging(settings: "ServiceSettings") -> Iterator[str]:
    hedging = settings.hedging
    if hedging is not None:
        delay = "what 95 of 100 answers take" if hedging.delay is None else f"{hedging.delay:g}s"
        yield f"hedge: a second endpoint is asked after {delay}"


def _retries(retry: "RetrySettings", several: bool, method: bytes) -> Iterator[str]:
    if retry.attempts < 2:
        yield "retries: none"
    elif not several and not retry.same_endpoint:
        yield "retries: none, as there is no other endpoint"
    else:
        causes = ", ".join([*sorted(retry.on), *(["some answers"] if retry.statuses else [])])
        sent = "" if method in retry.methods else f"; {method.decode('ascii')} only if nothing of it was sent"
        yield f"retries: up to {retry.attempts - 1} for {causes or 'nothing'}{sent}"


def _fallback(route: "CompiledRoute") -> Iterator[str]:
    if route.fallback is not None:
        service = route.fallback.service
        yield f"fallback: service {service.name}" if service is not None else "fallback: a fixed answer"
