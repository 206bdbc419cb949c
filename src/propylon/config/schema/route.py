"""`routes`: matchers, destination and changes of requests."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.matching import (
    FieldMatches,
    Host,
    ListenerNames,
    Method,
    Path,
    Regex,
    Scheme,
    claimed_findings,
)
from propylon.config.schema.policy import Policies, PolicyEntry
from propylon.config.schema.redirects import Redirects
from propylon.config.schema.resilience import Retry
from propylon.config.schema.rewriting import (
    QueryEditConfig,
    Rewrite,
    Strip,
    query_edit_findings,
    rewrite_findings,
    strip_findings,
)
from propylon.config.schema.settings import RoutePathsConfig
from propylon.config.schema.split import SplitConfig
from propylon.config.schema.templates import list_findings, policy_findings, route_captures
from propylon.config.types import Cidr, Int, Listed, ListedSome, TargetUrl, Text
from propylon.routing.captures import Captures

_NAME: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
DESTINATIONS: Final = ("service", "split", "target", "redirect", "respond", "files")
ANSWERS: Final = ("redirect", "respond", "files")
"""Destinations that are policies: the gateway answers itself."""
# Keys that change requests to a service, and have no effect without one.
_FOR_SERVICES: Final = ("strip", "rewrite", "query_edit", "redirects", "retry", "fallback")


def _action(name: str) -> Any:
    """Return the type of a key that is short for a policy of the same name."""

    def validate(value: Any, info: ValidationInfo) -> PolicyEntry | None:
        if value is None or isinstance(value, PolicyEntry):
            return value
        return PolicyEntry.named(name, value, info.context)

    return PlainValidator(validate)


_ANY_SCHEMA: Final = WithJsonSchema({"type": ["object", "string", "integer"]})


class FallbackConfig(Model):
    """The fallback for a service that fails: no available endpoint, an open circuit, a timeout."""

    service: Text | None = Field(default=None, description="Name of another service.")
    respond: Annotated[PolicyEntry | None, _action("respond"), _ANY_SCHEMA] = Field(
        default=None, description="A fixed response: the settings of the policy 'respond'."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Exactly one fallback is required."""
        if sum(data.get(way) is not None for way in ("service", "respond")) != 1:
            yield Finding((), "a fallback is {service} or {respond}", "give one of them", needs=("service", "respond"))


def _fallback(value: Any) -> Any:
    if isinstance(value, Mapping | FallbackConfig):
        return value
    raise ValueError("should be {service: NAME} or {respond: {status: 503}}")


Fallback = Annotated[FallbackConfig, BeforeValidator(_fallback, json_schema_input_type=FallbackConfig)]


def _target(value: object) -> object:
    if isinstance(value, str) and _NAME.fullmatch(value):
        raise ValueError(f"has no scheme: write http://{value}, or 'service: {value}' for a service of the file")
    return value


