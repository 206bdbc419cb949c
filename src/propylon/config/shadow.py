"""Detection of shadowed routes: another route matches every request that they match.

Routes are compared pairwise, so there are no false positives. Routes shadowed by a regular expression, or only by
several others together, are not detected; of a route with several paths and hosts, each pair is compared by itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from propylon.routing.pattern import ANY, WILDCARD, HostPattern, PathPattern, regex_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from propylon.config.schema import RouteConfig
    from propylon.http.place import Place

_PARAMETER: Final = re.compile(r"\{[^}]*\}")
_PORT: Final = re.compile(rb":[0-9]+$")
_MAX_PAIRS: Final = 200_000
"""The largest number of pairs with different priorities to compare; with more, none of them is."""


def shadowed(routes: Sequence[RouteConfig]) -> dict[int, int]:
    """Return the index of each shadowed route, with that of the route that shadows it."""
    found: dict[int, int] = {}
    for winner, loser in _pairs(routes):
        if loser not in found and _takes_all(routes[winner], routes[loser]):
            found[loser] = winner
    return found


class Dead(NamedTuple):
    """A route, or one of its paths or hosts, that can never match.

    Attributes:
        loser: the index of the route.
        part: the keys of the path or host in it; empty for the whole route.
        winner: the index of the route that takes its requests; the same one if a path or host is listed twice.
        is_renamed: whether their paths differ only by names of parameters.
    """

    loser: int
    part: tuple[str | int, ...]
    winner: int
    is_renamed: bool


def dead_parts(routes: Sequence[RouteConfig]) -> list[Dead]:
    """Return what can never match, in the order of the file."""
    places = [(number, *place) for number, route in enumerate(routes) for place in _places(route)]
    single = [_only(routes[number], path, host) for number, path, host in places]
    lost: dict[int, dict[int, int]] = defaultdict(dict)
    for loser, winner in shadowed(single).items():
        lost[places[loser][0]][loser] = winner
    found = []
    for number, losers in sorted(lost.items()):
        winners = {loser: places[winner][0] for loser, winner in losers.items()}
        whole = len(losers) == sum(1 for _ in _places(routes[number])) and number not in winners.values()
        for loser, winner in list(winners.items())[: 1 if whole else None]:
            part = () if whole else _part(routes[number], *places[loser][1:])
            if part is not None:
                renamed = single[loser].path != single[losers[loser]].path
                same_shape = _shapes(single[loser]) == _shapes(single[losers[loser]])
                found.append(Dead(number, part, winner, renamed and same_shape))
    return found


def _places(route: RouteConfig) -> Iterator[tuple[int, int]]:
    return product(range(len(route.path or ("",))), range(len(route.host or ("",))))


def _only(route: RouteConfig, path: int, host: int) -> RouteConfig:
    """Return a route with one of its paths and one of its hosts."""
    if len(route.path or ()) < 2 and len(route.host or ()) < 2:
        return route
    paths, hosts = route.path and (route.path[path],), route.host and (route.host[host],)
    return route.model_copy(update={"path": paths, "host": hosts})


def _part(route: RouteConfig, path: int, host: int) -> tuple[str | int, ...] | None:
    """Return the keys of a path or host in its route; `None` for a pair, which is no part of the file."""
    several_paths, several_hosts = len(route.path or ()) > 1, len(route.host or ()) > 1
    if several_paths and several_hosts:
        return None
    return ("path", path) if several_paths else ("host", host)


def _shapes(route: RouteConfig) -> set[str]:
    return {_PARAMETER.sub("{}", path) for path in route.path or (route.path_regex or "",)}


def _pairs(routes: Sequence[RouteConfig]) -> Iterator[tuple[int, int]]:
    """Yield every pair of routes where the first is tried before the second and may shadow it."""
    alike: dict[tuple[int, str], set[int]] = defaultdict(set)
    for number, route in enumerate(routes):
        shapes = _shapes(route)
        earlier = set.intersection(*(alike[route.priority, shape] for shape in shapes))
        yield from ((each, number) for each in sorted(earlier) if _is_as_specific(routes[each], route))
        for shape in shapes:
            alike[route.priority, shape].add(number)
    lowest = min((route.priority for route in routes), default=0)
    high = [number for number, route in enumerate(routes) if route.priority > lowest]
    if len(high) * len(routes) <= _MAX_PAIRS:
        for winner in high:
            for loser, route in enumerate(routes):
                if routes[winner].priority > route.priority:
                    yield winner, loser


def _is_as_specific(first: RouteConfig, second: RouteConfig) -> bool:
    """Return whether the earlier of two routes, which has all paths of the later, precedes it in the router."""
    return _conditions(first) >= _conditions(second) and set(second.host or ()) == set(first.host or ())


def _conditions(route: RouteConfig) -> int:
    kinds = (
        route.methods is not None,
        bool(route.clients),
        route.websocket == "only",
        route.scheme is not None,
        route.listeners is not None,
    )
    return len(route.headers) + len(route.query) + sum(kinds)


def _takes_all(winner: RouteConfig, loser: RouteConfig) -> bool:
    if winner.websocket == "only" != loser.websocket:
        return False
    if winner.methods is not None and not set(loser.methods or ("",)) <= {*winner.methods, *_implied(winner.methods)}:
        return False
    if winner.clients and not (loser.clients and all(_inside(each, winner.clients) for each in loser.clients)):
        return False
    if winner.scheme is not None and winner.scheme != loser.scheme:
        return False
    if winner.listeners is not None and not set(loser.listeners or ("",)) <= set(winner.listeners):
        return False
    if winner.redirect is not None and _may_be_at(loser, winner.redirect.config.place):
        return False
    if not (_fields_hold(winner.headers, loser.headers) and _fields_hold(winner.query, loser.query)):
        return False
    hosts = [HostPattern(text) for text in winner.host or ("*",)]
    if not all(any(_has_host(host, each) for host in hosts) for each in map(HostPattern, loser.host or ("*",))):
        return False
    paths = _paths(winner)
    return all(any(_has_path(path, each) for path in paths) for each in _paths(loser))


def _may_be_at(route: RouteConfig, place: Place | None) -> bool:
    """Return whether requests of a route may be where another one redirects to, which passes on what is there."""
    if place is None or (place.scheme is not None and route.scheme not in (None, place.scheme.decode())):
        return False
    if place.host is not None:
        name = place.host.rpartition(b":")[0] if _PORT.search(place.host) else place.host
        if not any(each.matches(name, each.port) for each in map(HostPattern, route.host or ("*",))):
            return False
    return place.path is None or any(each.matches(place.path) for each in _paths(route))


def _implied(methods: Sequence[str]) -> tuple[str, ...]:
    return ("HEAD",) if "GET" in methods else ()


def _inside(network: Any, others: Sequence[Any]) -> bool:
    return any(each.version == network.version and network.subnet_of(each) for each in others)


def _fields_hold(required: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether every request with the `given` fields has the `required` ones."""
    known = {name.lower(): value for name, value in given.items()}
    return all(name.lower() in known and value in ("*", known[name.lower()]) for name, value in required.items())


def _has_host(pattern: HostPattern, other: HostPattern) -> bool:
    if pattern.port is not None and pattern.port != other.port:
        return False
    if pattern.kind == ANY:
        return True
    if pattern.kind == WILDCARD:
        return other.kind != ANY and other.name.endswith(pattern.name)
    return pattern.kind == other.kind and pattern.name == other.name


def _paths(route: RouteConfig) -> list[PathPattern]:
    if route.path_regex is not None:
        return [regex_path(route.path_regex)]
    return [PathPattern(text) for text in route.path or ("/*",)]


def _has_path(pattern: PathPattern, other: PathPattern) -> bool:
    if pattern.rest and not pattern.segments:
        return True
    if pattern.regex is not None or other.regex is not None:
        return pattern.regex is not None and other.regex is not None and pattern.text == other.text
    if len(other.segments) < len(pattern.segments):
        return False
    if not pattern.rest and (other.rest or len(other.segments) > len(pattern.segments)):
        return False
    pairs = zip(pattern.segments, other.segments, strict=False)
    return all(one == another or (one is None and another != b"") for one, another in pairs)
