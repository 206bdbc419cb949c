"""Warnings of services: retries that go nowhere, times that contradict each other, loops, unverified certificates."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from propylon.address import EndpointAddress
from propylon.config.addresses import ASGI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from propylon.address import ListenAddress
    from propylon.config.problems import Path
    from propylon.config.schema import GatewayConfig, PolicyEntry, ServiceConfig
    from propylon.config.schema.resilience import RetryConfig

_KEPT: Final = frozenset({"sticky", "consistent_hash"})


class Warned(NamedTuple):
    """One warning.

    Attributes:
        path: the keys of the part.
        message: what it does; `{other}` stands for the place of `other`.
        hint: the way out.
        other: the keys of the other part concerned.
    """

    path: Path
    message: str
    hint: str
    other: Path | None = None


def _lone_endpoints(config: GatewayConfig) -> Iterator[Warned]:
    """With one endpoint, there is no other to retry at, to hedge with, or to choose."""
    for name, service in config.services.items():
        if not _is_alone(service):
            continue
        at: Path = ("services", name)
        if "retry" in service.model_fields_set and _needs_another(service.retry):
            yield _no_other_endpoint((*at, "retry"))
        if service.hedge is not None:
            message = "has no effect: a second attempt goes to another endpoint, and the service has one"
            yield Warned((*at, "hedge"), message, "add an endpoint, or remove it")
        if service.balance.name in _KEPT:
            message = f"{service.balance.name!r} has no effect: the service has one endpoint"
            yield Warned((*at, "balance"), message, "add an endpoint, or remove it")
    for number, route in enumerate(config.routes):
        found = config.services.get(route.service or "")
        alone = route.target is not None or (found is not None and _is_alone(found))
        if alone and route.retry is not None and _needs_another(route.retry):
            yield _no_other_endpoint(("routes", number, "retry"))


def _is_alone(service: ServiceConfig) -> bool:
    return service.discover is None and len(service.endpoints) == 1


def _needs_another(retry: RetryConfig) -> bool:
    return retry.attempts > 1 and not retry.same_endpoint


def _no_other_endpoint(path: Path) -> Warned:
    message = "has no effect: a retry goes to another endpoint, and the service has one"
    return Warned(path, message, "add an endpoint, or write 'same_endpoint: true' in it")


def _without_weight(config: GatewayConfig) -> Iterator[Warned]:
    for name, service in config.services.items():
        if service.endpoints and not any(each.weight for each in service.endpoints):
            message = "no endpoint has a weight above 0, so none gets a request"
            yield Warned(("services", name, "endpoints"), message, "give one of them a weight of 1 or more")


def _zones(config: GatewayConfig) -> Iterator[Warned]:
    """Zones of endpoints and the zone of the gateway are compared; one without the other is ignored."""
    zoned = [
        ("services", name, "endpoints", index, "zone")
        for name, service in config.services.items()
        for index, each in enumerate(service.endpoints)
        if each.zone is not None
    ]
    if zoned and config.zone is None:
        yield Warned(zoned[0], "has no effect: the gateway itself has no zone", "write 'zone:' at the top, too")
    if config.zone is not None and not zoned and not any(each.discover for each in config.services.values()):
        yield Warned(("zone",), "has no effect: no endpoint has a zone", "give endpoints their 'zone', or remove it")


def _loops(config: GatewayConfig) -> Iterator[Warned]:
    """An endpoint that is a listener of this gateway."""
    urls: list[tuple[Path, str]] = [
        (("services", name, "endpoints", index), each.url)
        for name, service in config.services.items()
        for index, each in enumerate(service.endpoints)
    ]
    targets = ((number, route.target or ASGI) for number, route in enumerate(config.routes))
    urls += [(("routes", number, "target"), target) for number, target in targets if not target.startswith(ASGI)]
    ports = [str(listener.address.port or listener.address.unix_path) for listener in config.listen]
    implied = not {"80", "443"}.isdisjoint(ports)  # a URL need not name them
    for path, url in urls:
        if not implied and not any(port in url for port in ports):
            continue
        endpoint = EndpointAddress.parse(url)
        for number, listener in enumerate(config.listen):
            if _is_same(listener.address, endpoint):
                message = "is a listener of this gateway itself, {other}: it would ask itself"
                yield Warned(path, message, "write the address of the service", ("listen", number))
                break


def _is_same(listener: ListenAddress, endpoint: EndpointAddress) -> bool:
    if listener.unix_path is not None or endpoint.unix_path is not None:
        return listener.unix_path == endpoint.unix_path
    if not listener.port or listener.port != endpoint.port:
        return False
    if _is_loopback(endpoint.host):
        return listener.host in ("", "0.0.0.0", "::", endpoint.host, "localhost") or (  # noqa: S104
            endpoint.host == "localhost" and _is_loopback(listener.host)
        )
    return listener.host == endpoint.host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unverified(config: GatewayConfig) -> Iterator[Warned]:
    for name, service in config.services.items():
        addresses = [EndpointAddress.parse(each.url) for each in service.endpoints]
        if not service.tls.verify and not (addresses and all(_is_loopback(each.host) for each in addresses)):
            message = "certificates are not verified: anybody on the way can read and change what is sent"
            yield Warned(("services", name, "tls", "verify"), message, "give 'ca' with the authority to trust")


def _checks_below_base(config: GatewayConfig) -> Iterator[Warned]:
    """The path of a health check is appended to the endpoint's own."""
    for name, service in config.services.items():
        path = service.health.path
        for each in service.endpoints if path is not None else ():
            base = EndpointAddress.parse(each.url).base_path.decode("ascii")
            if base and f"{path}/".startswith(f"{base}/"):
                message = f"is below the endpoint's own path: the check asks for {base}{path}"
                yield Warned(("services", name, "health"), message, f"write it without {base}")
                break