class RouteConfig(Model):
    """Matchers of requests and their destination."""

    name: Text | None = Field(default=None, description="Name in logs and metrics; unique.")
    host: ListedSome[Host] | None = Field(
        default=None, description="Host names; *.app.example for all subdomains of app.example."
    )
    path: ListedSome[Path] | None = Field(
        default=None, description="Paths; {name} is one segment, a final * is the rest."
    )
    path_regex: Regex | None = Field(
        default=None, description="A regular expression for the whole path, instead of 'path'."
    )
    methods: ListedSome[Method] | None = Field(default=None, description="Methods; all by default.")
    headers: FieldMatches = Field(
        default={}, description='Headers, each with a value, "*" for any value, or {regex: PATTERN}.'
    )
    query: FieldMatches = Field(default={}, description="Query parameters, in the same form.")
    clients: Listed[Cidr] = Field(default=(), description="Networks of the clients; all by default.")
    scheme: Scheme | None = Field(
        default=None,
        description="http or https: that of the listener, or what a trusted proxy says; both by default.",
    )
    listeners: ListenerNames | None = Field(
        default=None, description="Listeners, by name or address, by which requests must come; all by default."
    )
    websocket: Literal["allow", "only", "refuse"] = Field(
        default="allow",
        description="WebSockets are allowed, the only requests that match (only), or refused with 403 (refuse).",
    )
    priority: Int = Field(default=0, description="Routes of a higher priority take precedence over more specific ones.")
    service: Text | None = Field(default=None, description="Name of the service to send requests to.")
    split: SplitConfig | None = Field(
        default=None, description="Several services, each with a share of the requests, instead of 'service'."
    )
    target: Annotated[TargetUrl | None, BeforeValidator(_target, json_schema_input_type=TargetUrl | None)] = Field(
        default=None,
        description="URL of an endpoint, or asgi:module:name; short for a service with this endpoint only.",
    )
    redirect: Annotated[PolicyEntry | None, _action("redirect"), _ANY_SCHEMA] = Field(
        default=None, description="Respond with a redirect: the settings of the policy 'redirect'."
    )
    respond: Annotated[PolicyEntry | None, _action("respond"), _ANY_SCHEMA] = Field(
        default=None, description="A response of the gateway: the settings of the policy 'respond'."
    )
    files: Annotated[PolicyEntry | None, _action("files"), _ANY_SCHEMA] = Field(
        default=None, description="Respond with files of a directory: the settings of the policy 'files'."
    )
    strip: Strip = Field(default=None, description="Prefix to remove from the path before it is sent.")
    rewrite: Rewrite | None = Field(
        default=None,
        description="New path: a template such as /v2/{id}, {prefix, to}, or {regex, to}.",
    )
    path_rules: RoutePathsConfig | None = Field(
        default=None, description="Handling of ambiguous paths, instead of that of 'paths'."
    )
    query_edit: QueryEditConfig | None = Field(default=None, description="Changes of the query before it is sent.")
    redirects: Redirects | None = Field(
        default=None, description="URLs in responses, instead of the service's 'redirects': default, off, {from: to}."
    )
    retry: Retry | None = Field(
        default=None, description="Retries of requests of this route, instead of the service's 'retry'."
    )
    fallback: Fallback | None = Field(
        default=None, description="Fallback for a failing service: {service} or {respond}."
    )
    docs: Any = Field(default=None, description="Anything; shown to clients in /services.json.")
    policies: Policies = Field(
        default=(), description="Policies of this route, after those of the gateway and the service."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """A route requires one kind of path and one destination."""
        yield from _destination_findings(data)
        yield from _redirect_findings(data)
        yield from _resilience_findings(data)
        yield from claimed_findings(data.get("headers"), "host")
        paths = [key for key in ("path", "path_regex") if data.get(key) is not None]
        if not paths:
            yield Finding(
                (),
                "a route needs 'path' or 'path_regex'",
                "write 'path: /*' for all paths",
                needs=("path", "path_regex"),
            )
        elif len(paths) == 2:
            yield Finding(("path_regex",), "'path' and 'path_regex' exclude each other", "remove one")
        if data.get("strip") is not None and data.get("rewrite") is not None:
            yield Finding(("strip",), "'strip' and 'rewrite' exclude each other", "let the rewrite do it")
        yield from strip_findings(data)
        captures = route_captures(data)
        if captures is not None:
            yield from rewrite_findings(data, captures)
            yield from query_edit_findings(data.get("query_edit"), captures)
            yield from _name_findings(data, captures, info.context)


def _destination_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    given = [key for key in DESTINATIONS if data.get(key) is not None]
    if not given:
        hint = f"give one of {', '.join(DESTINATIONS)}"
        yield Finding((), "a route needs a destination", hint, needs=DESTINATIONS)
    for extra in given[1:]:
        yield Finding((extra,), f"{given[0]!r} and {extra!r} exclude each other", "remove one")
    if given and given[0] in ANSWERS:
        for key in _FOR_SERVICES:
            if data.get(key) is not None and not (given[0] == "files" and key in ("strip", "rewrite")):
                yield Finding((key,), f"{key!r} is of no use with {given[0]!r}", "remove it")


def _redirect_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """A redirect to https passes https requests on, so a route for these only would never redirect."""
    redirect = data.get("redirect")
    keys = set(redirect) - {"status", "query"} if isinstance(redirect, Mapping) else set()
    if data.get("scheme") == "https" and keys == {"https"}:
        yield Finding(("scheme",), "what comes by https is not redirected to https", "remove 'scheme'")


def _resilience_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    fallback = data.get("fallback")
    other = fallback.get("service") if isinstance(fallback, Mapping) else None
    if isinstance(other, str) and other == data.get("service"):
        yield Finding(("fallback", "service"), f"{other!r} cannot take over for itself", "name another service")


def _name_findings(data: Mapping[str, Any], captures: Captures, context: Any) -> Iterator[Finding]:
    """Yield the unknown names in the templates of policies."""
    for finding in list_findings(data.get("policies"), captures, context):
        yield Finding(("policies", *finding.loc), *finding[1:])
    fallback = data.get("fallback")
    respond = fallback.get("respond") if isinstance(fallback, Mapping) else None
    answers = ((("redirect",), data.get("redirect")), (("respond",), data.get("respond")))
    for loc, settings in (*answers, (("fallback", "respond"), respond)):
        if settings is not None:
            for finding in policy_findings(loc[-1], settings, captures, context):
                yield Finding((*loc, *finding.loc), *finding[1:])
