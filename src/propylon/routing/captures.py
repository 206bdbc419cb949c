"""What the patterns of a route capture, and so which names its templates know."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from propylon.routing.facts import FACTS
from propylon.routing.match import captures
from propylon.routing.pattern import WILDCARD, HostPattern

if TYPE_CHECKING:
    from propylon.routing.match import Rule

# What people write who know another gateway, and the fact that they mean.
_MEANT: Final = {
    "client": "client.address", "client_ip": "client.address", "ip": "client.address", "remote_addr": "client.address",
    "remote_host": "client.address", "remote_ip": "client.address", "http.request.remote.host": "client.address",
    "domain": "request.host", "host": "request.host", "hostname": "request.host", "http.request.host": "request.host",
    "labels": "host.*", "subdomain": "host.*", "method": "request.method", "path": "request.path",
    "http.request.uri.path": "request.path", "uri": "request.path", "args": "request.query", "query": "request.query",
    "http.request.uri.query": "request.query", "request_id": "request.id", "route": "route.name",
    "proto": "request.scheme", "scheme": "request.scheme", "http.request.scheme": "request.scheme",
    "path_rest": "*", "rest": "*",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Captures:
    """What the patterns of a route capture.

    Attributes:
        names: the parameters that all of its paths have.
        rest: whether all of its paths end in `*`.
        hosts: its host patterns.
        in_route: False in the lists of the gateway and of services, which belong to no route.
    """

    names: frozenset[str] = frozenset()
    rest: bool = False
    hosts: tuple[HostPattern, ...] = ()
    in_route: bool = True

    def has(self, name: str) -> bool:
        """Return whether a template may use a name."""
        if name == "*":
            return self.rest
        if name == "host.*":
            return bool(self.hosts) and all(pattern.kind == WILDCARD for pattern in self.hosts)
        return name in FACTS or name in self.names

    def problem(self, name: str) -> str | None:
        """Return what is wrong with a name, with a way out; None if it is known."""
        if self.has(name):
            return None
        if not self.in_route and not name.startswith(("request.", "client.", "route.")) and name not in _MEANT:
            return f"{{{name}}} is unknown here: what a path or host captures is known in policies of a route only"
        if name == "*":
            return "'{*}' needs a '*' at the end of every path of the route"
        if name == "host.*":
            return "'{host.*}' needs a '*' in every host of the route, as in '*.example.com'"
        known = sorted(self.names)
        close = get_close_matches(name, known, 1) or ([_MEANT[name]] if name in _MEANT else [])
        close = close or get_close_matches(name, list(FACTS), 1)
        if close:
            return f"unknown parameter {name!r}, did you mean {close[0]!r}?"
        there = f"there are {', '.join(known)}" if known else "there are none"
        return f"unknown parameter {name!r}; {there}, and facts such as client.address; {{{{{name}}}}} is the text"


NO_CAPTURES: Final = Captures()
NOT_IN_ROUTE: Final = Captures(in_route=False)
"""For the lists of policies of the gateway and of services."""


def captures_of(rule: Rule[Any]) -> Captures:
    """Return what the patterns of a rule capture. Raises `RuleError`."""
    names, rest = captures(rule)
    return Captures(names, rest, tuple(map(HostPattern, rule.hosts)))
