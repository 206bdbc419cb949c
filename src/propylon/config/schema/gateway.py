"""The whole configuration, and the rules between its parts."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from propylon.config.addresses import parse_listen_address
from propylon.config.problems import suggest
from propylon.config.schema.base import Finding, Loc, Model
from propylon.config.schema.expectation import RequestTestConfig
from propylon.config.schema.listener import ListenerConfig, Listeners
from propylon.config.schema.listener_refs import listener_findings
from propylon.config.schema.matching import TOKEN_PATTERN
from propylon.config.schema.policy import Policies
from propylon.config.schema.route import RouteConfig
from propylon.config.schema.service import ServiceConfig
from propylon.config.schema.service_refs import policy_services
from propylon.config.schema.settings import (
    DEFAULT_SERVICES_JSON,
    DnsConfig,
    ErrorsConfig,
    FieldNamesConfig,
    ForwardedConfig,
    LimitsConfig,
    LogConfig,
    PathsConfig,
    ServicesJson,
    TimeoutsConfig,
)
from propylon.config.schema.templates import list_findings
from propylon.config.types import Listed, Text, TrustedPeer, one_or_more
from propylon.routing.captures import NOT_IN_ROUTE

DEFAULT_LISTEN = "127.0.0.1:8080"
MAX_SERVICE_NAME = 100

_SERVICE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"


def _service_name(value: str) -> str:
    if not re.fullmatch(_SERVICE_NAME, value) or len(value) > MAX_SERVICE_NAME:
        raise ValueError(
            f"not a name of a service: write letters, digits, '_', '.' and '-', {MAX_SERVICE_NAME} at most"
        )
    return value


def _service(value: object) -> object:
    if isinstance(value, str | list | tuple):
        raise ValueError("should be settings: write {endpoints: [URL]}")
    return value


Service = Annotated[ServiceConfig, BeforeValidator(_service, json_schema_input_type=ServiceConfig)]

ServiceName = Annotated[
    str,
    AfterValidator(_service_name),
    WithJsonSchema({"type": "string", "pattern": _SERVICE_NAME, "maxLength": MAX_SERVICE_NAME}),
]


class GatewayConfig(Model):
    """The whole configuration of a gateway."""

    listen: Listeners = Field(
        default_factory=lambda: (ListenerConfig(address=parse_listen_address(DEFAULT_LISTEN)),),
        description="Where clients connect: an address, {address, tls, proxy_protocol, ...}, or a list of these.",
    )
    name: Annotated[str, Field(pattern=TOKEN_PATTERN)] | None = Field(
        default=None, description="Pseudonym of this gateway in Via; by default derived from the host's name."
    )
    zone: Text | None = Field(
        default=None, description="Zone of this gateway; endpoints of the same zone are preferred."
    )
    trusted_proxies: Listed[TrustedPeer] = Field(
        default=(), description="Networks of the proxies whose X-Forwarded-* and Forwarded fields are trusted."
    )
    forwarded: ForwardedConfig = Field(
        default_factory=ForwardedConfig, description="Fields that carry information about the client to services."
    )
    paths: PathsConfig = Field(default_factory=PathsConfig, description="Handling of ambiguous paths.")
    field_names: FieldNamesConfig = Field(
        default_factory=FieldNamesConfig, description="Handling of ambiguous header names."
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig, description="Limits of request heads, buffers and client connections."
    )
    timeouts: TimeoutsConfig = Field(
        default_factory=TimeoutsConfig, description="How long the gateway waits for clients."
    )
    dns: DnsConfig = Field(default_factory=DnsConfig, description="How the names of endpoints are resolved.")
    errors: ErrorsConfig = Field(
        default_factory=ErrorsConfig, description="How the gateway's own errors are shown to clients."
    )
    services_json: ServicesJson = Field(
        default=DEFAULT_SERVICES_JSON, description="The list of services for clients: true, false, or its path."
    )
    log: LogConfig = Field(default_factory=LogConfig, description="The gateway's log.")
    policies: Policies = Field(default=(), description="Policies of every route, in the order in which they run.")
    services: dict[ServiceName, Service] = Field(default={}, description="Services by name.")
    routes: tuple[RouteConfig, ...] = Field(default=(), description="Routes; the most specific one that matches wins.")

    include: Listed[Text] = Field(
        default=(), description="Files, directories and patterns of further files of this configuration."
    )
    tests: tuple[RequestTestConfig, ...] = Field(
        default=(),
        description="Requests with their expected results, for 'propylon test'; 'propylon run' ignores them.",
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Referenced names must exist, and names must be unique."""
        if data.get("include"):  # it is resolved before files are validated
            yield Finding(("include",), "'include' is for files", "use Gateway.load, or build it all in Python")
        yield from _listen_findings(data.get("listen"))
        yield from listener_findings(data)
        routes = data.get("routes")
        routes = routes if isinstance(routes, list | tuple) else ()
        services = data.get("services")
        known = [str(name) for name in services] if isinstance(services, Mapping) else []
        names = [_get(route, "name") for route in routes]
        yield from _name_findings(names)
        yield from _test_findings(data.get("tests"), names, known)
        if services and not known:
            return  # they are not a mapping, which is reported elsewhere
        for index, route in enumerate(routes):
            yield from _service_finding(("routes", index, "service"), _get(route, "service"), known)
            shares = _get(_get(route, "split"), "services")
            for name in shares if isinstance(shares, Mapping) else ():
                yield from _service_finding(("routes", index, "split", "services", name), name, known)
            fallback = _get(_get(route, "fallback"), "service")
            yield from _service_finding(("routes", index, "fallback", "service"), fallback, known)
        yield from _policy_findings(("policies",), data.get("policies"), known, info.context)
        for name in known:
            policies = _get(_get(services, name), "policies")
            yield from _policy_findings(("services", name, "policies"), policies, known, info.context)
        for index, route in enumerate(routes):
            yield from _policy_findings(("routes", index, "policies"), _get(route, "policies"), known, info.context)
            yield from _refused_path_findings(index, route, data.get("paths"))


