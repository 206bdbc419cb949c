"""Rules: all conditions that a route can have, compiled once.

Rules of this file:

- A rule with several hosts or paths matches if any of them does; all other conditions must hold.
- Methods are case-sensitive (RFC 9110 9.1); GET includes HEAD.
- A value in `headers` or `query` is the exact value, "*" for any value, or a `Regex` for the whole
  value. `Matchable.header` defines the value of a header that occurs more than once.
- An invalid rule raises `RuleError` when it is compiled, never while a request is matched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from propylon.http import query as query_string
from propylon.routing.pattern import HostPattern, PathPattern, RuleError, regex_path
from propylon.routing.safe_regex import UnsafeRegex, compile_regex

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from propylon.http.forwarded import Origin
    from propylon.http.place import Place

R = TypeVar("R")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MAX_CACHED = 1024  # client addresses a check


class Matchable(Protocol):
    """The parts of a request that rules read besides host, path and method."""

    @property
    def query(self) -> bytes | None:
        """The query as received, without '?'; None if there is none."""

    @property
    def path(self) -> bytes:
        """The canonical path."""

    @property
    def client_address(self) -> bytes:
        """The client's address as text; b"" if it has none (a Unix socket)."""

    @property
    def origin(self) -> Origin:
        """The verified client, scheme and host."""

    @property
    def listener(self) -> str | None:
        """The id of the listener by which it came; `None` if by none."""

    @property
    def is_websocket(self) -> bool:
        """Whether it is a WebSocket handshake."""

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value by its lower-case name; None if it is absent."""


@dataclass(frozen=True, slots=True)
class Regex:
    """A header or query value given as a regular expression for the whole value."""

    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[R]):
    """The conditions of a route, and the route; as written, not yet compiled.

    Attributes:
        route: what `Router.find` returns; opaque to the router.
        hosts: host patterns; empty is any host.
        paths: path patterns; empty is any path.
        path_regex: a regular expression for the whole path, instead of `paths`; its named groups are parameters.
        methods: empty is any method.
        headers: name -> exact value, "*" or `Regex`.
        query: parameter name -> exact value, "*" or `Regex`, compared decoded.
        clients: networks in CIDR notation; empty is any client.
        scheme: `http` or `https`; `None` is any.
        listeners: name -> id of the listeners by which a request must have come; empty is any.
        not_at: requests that are at this place already do not match: what is redirected there.
        only_websockets: whether it matches WebSocket handshakes only.
        priority: higher is tried first.
        order: position in the list; between equals the lower wins.
    """

    route: R
    hosts: Sequence[str] = ()
    paths: Sequence[str] = ()
    path_regex: str | None = None
    methods: Collection[str] = ()
    headers: Mapping[str, str | Regex] = field(default_factory=dict)
    query: Mapping[str, str | Regex] = field(default_factory=dict)
    clients: Sequence[str] = ()
    scheme: str | None = None
    listeners: Mapping[str, str] = field(default_factory=dict)
    not_at: Place | None = None
    only_websockets: bool = False
    priority: int = 0
    order: int = 0


class Check:
    """One condition on a request.

    Attributes:
        what: what it looks at.
        failed: what is said of a request that does not fulfil it.
    """

    __slots__ = ("failed", "what")

    def __init__(self, what: str, failed: str = "") -> None:
        self.what = what
        self.failed = failed or f"{what} does not match"

    def test(self, request: Matchable) -> bool:
        """Return whether the request fulfils it."""
        raise NotImplementedError


class HeaderCheck(Check):
    """Condition on a header's value."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: str | Regex) -> None:
        if not _TOKEN.fullmatch(name):
            raise RuleError(f"{name!r} is no header name")
        super().__init__(f"header '{name}'")
        self.name = name.lower().encode("ascii")
        self.value = _value(self.what, value)

    def test(self, request: Matchable) -> bool:
        return _matches(request.header(self.name), self.value)


class QueryCheck(Check):
    """Condition on the value of a query parameter; of several values the first is used."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: str | Regex) -> None:
        super().__init__(f"query parameter '{name}'")
        self.name = name.encode("utf-8")
        self.value = _value(self.what, value)

    def test(self, request: Matchable) -> bool:
        return _matches(query_string.get(request.query, self.name), self.value)


class ClientCheck(Check):
    """Condition that the client's address is in one of the networks."""

    __slots__ = ("_cache", "_networks")

    def __init__(self, networks: Sequence[str]) -> None:
        super().__init__("client address")
        self._networks = [_network(text) for text in networks]
        self._cache: dict[bytes, bool] = {}

    def test(self, request: Matchable) -> bool:
        client = request.client_address
        cached = self._cache.get(client)
        if cached is None:
            cached = self._contains(client)
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[client] = cached
        return cached

    def _contains(self, client: bytes) -> bool:
        try:
            address = ip_address(client.decode("ascii"))
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class SchemeCheck(Check):
    """Condition on the verified scheme."""

    __slots__ = ("_scheme",)

    def __init__(self, scheme: str) -> None:
        super().__init__("scheme", f"the scheme is not {scheme}")
        self._scheme = scheme.encode("ascii")

    def test(self, request: Matchable) -> bool:
        return request.origin.scheme == self._scheme


