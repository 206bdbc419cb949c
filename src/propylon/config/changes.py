"""Describes the differences between two configurations.

Rules of the file: parts are identified by name (routes, services, policies), by URL (endpoints) or by address
(listeners), so moving one changes only the order. Secrets are never shown (`plain.Redactor`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from propylon.config.plain import Redactor, plain, plain_key, plain_policy
from propylon.config.shadow import shadowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from propylon.config.load import Loaded
    from propylon.config.schema import ListenerConfig, PolicyEntry, RouteConfig, ServiceConfig

ADDED, REMOVED, CHANGED, SHADOWED, ORDER = "added", "removed", "changed", "shadowed", "order"

# Compared by methods of their own.
_PARTS: Final = frozenset({"listen", "policies", "services", "routes", "tests"})
_LISTS: Final = frozenset({"policies", "endpoints"})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: listener, setting, policy, service, route or module.
        name: the name of the changed part.
        action: added, removed, changed, shadowed (the route can no longer match) or order.
        detail: the rest of the description.
    """

    kind: str
    name: str
    action: str
    detail: str

    def __str__(self) -> str:
        subject = self.name if self.kind == "setting" else f"{self.kind} {self.name}".rstrip()
        return f"{subject}: {self.detail}"

    def as_dict(self) -> dict[str, str]:
        """Return the fields and the full text, for JSON."""
        return {
            "kind": self.kind, "name": self.name, "action": self.action, "detail": self.detail, "text": str(self),
        }  # fmt: skip


def changes(old: Loaded, new: Loaded) -> tuple[Change, ...]:
    """Return the changes from `old` to `new`, in the order of the file."""
    return tuple(_Comparison(Redactor({*old.secrets, *new.secrets})).all(old, new))