def _service_finding(loc: Loc, service: Any, known: list[str]) -> Iterator[Finding]:
    if isinstance(service, str) and service and service not in known:
        hint = suggest(service, known) or ("define it under 'services'" if not known else None)
        if ":/" in service:
            hint = "write a URL as 'target', or as an endpoint of a service"
        yield Finding(loc, f"unknown service {service!r}", hint, needs=("services",))


def _policy_findings(loc: Loc, policies: Any, known: list[str], context: Any) -> Iterator[Finding]:
    for at, service in policy_services(policies, context):
        yield from _service_finding((*loc, *at), service, known)
    if loc[0] != "routes":  # a route reports its own, as it knows what it captures
        for finding in list_findings(policies, NOT_IN_ROUTE, context):
            yield Finding((*loc, *finding.loc), *finding[1:])


def _refused_path_findings(index: int, route: Any, rules: Any) -> Iterator[Finding]:
    """A path that requests may not have can never match."""
    paths = one_or_more(_get(route, "path"))
    for number, path in enumerate(paths if isinstance(paths, list | tuple) else ()):
        for key, pattern, what in _REFUSED_IN_PATHS:
            kept = (_get(_get(route, "path_rules"), key) or _get(rules, key)) == "keep"
            if isinstance(path, str) and not kept and (found := pattern.search(path)) is not None:
                message = f"no request has this path: {what} such as {found[0]!r} are refused with 400"
                yield Finding(
                    ("routes", index, "path", number), message, f"let it through with 'path_rules: {{{key}: keep}}'"
                )


_REFUSED_IN_PATHS = (
    ("encoded_slashes", re.compile(r"%2[Ff]"), "escapes of slashes"),
    ("semicolons", re.compile(r";"), "semicolons"),
)


def _name_findings(names: list[Any]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if isinstance(name, str):
            if name in first:
                yield Finding(("routes", index, "name"), f"the name {name!r} is already routes.{first[name]}'s")
            first.setdefault(name, index)


def _test_findings(tests: Any, routes: list[Any], services: list[str]) -> Iterator[Finding]:
    """Names that a test expects must exist, except for the default names of unnamed routes and services."""
    named = {"route": [name for name in routes if isinstance(name, str)], "service": services}
    for index, test in enumerate(tests if isinstance(tests, list | tuple) else ()):
        expected = _get(test, "expect")
        for key, known in named.items():
            value = _get(expected, key)
            if isinstance(value, str) and value != "none" and value not in known and not _is_unnamed(value):
                loc = ("tests", index, "expect", key)
                yield Finding(loc, f"unknown {key} {value!r}", suggest(value, known), needs=(f"{key}s",))


def _is_unnamed(value: str) -> bool:
    """Return whether it is the default name of a route (its path) or of the service of a `target` (its URL)."""
    return "/" in value or value == "services_json"


def _listen_findings(listen: Any) -> Iterator[Finding]:
    seen: Counter[object] = Counter()
    for index, listener in enumerate(listen if isinstance(listen, list) else ()):
        try:
            address = parse_listen_address(listener if isinstance(listener, str) else _get(listener, "address"))
        except ValueError:
            continue
        seen[address] += 1
        if seen[address] > 1 and (address.port or address.unix_path):
            yield Finding(("listen", index), f"the address {address} is listed twice")


def _get(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)