class ListenerCheck(Check):
    """Condition on the listener by which the request came: never fulfilled by one that came by none."""

    __slots__ = ("_ids",)

    def __init__(self, listeners: Mapping[str, str]) -> None:
        super().__init__("listener", f"the listener is not {' or '.join(listeners)}")
        self._ids = frozenset(listeners.values())

    def test(self, request: Matchable) -> bool:
        return request.listener in self._ids


class ElsewhereCheck(Check):
    """Condition that the request is not at the place where it would be redirected to: that would never end."""

    __slots__ = ("_place",)

    def __init__(self, place: Place) -> None:
        super().__init__("place", f"the request is where it would be redirected to: {place}")
        self._place = place

    def test(self, request: Matchable) -> bool:
        return not self._place.is_of(request.origin, request.path)


class WebSocketCheck(Check):
    """Condition that the request is a WebSocket handshake."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("WebSocket", "only WebSockets: the request does not match")

    def test(self, request: Matchable) -> bool:
        return request.is_websocket


class CompiledRule(Generic[R]):
    """A rule, checked and compiled. Raises `RuleError`.

    Attributes:
        methods: the methods that match, HEAD included; None is any.
        checks: the further conditions.
        conditions: number of conditions besides host and path, each header and parameter counted.
    """

    __slots__ = ("checks", "conditions", "hosts", "methods", "paths", "rule")

    def __init__(self, rule: Rule[R]) -> None:
        self.rule = rule
        self.hosts = [HostPattern(text) for text in rule.hosts or ("*",)]
        self.paths = _paths(rule)
        self.methods = _methods(rule.methods)
        checks: list[Check] = [HeaderCheck(name, value) for name, value in rule.headers.items()]
        checks += [QueryCheck(name, value) for name, value in rule.query.items()]
        if rule.clients:
            checks.append(ClientCheck(rule.clients))
        if rule.scheme is not None:
            checks.append(SchemeCheck(rule.scheme))
        if rule.listeners:
            checks.append(ListenerCheck(rule.listeners))
        if rule.only_websockets:
            checks.append(WebSocketCheck())
        self.conditions = len(checks) + (self.methods is not None)
        if rule.not_at is not None:  # it was not written as a condition, and so it does not count as one
            checks.append(ElsewhereCheck(rule.not_at))
        self.checks = tuple(checks)

    def failed_check(self, request: Matchable) -> Check | None:
        """Return the first check that fails."""
        for check in self.checks:
            if not check.test(request):
                return check
        return None


def captures(rule: Rule[R]) -> tuple[frozenset[str], bool]:
    """Return the parameters common to all paths of the rule, and whether all end in `*`. Raises `RuleError`."""
    paths = _paths(rule)
    names = frozenset(paths[0].names).intersection(*(path.names for path in paths))
    return names, all(path.rest for path in paths)


def _paths(rule: Rule[R]) -> list[PathPattern]:
    if rule.path_regex is None:
        return [PathPattern(text) for text in rule.paths or ("/*",)]
    if rule.paths:
        raise RuleError("a route has either paths or a path_regex, not both")
    return [regex_path(rule.path_regex)]


def _methods(methods: Collection[str]) -> frozenset[bytes] | None:
    for method in methods:
        if not _TOKEN.fullmatch(method):
            raise RuleError(f"{method!r} is no method")
        if method != method.upper():
            raise RuleError(f"methods are compared with case: write {method.upper()!r} instead of {method!r}")
    if not methods:
        return None
    names = {method.encode("ascii") for method in methods}
    return frozenset(names | {b"HEAD"} if b"GET" in names else names)


def _value(what: str, value: str | Regex) -> bytes | re.Pattern[bytes] | None:
    """Compile an expected value; None is any value."""
    if isinstance(value, Regex):
        try:
            return compile_regex(value.pattern)
        except UnsafeRegex as error:
            raise RuleError(f"{what}: regex {value.pattern!r}: {error}") from None
    return None if value == "*" else value.encode("utf-8")


def _matches(value: bytes | None, expected: bytes | re.Pattern[bytes] | None) -> bool:
    if value is None or expected is None:
        return value is not None
    return value == expected if isinstance(expected, bytes) else expected.fullmatch(value) is not None


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise RuleError(f"client {text!r} is no network; write '10.0.0.0/8', '2001:db8::/32' or an address") from None
    raise RuleError(f"client {text!r} has bits behind its prefix length; did you mean '{network}'?")
