"""The whole configuration, compiled into objects that exchanges use without looking anything up.

A snapshot is made whole or not at all, and never changes; an exchange keeps the one it began with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from propylon.engine.errors import GatewayError
from propylon.engine.pipeline import Pipeline
from propylon.engine.timing import Timeouts
from propylon.http.request_head import RequestFields
from propylon.routing.router import RouteMatch, Router, WrongMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from propylon.engine.backend import Service
    from propylon.engine.exchange import Exchange
    from propylon.engine.message import Response
    from propylon.engine.pipeline import PolicyUse
    from propylon.engine.retry import RetrySettings
    from propylon.engine.scope import PlacedPolicy
    from propylon.engine.split import Split
    from propylon.http.forwarded import ForwardingRules
    from propylon.http.request_head import RequestReader
    from propylon.routing.rewrite import QueryEdit, Rewrite


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What a client may send before it is refused, and what is held for it; sizes in bytes.

    The defaults are nginx's, or wider.
    """

    request_line: int = 8 * 1024
    header_block: int = 32 * 1024
    pipeline_buffer: int = 64 * 1024
    write_buffer: int = 256 * 1024
    connections: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimeouts:
    """How long a client may take, in seconds; `inf` for ever."""

    header: float = 10.0
    keep_alive: float = 75.0
    write: float = 60.0
    body: float = 60.0
    linger: float = 5.0
    drain: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """How names of endpoints are resolved.

    Attributes:
        servers: `ip:port` of DNS servers; none for the system's.
        min_ttl, max_ttl: seconds; answers are kept no shorter and no longer.
        refuse_private: whether addresses that are not public are left out.
    """

    servers: tuple[str, ...] = ()
    min_ttl: float = 1.0
    max_ttl: float = 300.0
    refuse_private: bool = False


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """A page of the operator's own for a status."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """What takes over when a service has no answer: another service, or what makes a response."""

    service: Service | None = None
    respond: Callable[[Exchange], Response] | None = None


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """A route as exchanges use it.

    Attributes:
        name: its name, or what it matches.
        pipeline: the hooks of all its policies.
        policies: the same policies as a list, for people.
        service: where it goes; `None` if a policy answers, or it is split.
        split: picks the variant of it that an exchange takes, each with a service and all else of its own.
        rewrite: how the path changes on the way to the service.
        query_edit: how the query changes.
        entry: what `/services.json` tells about it.
        retry: when its requests are tried again, if that is not as the service says.
        fallback: what takes over when the service has no answer.
        refuses_websockets: whether a request for one is answered with 403.
    """

    name: str
    pipeline: Pipeline = field(default_factory=Pipeline)
    policies: tuple[PolicyUse, ...] = ()
    service: Service | None = None
    split: Split | None = None
    rewrite: Rewrite | None = None
    query_edit: QueryEdit | None = None
    entry: tuple[dict[str, Any], ...] = ()
    refuses_websockets: bool = False
    retry: RetrySettings | None = None
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Snapshot:
    """Everything an exchange needs that is not its own.

    Attributes:
        router: leads to the routes.
        routes: all routes, in the order of the configuration.
        services: all services by name, as those who made them know them: the engine only hands them on.
        outside: what serves requests that match no route: the gateway's own policies.
        reader: reads and remembers request heads.
        forwarding: what services are told about clients.
        dns: how the addresses of endpoints are found.
        pseudonym: this gateway's name in Via; empty if it writes none.
        policies: all policies of it, each once.
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
    no_fields: RequestFields = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "no_fields", RequestFields(b"", self.reader.rules))

    def match(self, x: Exchange) -> CompiledRoute:
        """Find the route of an exchange (step 2).

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
