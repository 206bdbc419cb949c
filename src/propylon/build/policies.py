"""Builds the policies of a configuration, or reuses those at work (`policies_at_work.py`).

The place of a policy is the gateway, a service by its name, or a route: by its name, or without one by its matchers and
its occurrence number among equal ones. So inserting a route above others keeps their policies.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from propylon.build.errors import BuildError
from propylon.build.policies_at_work import NO_POLICIES, PoliciesAtWork, Reusable, Settings, Wanted
from propylon.config.files import files_named
from propylon.config.reference import import_object, with_objects
from propylon.config.schema.listener_refs import find_listener, listeners_by_name
from propylon.config.schema.policy import check_policy
from propylon.config.schema.route import ANSWERS
from propylon.engine.condition import combine, one_condition
from propylon.engine.lines import name_of
from propylon.engine.pipeline import PolicyUse
from propylon.engine.scope import PlacedPolicy, Scope
from propylon.plugins import POLICIES
from propylon.routing.router import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from propylon.config.schema import Condition, GatewayConfig, PolicyEntry, RouteConfig
    from propylon.engine.exchange import Exchange

PYTHON: Final = "python"
"""The policy that is written by the operator (`policies/python.py`)."""


@dataclass(frozen=True, slots=True)
class BuiltPolicies:
    """The policies of a configuration, in its order.

    Attributes:
        gateway: the policies of every route.
        services: the policies of every route to a service, by the service's name.
        routes: the policies of each route, including `redirect` and `respond`.
        fallbacks: for each route the policy that responds when its service fails, if there is one.
        placed: all of them, without duplicates.
    """

    gateway: list[PolicyUse]
    services: dict[str, list[PolicyUse]]
    routes: list[list[PolicyUse]]
    fallbacks: list[list[PolicyUse]]
    placed: tuple[PlacedPolicy, ...]


def build_policies(config: GatewayConfig, at_work: PoliciesAtWork = NO_POLICIES) -> BuiltPolicies:
    """Build the policies of a configuration, reusing those at work; none of them is started.

    Raises:
        BuildError: a module cannot be imported, or a policy cannot be created.
    """
    # Everything is imported first: only then can the code be compared.
    gateway = _listed(config.policies, "policies")
    services = {name: _listed(each.policies, f"services.{name}.policies") for name, each in config.services.items()}
    routes = [_of_route(route, f"routes.{number}") for number, route in enumerate(config.routes)]
    fallbacks = [_of_fallback(route, f"routes.{number}.fallback") for number, route in enumerate(config.routes)]
    identities = route_identities(config.routes)
    makers = _Makers(at_work, listeners_by_name(config.listen))
    uses = makers.uses
    return BuiltPolicies(
        gateway=uses("gateway", gateway),
        services={name: uses(("service", name), wanted) for name, wanted in services.items()},
        routes=[uses(("route", key), wanted) for key, wanted in zip(identities, routes, strict=True)],
        fallbacks=[uses(("fallback", key), wanted) for key, wanted in zip(identities, fallbacks, strict=True)],
        placed=makers.placed(),
    )


def check_entry(entry: PolicyEntry, where: str) -> None:
    """Create the policy of an entry by itself, without the listeners of its conditions. Raises `BuildError`."""
    _Makers(NO_POLICIES, None).uses(None, [_wanted(entry, where)])


def route_identities(routes: Iterable[RouteConfig]) -> list[Hashable]:
    """Return an identity for each route: its name or its matchers, with its occurrence number."""
    seen: Counter[Hashable] = Counter()
    found: list[Hashable] = []
    for route in routes:
        key: Hashable = route.name
        if route.name is None:
            fields = tuple(tuple(sorted(each.items(), key=str)) for each in (route.headers, route.query))
            further = (route.clients, route.websocket, route.scheme, route.listeners)
            key = (route.path, route.path_regex, route.host, route.methods, fields, further)
        found.append((key, seen[key]))
        seen[key] += 1
    return found


def _of_route(route: RouteConfig, where: str) -> list[Wanted]:
    answers = [_wanted(entry, where) for entry in (getattr(route, name) for name in ANSWERS) if entry is not None]
    return [*_listed(route.policies, f"{where}.policies"), *answers]


def _of_fallback(route: RouteConfig, where: str) -> list[Wanted]:
    entry = None if route.fallback is None else route.fallback.respond
    return [] if entry is None else [_wanted(entry, where)]


def _listed(entries: Iterable[PolicyEntry], where: str) -> list[Wanted]:
    return [_wanted(entry, f"{where}.{number}") for number, entry in enumerate(entries)]


def _wanted(entry: PolicyEntry, where: str) -> Wanted:
    config = entry.config
    if not isinstance(config, BaseModel):  # there are no settings, or another package has a type of its own
        return Wanted(where, entry, Settings(config))
    try:
        return Wanted(where, entry, Settings(with_objects(config), _digests(config)))
    except Exception as error:  # importing user code may raise anything
        raise _failed(where, entry, error) from error


def _digests(config: BaseModel) -> tuple[bytes, ...]:
    """Return the digests of the files that settings refer to."""
    return tuple(hashlib.sha256(path.read_bytes()).digest() for path in sorted(files_named(config)))


def _failed(where: str, entry: PolicyEntry, error: Exception) -> BuildError:
    return BuildError(f"{where}: policy {entry.name}: {error}")


class _Makers:
    """Creates policies, or reuses those at work."""

    def __init__(self, at_work: PoliciesAtWork, listeners: Mapping[str, str] | None) -> None:
        """`listeners`: the ids of listeners by name; `None` where they are not known."""
        self._listeners = listeners
        self._reusable = Reusable(at_work)
        self._by_object = {id(each.policy): each for each in at_work.living}
        self._placed: dict[PlacedPolicy, None] = {}

    def placed(self) -> tuple[PlacedPolicy, ...]:
        """Return all policies so far, without duplicates."""
        return tuple(self._placed)

    def uses(self, place: Hashable, wanted: Sequence[Wanted]) -> list[PolicyUse]:
        """Return the policies of a list with their conditions."""
        try:
            kept = self._reusable.take(place, wanted)
        except Exception as error:  # comparing settings may run user code
            raise BuildError(f"{wanted[0].where}: settings cannot be compared: {error}") from error
        return [self._use(place, each, kept.get(number)) for number, each in enumerate(wanted)]

    def _use(self, place: Hashable, wanted: Wanted, kept: PlacedPolicy | None) -> PolicyUse:
        entry = wanted.entry
        try:
            placed = kept or self._made(place, wanted)
            condition = combine(
                [_condition(each, self._listeners) for each in entry.when or ()],
                [_condition(each, self._listeners) for each in entry.unless or ()],
            )
        except Exception as error:  # policies are user code
            raise _failed(wanted.where, entry, error) from error
        self._placed[placed] = None
        return PolicyUse(entry.name, placed.policy, condition, placed.scope.name)

    def _made(self, place: Hashable, wanted: Wanted) -> PlacedPolicy:
        entry = wanted.entry
        scope = Scope(_label(entry))
        if entry.instance is not None:
            policy, place = entry.instance, None
        else:
            policy = POLICIES.find(entry.name).Policy(entry.config, scope)
            check_policy(policy)  # a `python:` reference may lead to any object
        known = self._by_object.get(id(policy))  # one object has one life cycle, however often it is listed
        if known is None:
            conditions = (entry.when, entry.unless)
            known = PlacedPolicy(place, wanted.where, entry.name, wanted.settings, conditions, policy, scope)
            self._by_object[id(policy)] = known
        return known


def _label(entry: PolicyEntry) -> str:
    """Return the name of a policy in the log: for one in Python, the module and name of its code."""
    code = entry.instance
    if code is None and entry.name == PYTHON:
        code = getattr(entry.config, "use", None)
    if code is None or isinstance(code, str):
        return code or entry.name
    return name_of(code)


def _condition(config: Condition, listeners: Mapping[str, str] | None) -> Callable[[Exchange], bool]:
    predicate = config.python
    if isinstance(predicate, str):
        predicate = import_object(predicate)
        if not callable(predicate):
            raise TypeError(f"{config.python} cannot be called: a condition is a function of the exchange")
    rule = Rule(
        route=True,
        hosts=config.hosts or (),
        paths=config.paths or (),
        methods=config.methods or (),
        headers=config.headers or {},
        query=config.query or {},
        clients=[str(network) for network in config.clients or ()],
        scheme=config.scheme,
        listeners={} if listeners is None else named_listeners(config.listeners, listeners),
    )
    return one_condition(rule, predicate)


def named_listeners(names: Iterable[str] | None, known: Mapping[str, str]) -> dict[str, str]:
    """Return the ids of the listeners that a route or condition names.

    Args:
        known: the result of `listeners_by_name`.

    Raises:
        BuildError: there is no such listener, as after `run(listen=...)`: the route must not be open to others.
    """
    found = {name: find_listener(name, known) for name in names or ()}
    if missing := [name for name, id_ in found.items() if id_ is None]:
        raise BuildError(f"listeners: there is no listener {missing[0]!r}")
    return {name: id_ for name, id_ in found.items() if id_ is not None}
