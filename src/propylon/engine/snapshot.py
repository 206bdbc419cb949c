"""The snapshot: the whole configuration, compiled into objects that exchanges use without lookups.

A snapshot is built completely or not at all, and is immutable; an exchange keeps the one it began with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from propylon.engine.errors import GatewayError
from propylon.engine.line_limit import LineLimit
from propylon.engine.pipeline import Pipeline
from propylon.engine.timing import Timeouts
from propylon.http.request_head import RequestFields
from propylon.http.target import PathRules, parse_target
from propylon.routing.captures import NO_CAPTURES
from propylon.routing.router import RouteMatch, Router, WrongMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from propylon.engine.backend import Service
    from propylon.engine.exchange import Exchange
    from propylon.engine.pipeline import PolicyUse
    from propylon.engine.public_urls import PublicUrls
    from propylon.engine.response import Response
    from propylon.engine.retry import RetrySettings
    from propylon.engine.scope import PlacedPolicy
    from propylon.engine.split import Split
    from propylon.http.forwarded import ForwardingRules
    from propylon.http.request_head import RequestLine
    from propylon.http.request_reader import RequestReader
    from propylon.http.target import Target
    from propylon.routing.captures import Captures
    from propylon.routing.match import Matchable
    from propylon.routing.query_edit import QueryEdit
    from propylon.routing.rewrite import Rewrite


STRICT = PathRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Limit of connections, and buffer sizes of each, in bytes."""

    pipeline_buffer: int = 64 * 1024
    write_buffer: int = 256 * 1024
    connections: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimeouts:
    """Timeouts of clients in seconds; `inf` for none. The last two are those of `transport.probes`."""

    header: float = 10.0
    keep_alive: float = 75.0
    write: float = 60.0
    body: float = 60.0
    linger: float = 5.0
    drain: float = inf
    tcp_keepalive: float = 30.0
    tcp_user_timeout: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """How names of endpoints are resolved.

    Attributes:
        servers: `ip:port` of DNS servers; empty for the system's.
        min_ttl, max_ttl: bounds in seconds for the TTL of answers.
        refuse_private: whether addresses that are not public are ignored.
    """

    servers: tuple[str, ...] = ()
    min_ttl: float = 1.0
    max_ttl: float = 300.0
    refuse_private: bool = False


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """A configured page for a status."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """What is used when a service has no response: another service, or a function that makes the response."""

    service: Service | None = None
    respond: Callable[[Exchange], Response] | None = None


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """A compiled route.

    Attributes:
        name: its name, or what it matches.
        pipeline: the hooks of all its policies.
        policies: the same policies as a list, for `explain`.
        service: of the route; `None` if a policy answers, or the route is split.
        split: picks the variant of the route for an exchange, each with its service and policies.
        captures: what its patterns capture.
        rewrite: of the path for the service.
        stripped: the prefix that `rewrite` cuts off; b"" for none.
        public_urls: rules for URLs in the service's responses; `None` leaves them.
        query_edit: of the query for the service.
        entry: of the route in `/services.json`.
        retry: its retry settings; `None` for those of the service.
        fallback: for failures of the service.
        paths: rules for paths.
        refuses_websockets: whether a WebSocket handshake is answered with 403.
    """

    name: str
    pipeline: Pipeline = field(default_factory=Pipeline)
    policies: tuple[PolicyUse, ...] = ()
    service: Service | None = None
    split: Split | None = None
    captures: Captures = NO_CAPTURES
    rewrite: Rewrite | None = None
    stripped: bytes = b""
    public_urls: PublicUrls | None = None
    query_edit: QueryEdit | None = None
    entry: tuple[dict[str, Any], ...] = ()
    refuses_websockets: bool = False
    retry: RetrySettings | None = None
    fallback: Fallback | None = None
    paths: PathRules = STRICT


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Snapshot:
    """All that exchanges share.

    Attributes:
        router: finds routes.
        routes: all routes, in the order of the configuration.
        services: all services by name; their type is that of `services/`, which the engine does not import.
        outside: the route of requests that match none: with the gateway's own policies.
        reader: parses and caches request heads.
        forwarding: rules for the forwarding fields.
        dns: how names of endpoints are resolved.
        pseudonym: this gateway's name in Via; empty for no Via.
        policies: all policies, each once.
        title_case: whether field names are sent in capitals, as `Content-Length`.
        line_limit: bounds the lines of the log that any client can cause.
    """

    router: Router[CompiledRoute]
    routes: tuple[CompiledRoute, ...]
    services: Mapping[str, Any]
    outside: CompiledRoute
    reader: RequestReader
    forwarding: ForwardingRules
    dns: DnsSettings = field(default_factory=DnsSettings)
    pseudonym: bytes = b""
    limits: ClientLimits = field(default_factory=ClientLimits)
    client_timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
    timeouts: Timeouts = field(default_factory=Timeouts)
    error_pages: dict[str, ErrorPage] = field(default_factory=dict)
    policies: tuple[PlacedPolicy, ...] = ()
    title_case: bool = False
    line_limit: LineLimit = field(default_factory=LineLimit, compare=False)
    no_fields: RequestFields = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "no_fields", RequestFields(b"", self.reader.rules))

    def read_again(self, line: RequestLine, name: bytes, port: bytes | None, request: Matchable) -> Target:
        """Return the target of a request by the rules of its route.

        Args:
            name, port: of the request's host.

        Raises:
            TargetError: they refuse it.
        """
        found = self.router.find(name, port, line.path, line.method, request)
        route = found.route if isinstance(found, RouteMatch) else self.outside
        return parse_target(line.method, line.raw_target, route.paths)

    def match(self, x: Exchange) -> CompiledRoute:
        """Set and return the route of an exchange (step 2).

        Raises:
            GatewayError: match.no_route, match.method, upgrade.refused.
        """
        host = x.host
        if host is None:
            found = self.router.find(b"", None, x.path, x.method, x)
        else:
            found = self.router.find(host.name, host.port, x.path, x.method, x)
        if isinstance(found, RouteMatch):
            route = found.route
            if route.split is not None:
                route = route.split.pick(x)
            x.route = route
            x.path_params, x.path_rest, x.service = found.params, found.rest, route.service
            if route.refuses_websockets and x.is_websocket:
                raise GatewayError("upgrade.refused")
            return route
        if isinstance(found, WrongMethod):
            raise GatewayError("match.method", headers={"allow": ", ".join(m.decode("ascii") for m in found.allow)})
        raise GatewayError("match.no_route")