def _times(config: GatewayConfig) -> Iterator[Warned]:
    """A time that cannot pass, because another one ends first."""
    for name, service in config.services.items():
        at: Path = ("services", name)
        health, per_try = service.health, service.retry.per_try
        if {"interval", "timeout"} <= health.model_fields_set and health.timeout > health.interval:
            yield _longer((*at, "health", "timeout"), health.timeout, f"'interval' ({health.interval:g}s)")
        delay = service.hedge.delay if service.hedge is not None else None
        if isinstance(delay, float) and per_try is not None and delay >= per_try:
            yield _longer((*at, "hedge"), delay, f"'per_try' ({per_try:g}s), which ends the first attempt before")
        pool = service.connections
        if {"idle", "max"} <= pool.model_fields_set and pool.idle > pool.max:
            message = f"keeps more idle connections than there may be: 'max' is {pool.max}"
            yield Warned((*at, "connections", "idle"), message, "write a lower number")
    for path, entry in _entries(config):
        if entry.name == "timeout" and entry.instance is None:
            yield from _timeout((*path, "timeout"), entry.config)


def _timeout(path: Path, settings: Any) -> Iterator[Warned]:
    for key in ("connect", "response"):
        part, total = getattr(settings, key), settings.total
        if part is not None and total is not None and part > total:
            yield _longer((*path, key), part, f"'total' ({total:g}s), which ends first")


def _longer(path: Path, seconds: float, other: str) -> Warned:
    return Warned(path, f"{seconds:g}s is longer than {other}", "make it shorter")


def _entries(config: GatewayConfig) -> Iterator[tuple[Path, PolicyEntry]]:
    for path, entries in policy_lists(config):
        yield from (((*path, index), entry) for index, entry in enumerate(entries))


def policy_lists(config: GatewayConfig) -> list[tuple[Path, Sequence[PolicyEntry]]]:
    """Return every list of policies with its path."""
    lists: list[tuple[Path, Sequence[PolicyEntry]]] = [(("policies",), config.policies)]
    lists += [(("services", name, "policies"), each.policies) for name, each in config.services.items()]
    return lists + [(("routes", number, "policies"), route.policies) for number, route in enumerate(config.routes)]


SERVICE_CHECKS: Final[tuple[Callable[[GatewayConfig], Iterator[Warned]], ...]] = (
    _lone_endpoints,
    _without_weight,
    _zones,
    _loops,
    _unverified,
    _checks_below_base,
    _times,
)
