"""Plain data for the output of a compiled snapshot.

Rules of the file: of the command line, only this module, `_choice.py` and `_steps.py` use objects of the engine.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from propylon.address import EndpointAddress
from propylon.cli._choice import choice, endpoint_lines, service_of
from propylon.routing.match import Regex, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from propylon.engine.snapshot import CompiledRoute, Snapshot
    from propylon.engine.split import Split
    from propylon.services.service import Service


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint."""

    url: str
    weight: int
    base_path: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service with its endpoints; `choice` and `lines` describe how one is chosen."""

    name: str
    endpoints: tuple[EndpointView, ...]
    choice: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SplitView:
    """The services of a split with their weights, and the keys by which one is selected."""

    services: tuple[tuple[ServiceView, int], ...]
    shares: tuple[str, ...]
    choose: str | None
    sticky: str | None

    def rules(self) -> str:
        """Return a short text on how a service is selected."""
        rules = [f"named by {self.choose}"] if self.choose else []
        return ", else ".join([*rules, f"sticky by {self.sticky}" if self.sticky else "by chance"])


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route; `service` and `split` are `None` if policies respond."""

    name: str
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    methods: tuple[str, ...]
    conditions: tuple[str, ...]
    priority: int
    service: ServiceView | None
    split: SplitView | None
    policies: dict[str, list[str]]

    def destination(self) -> str:
        """Return a short text for the destination of the route."""
        if self.split is not None:
            return f"{', '.join(self.split.shares)} ({self.split.rules()})"
        if self.service is None:
            return f"answered by {', '.join(self.policies.get('on_request', [])) or 'no policy'}"
        urls = ", ".join(endpoint.url for endpoint in self.service.endpoints)
        return f"{self.service.name} ({urls or self.service.choice})"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        service = self.service
        endpoints = [{"url": each.url, "weight": each.weight} for each in service.endpoints] if service else []
        return {
            "name": self.name,
            "hosts": self.hosts,
            "paths": self.paths,
            "methods": self.methods,
            "conditions": self.conditions,
            "priority": self.priority,
            "service": service.name if service else None,
            "endpoints": endpoints,
            "split": _split_dict(self.split) if self.split is not None else None,
            "policies": self.policies,
        }


def routes_of(snapshot: "Snapshot") -> list[RouteView]:
    """Return the routes in the order of matching."""
    return [route_view(rule) for rule in snapshot.router.table()]


def route_view(rule: "Rule[CompiledRoute]", variant: "CompiledRoute | None" = None) -> RouteView:
    """Return the view of a route; of a split route with all services, or of the given variant."""
    route = variant or rule.route
    return RouteView(
        name=route.name,
        hosts=tuple(rule.hosts),
        paths=(f"regex {rule.path_regex}",) if rule.path_regex is not None else tuple(rule.paths) or ("/*",),
        methods=tuple(rule.methods),
        conditions=tuple(_conditions(rule)),
        priority=rule.priority,
        service=_service_view(service) if (service := service_of(route)) is not None else None,
        split=_split_view(route.split) if route.split is not None else None,
        policies=policies_of(route),
    )


def policies_of(route: "CompiledRoute") -> dict[str, list[str]]:
    """Return the names of a route's policies by phase, in the order in which they run; as in the log."""
    found: dict[str, list[str]] = {}
    for use in route.policies:
        name = use.label or use.name
        name = name if use.condition is None else f"{name} (on a condition)"
        for phase in use.phases():
            found.setdefault(phase, []).append(name)
    return found


def _service_view(service: "Service") -> ServiceView:
    endpoints = [_endpoint_view(each.url, each.weight) for each in service.found]
    return ServiceView(service.name, tuple(endpoints), choice(service), tuple(endpoint_lines(service)))


def _endpoint_view(url: str, weight: int) -> EndpointView:
    address = EndpointAddress.parse(url)
    return EndpointView(url, weight, address.base_path, address.root)


def _split_view(split: "Split") -> SplitView:
    found = [
        (_service_view(service), share.weight)
        for share in split.shares
        if (service := service_of(share.route)) is not None
    ]
    choose, sticky = (str(each) if each is not None else None for each in (split.choose, split.sticky))
    return SplitView(tuple(found), tuple(split.shown()), choose, sticky)


def _split_dict(split: SplitView) -> dict[str, Any]:
    services = [
        {
            "name": service.name,
            "weight": weight,
            "endpoints": [{"url": each.url, "weight": each.weight} for each in service.endpoints],
        }
        for service, weight in split.services
    ]
    return {"services": services, "choose": split.choose, "sticky": split.sticky}


def _conditions(rule: "Rule[CompiledRoute]") -> "Iterable[str]":
    yield from _fields("header", rule.headers)
    yield from _fields("query", rule.query)
    if rule.clients:
        yield f"client in {', '.join(rule.clients)}"
    if rule.scheme is not None:
        yield f"scheme {rule.scheme}"
    if rule.listeners:
        yield f"listener {' or '.join(rule.listeners)}"
    if rule.not_at is not None:
        yield f"not at {rule.not_at} yet"
    if rule.only_websockets:
        yield "only WebSockets"
    if rule.route.refuses_websockets:
        yield "no WebSockets"


def _fields(kind: str, fields: "Mapping[str, str | Regex]") -> "Iterable[str]":
    for name, value in fields.items():
        if isinstance(value, Regex):
            yield f"{kind} {name} matches {value.pattern}"
        else:
            yield f"{kind} {name}" if value == "*" else f"{kind} {name} is {value}"