class _Comparison:
    """Compares two configurations, with secrets redacted."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def all(self, old: Loaded, new: Loaded) -> Iterator[Change]:
        before, after = old.config, new.config
        yield from self._listeners(before.listen, after.listen)
        for name in type(after).model_fields:
            one, other = getattr(before, name), getattr(after, name)
            if name not in _PARTS and one != other:
                for path, old_value, new_value in _leaves(plain(one), plain(other), (name,)):
                    yield Change("setting", ".".join(path), CHANGED, self._from_to(path, old_value, new_value))
        for action, detail in self._policies(before.policies, after.policies):
            yield Change("gateway", "", action, detail)
        yield from self._services(before.services, after.services)
        yield from self._routes(before.routes, after.routes)

    def _listeners(self, old: Sequence[ListenerConfig], new: Sequence[ListenerConfig]) -> Iterator[Change]:
        before, after = ({str(each.address): each for each in listeners} for listeners in (old, new))
        yield from (Change("listener", name, REMOVED, REMOVED) for name in before if name not in after)
        for name, listener in after.items():
            if name not in before:
                yield Change("listener", name, ADDED, f"{ADDED}{', with TLS' if listener.tls is not None else ''}")
            elif before[name] != listener:
                yield from self._part("listener", name, before[name], listener)

    def _services(self, old: Mapping[str, ServiceConfig], new: Mapping[str, ServiceConfig]) -> Iterator[Change]:
        yield from (Change("service", name, REMOVED, REMOVED) for name in old if name not in new)
        for name, service in new.items():
            if name not in old:
                urls = ", ".join(each.url for each in service.endpoints[:5])
                more = len(service.endpoints) - 5
                where = f" at {urls}{f' and {more} more' if more > 0 else ''}" if urls else ""
                yield Change("service", name, ADDED, self._redactor.text(f"{ADDED}{where}"))
            elif old[name] != service:
                yield from self._service(name, old[name], service)

    def _service(self, name: str, old: ServiceConfig, new: ServiceConfig) -> Iterator[Change]:
        before, after = ({each.url: each for each in service.endpoints} for service in (old, new))
        for url in dict.fromkeys((*before, *after)):
            shown = self._redactor.text(f"endpoint {url}")
            if url not in after or url not in before:
                action = REMOVED if url not in after else ADDED
                yield Change("service", name, action, f"{shown} {action}")
            elif before[url] != after[url]:
                for path, old_value, new_value in _leaves(plain(before[url]), plain(after[url])):
                    yield Change("service", name, CHANGED, f"{shown}: {self._changed(path, old_value, new_value)}")
        yield from self._part("service", name, old, new)

    def _routes(self, old: Sequence[RouteConfig], new: Sequence[RouteConfig]) -> Iterator[Change]:
        if old == new:
            return
        before, after = _by_key(old), _by_key(new)
        for key, route in before.items():
            if key not in after:
                yield Change("route", self._label(route), REMOVED, REMOVED)
        for key, route in after.items():
            if key not in before:
                yield Change("route", self._label(route), ADDED, f"{ADDED}, {self._redactor.text(_summary(route))}")
            elif before[key] != route:
                yield from self._part("route", self._label(route), before[key], route)
        kept = [key for key in before if key in after]
        if kept != [key for key in after if key in before]:
            yield Change("routes", "", ORDER, "the order has changed, which decides between those equally specific")
        yield from self._shadows(before, after)

    def _shadows(self, before: Mapping[Any, RouteConfig], after: Mapping[Any, RouteConfig]) -> Iterator[Change]:
        """Yield the routes that can no longer match."""
        routes, keys = list(after.values()), list(after)
        found = shadowed(routes)
        if not found:
            return
        old_keys = list(before)
        already_shadowed = {old_keys[number] for number in shadowed(list(before.values()))}
        for loser, winner in found.items():
            if keys[loser] not in already_shadowed:
                text = f"can never match: route {self._label(routes[winner])} takes all of its requests"
                yield Change("route", self._label(routes[loser]), SHADOWED, text)

    def _label(self, route: RouteConfig) -> str:
        return self._redactor.text(_label(route))

    def _part(self, kind: str, name: str, old: BaseModel, new: BaseModel) -> Iterator[Change]:
        """Compare two models key by key."""
        for key in type(new).model_fields:
            one, other = getattr(old, key), getattr(new, key)
            if one == other or key in _LISTS:
                continue
            for path, old_value, new_value in _leaves(plain_key(key, one), plain_key(key, other), (key,)):
                yield Change(kind, name, CHANGED, self._changed(path, old_value, new_value))
        if hasattr(new, "policies"):
            for action, detail in self._policies(getattr(old, "policies"), getattr(new, "policies")):  # noqa: B009
                yield Change(kind, name, action, detail)

    def _policies(self, old: Sequence[PolicyEntry], new: Sequence[PolicyEntry]) -> Iterator[tuple[str, str]]:
        before, after = _counted(old), _counted(new)
        for key, entry in before.items():
            if key not in after:
                yield REMOVED, f"policy {key[0]} {REMOVED}{self._settings(entry)}"
        for key, entry in after.items():
            if key not in before:
                yield ADDED, f"policy {key[0]} {ADDED}{self._settings(entry)}"
                continue
            for path, old_value, new_value in _leaves(plain_policy(before[key]), plain_policy(entry)):
                yield CHANGED, f"policy {key[0]}: {self._changed(path[path[0] == key[0] :], old_value, new_value)}"
        kept = [key for key in before if key in after]
        if kept != [key for key in after if key in before]:
            yield ORDER, "the order of the policies has changed"

    def _settings(self, entry: PolicyEntry) -> str:
        """Return the settings of a policy that are not the default, and its conditions."""
        written = plain_policy(entry)
        settings = written.pop(entry.name)
        if isinstance(entry.config, BaseModel):
            settings = {key: value for key, value in settings.items() if key in _set(entry.config)}
        shown = {**settings, **written} if isinstance(settings, dict) else written
        return f": {self._redactor.value(shown, ())}" if shown else ""

    def _changed(self, path: tuple[str, ...], old: Any, new: Any) -> str:
        return f"{'.'.join((*path, ''))[:-1]} {self._from_to(path, old, new)}".lstrip()

    def _from_to(self, path: tuple[str, ...], old: Any, new: Any) -> str:
        one, other = self._redactor.value(old, path), self._redactor.value(new, path)
        return f"changed from {one} to {other}" if one != other else f"changed ({one})"


def _set(config: BaseModel) -> set[str]:
    """Return the keys of settings that are given, as they are written."""
    return {type(config).model_fields[name].alias or name for name in config.model_fields_set}


def _leaves(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield each difference of two values with its path, descending where both are mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _leaves(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield path, old, new


def _counted(entries: Sequence[PolicyEntry]) -> dict[tuple[str, int], PolicyEntry]:
    """Return policies by name and occurrence number."""
    seen: Counter[str] = Counter()
    found = {}
    for entry in entries:
        found[entry.name, seen[entry.name]] = entry
        seen[entry.name] += 1
    return found


def _by_key(routes: Sequence[RouteConfig]) -> dict[Any, RouteConfig]:
    """Return routes by name, or by their matchers, and occurrence number."""
    seen: Counter[Any] = Counter()
    found: dict[Any, RouteConfig] = {}
    for route in routes:
        key = route.name or (route.path, route.path_regex, route.host, route.methods)
        found[key, seen[key]] = route
        seen[key] += 1
    return found


def _label(route: RouteConfig) -> str:
    if route.name is not None:
        return route.name
    parts = (*(route.methods or ()), *(route.host or ()), *(route.path or (route.path_regex or "",)))
    return " ".join(parts)


def _summary(route: RouteConfig) -> str:
    """Return the destination of a route."""
    where = " ".join(route.path or (route.path_regex or "",)) if route.name is not None else ""
    if route.service is not None:
        goes = f"to service {route.service}"
    elif route.target is not None:
        goes = f"to {route.target}"
    elif route.split is not None:
        goes = "split among services"
    else:
        goes = "answered by the gateway"
    return f"{where} {goes}".lstrip()
