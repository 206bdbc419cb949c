"""Facts of a request that templates can name, as `{client.address}`.

Rules of this file: the names have a dot, so that no parameter of a path hides one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from propylon.routing.pattern import ANY, EXACT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from propylon.http.forwarded import Origin
    from propylon.http.host import Host
    from propylon.routing.captures import Captures

CAPTURED, PATH, TEXT = "captured", "path", "text"
"""Kinds of values: a piece of the path that stands for a text; a whole path; any other text."""


class Routed(Protocol):
    """The parts of a route that templates read."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def captures(self) -> Captures:
        """What its patterns capture."""


class Facts(Protocol):
    """The parts of a request that templates read."""

    @property
    def id(self) -> bytes:
        """The X-Request-Id."""

    @property
    def client_method(self) -> bytes:
        """The method that the client sent."""

    @property
    def path(self) -> bytes:
        """The canonical path."""

    @property
    def query(self) -> bytes | None:
        """The query as received, without '?'; None if there is none."""

    @property
    def host(self) -> Host | None:
        """The host of the request."""

    @property
    def client_address(self) -> bytes:
        """The client's address as text."""

    @property
    def origin(self) -> Origin:
        """The scheme of the client's request."""

    @property
    def route(self) -> Routed:
        """The route that matched."""

    @property
    def path_params(self) -> Mapping[str, bytes]:
        """The parameters of the path, as in the canonical path."""

    @property
    def path_rest(self) -> bytes:
        """What the final `*` of the route's path matched."""


class Fact(NamedTuple):
    """A fact of every request: its value, the kind of value, and what it is."""

    read: Callable[[Facts], bytes]
    kind: str
    description: str


def _host_rest(request: Facts) -> bytes:
    """Return the labels that the `*` of the route's most specific host stands for."""
    name = b"" if request.host is None else request.host.name
    fitting = [each for each in request.route.captures.hosts if each.matches(name, each.port)]
    best = min(fitting, key=lambda each: each.rank, default=None)
    if best is None or best.kind == EXACT:
        return b""
    return name if best.kind == ANY else name.removesuffix(best.name)


FACTS: Final = {
    "client.address": Fact(lambda x: x.client_address, TEXT, "the client's address, through trusted proxies"),
    "request.id": Fact(lambda x: x.id, TEXT, "the X-Request-Id"),
    "request.method": Fact(lambda x: x.client_method, TEXT, "the method"),
    "request.scheme": Fact(lambda x: x.origin.scheme, TEXT, "`http` or `https`, as the client used it"),
    "request.host": Fact(
        lambda x: b"" if x.host is None else x.host.name, TEXT, "the host in lower case, without port"
    ),
    "request.path": Fact(lambda x: x.path, PATH, "the canonical path, percent-encoded"),
    "request.query": Fact(lambda x: x.query or b"", TEXT, "the query as received, without `?`"),
    "route.name": Fact(lambda x: x.route.name.encode("utf-8"), TEXT, "the name of the route"),
}
HOST_REST: Final = Fact(_host_rest, TEXT, "what the `*` of the route's host stands for")
