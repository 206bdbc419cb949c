"""Builds a snapshot from a validated configuration.

All errors are detected here or before, never at a request: certificates are read, modules imported, policies
constructed, patterns compiled.
"""

from __future__ import annotations

import hashlib
import mimetypes
import socket
from dataclasses import dataclass, field, replace
from functools import reduce
from math import inf
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from propylon.build.errors import BuildError
from propylon.build.policies import build_policies, named_listeners
from propylon.build.policies_at_work import NO_POLICIES
from propylon.build.problems import build_problems
from propylon.build.service import (
    HERE,
    NOTHING_RUNS,
    BuildContext,
    build_service,
    build_targets,
    retry_settings,
)
from propylon.build.split import build_split
from propylon.config.schema.listener_refs import listeners_by_name
from propylon.engine.message import Response
from propylon.engine.pipeline import Pipeline, PolicyUse, compile_pipeline
from propylon.engine.public_urls import PublicUrls
from propylon.engine.snapshot import (
    ClientLimits,
    ClientTimeouts,
    CompiledRoute,
    DnsSettings,
    ErrorPage,
    Fallback,
    Snapshot,
)
from propylon.http.claims import NO_NAMES, Names
from propylon.http.forwarded import ForwardingRules, TrustedProxies
from propylon.http.request_head import HeadRules
from propylon.http.request_reader import RequestReader
from propylon.http.target import KEEP_ALL, KEEP_SLASHES, PathRules
from propylon.inbound.tls import Identities
from propylon.routing.captures import captures_of
from propylon.routing.query_edit import QueryEdit
from propylon.routing.rewrite import replace_prefix, replace_regex, strip, template
from propylon.routing.router import Router, Rule
from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from propylon.build.policies import BuiltPolicies
    from propylon.build.policies_at_work import PoliciesAtWork
    from propylon.config.schema import GatewayConfig, PathsConfig, RouteConfig
    from propylon.engine.exchange import Exchange
    from propylon.routing.captures import Captures
    from propylon.routing.rewrite import Rewrite
    from propylon.services.service import Service


def build_snapshot(
    config: GatewayConfig,
    running: Mapping[str, Service] = NOTHING_RUNS,
    base_dir: Path = HERE,
    at_work: PoliciesAtWork = NO_POLICIES,
) -> Snapshot:
    """Compile a configuration.

    Args:
        running: the current services: those with an unchanged configuration are reused.
        base_dir: the folder of the configuration file, which paths of providers are relative to.
        at_work: the current policies, reused in the same way.

    Raises:
        BuildError: with every module that cannot be imported, policy that cannot be created and certificate that
            cannot be read.
    """
    try:
        return _build(config, running, base_dir, at_work)
    except BuildError as error:
        found = build_problems(config, base_dir)
        messages = (*(each for each in error.messages if each not in found), *found)
        raise BuildError(*messages) from error


def _build(config: GatewayConfig, running: Mapping[str, Service], base_dir: Path, at_work: PoliciesAtWork) -> Snapshot:
    _check_listeners(config)
    context = BuildContext(config, running, base_dir, at_work.same_code)
    services = {name: build_service(name, service, context) for name, service in config.services.items()}
    policies = build_policies(config, at_work)
    targets = build_targets(dict.fromkeys(route.target for route in config.routes if route.target), context)
    redirects = {name: each.redirects for name, each in config.services.items()}
    parts = _Parts(services, targets, policies, redirects, config.paths)
    listeners = listeners_by_name(config.listen)
    rules = [_rule(route, number, parts.route(route, number), listeners) for number, route in enumerate(config.routes)]
    routes = tuple(rule.route for rule in rules)
    if config.services_json is not None:
        rules.append(_services_json(config.services_json, rules, policies.gateway))
    pseudonym = (config.name or _default_name(config)).encode("ascii") if config.forwarded.via else b""
    return Snapshot(
        router=Router(rules),
        routes=routes,
        services={**services, **targets},
        outside=_outside(policies.gateway, config.paths.rules()),
        reader=RequestReader(_head_rules(config)),
        forwarding=ForwardingRules(
            x_forwarded=config.forwarded.x_forwarded,
            standard=config.forwarded.standard,
            via=pseudonym or None,
            trusted=TrustedProxies([str(network) for network in config.trusted_proxies]),
        ),
        dns=DnsSettings(
            servers=tuple(map(str, config.dns.servers)),
            min_ttl=config.dns.min_ttl,
            max_ttl=config.dns.max_ttl,
            refuse_private=config.dns.refuse_private,
        ),
        pseudonym=pseudonym,
        policies=policies.placed,
        title_case=config.field_names.case == "title",
        limits=ClientLimits(
            pipeline_buffer=config.limits.pipeline_buffer,
            write_buffer=config.limits.write_buffer,
            connections=config.limits.connections,
        ),
        client_timeouts=_client_timeouts(config),
        error_pages={status: _error_page(status, Path(path)) for status, path in config.errors.pages.items()},
    )


def _check_listeners(config: GatewayConfig) -> None:
    """Check the certificates of listeners before anything is opened."""
    for number, listener in enumerate(config.listen):
        if listener.tls is not None:
            try:
                Identities(listener.tls)
            except TlsError as error:
                raise BuildError(f"listen.{number}.tls: {error}") from None


def _default_name(config: GatewayConfig) -> str:
    """Return a pseudonym for Via that differs between gateways in a chain, which would otherwise look like a loop."""
    place = f"{socket.gethostname()} {[str(listener.address) for listener in config.listen]}"
    return f"propylon-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def _head_rules(config: GatewayConfig) -> HeadRules:
    paths = config.paths.rules()
    by_route = [config.paths.rules(route.path_rules) for route in config.routes if route.path_rules is not None]
    return HeadRules(
        max_fields=config.limits.header_count,
        aliases=config.field_names.underscores,
        claims=Names(config.forwarded.claims) if config.forwarded.claims else NO_NAMES,
        paths=reduce(or_, by_route, paths),
        paths_by_route=any(rules != paths for rules in by_route),
        max_line_bytes=config.limits.request_line,
        max_section_bytes=config.limits.header_block,
    )


def _client_timeouts(config: GatewayConfig) -> ClientTimeouts:
    timeouts = config.timeouts

    def seconds(value: float | None) -> float:
        return inf if value is None else value

    return ClientTimeouts(
        header=seconds(timeouts.header),
        keep_alive=seconds(timeouts.keep_alive),
        write=seconds(timeouts.write),
        body=seconds(timeouts.body),
        linger=seconds(timeouts.linger),
        drain=seconds(timeouts.drain),
        tcp_keepalive=seconds(timeouts.tcp_keepalive),
        tcp_user_timeout=seconds(timeouts.tcp_user_timeout),
    )


def _error_page(status: str, path: Path) -> ErrorPage:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BuildError(f"errors.pages.{status}: {path} cannot be read: {error.strerror}") from None
    kind = mimetypes.guess_type(path.name)[0] or "text/plain"
    return ErrorPage(content, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)


# routes


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of routes.

    Attributes:
        redirects: the key `redirects` of each service.
        pipelines: the pipelines so far: thousands of routes mostly have the same policies, and a shared pipeline stays
            in the processor's cache.
    """

    services: Mapping[str, Service]
    targets: Mapping[str, Service]
    policies: BuiltPolicies
    redirects: Mapping[str, str | Mapping[str, str]]
    paths: PathsConfig
    pipelines: dict[tuple[int, ...], Pipeline] = field(default_factory=dict)

    def route(self, route: RouteConfig, number: int) -> CompiledRoute:
        """Compile a route; a split route gets a variant for each of its services."""
        bare = _compiled(route, self._fallback(route, number), self.paths.rules(route.path_rules))
        if route.split is not None:
            variants = {name: self._through(bare, route, number, self.services[name]) for name in route.split.services}
            return replace(self._through(bare, route, number, None), split=build_split(route.split, variants))
        if route.service is not None:
            return self._through(bare, route, number, self.services[route.service])
        return self._through(bare, route, number, self.targets.get(route.target or ""))

    def _fallback(self, route: RouteConfig, number: int) -> Fallback | None:
        if route.fallback is None:
            return None
        for use in self.policies.fallbacks[number]:
            policy: Any = use.policy
            return Fallback(respond=policy.on_request)
        return Fallback(self.services[route.fallback.service or ""])

    def _through(self, bare: CompiledRoute, route: RouteConfig, number: int, service: Service | None) -> CompiledRoute:
        """Return the route with a service and the pipeline of its policies."""
        if service is None:
            uses, urls = [*self.policies.gateway, *self.policies.routes[number]], None
        else:
            of_service = self.policies.services.get(service.name, ())
            uses = [*self.policies.gateway, *of_service, *self.policies.routes[number]]
            urls = public_urls(route.redirects or self.redirects.get(service.name, "default"))
        pipeline = self.pipelines.setdefault(tuple(map(id, uses)), compile_pipeline(uses))
        if pipeline.on_message:
            _check_messages(f"routes.{number}")
        return replace(bare, pipeline=pipeline, policies=tuple(uses), service=service, public_urls=urls)


def public_urls(redirects: str | Mapping[str, str]) -> PublicUrls | None:
    """Return the rules of `redirects`; `None` for those that change nothing."""
    if redirects == "off":
        return None
    replacements = {} if isinstance(redirects, str) else redirects
    return PublicUrls({begin.encode("ascii"): instead.encode("ascii") for begin, instead in replacements.items()})


def _check_messages(where: str) -> None:
    """Check that the library for `on_message` is installed, before the first message arrives."""
    try:
        import propylon.engine.websocket.messages  # noqa: F401
    except ImportError:
        raise BuildError(
            f"{where}: a policy has on_message, which needs the websockets library: install propylon[websocket]"
        ) from None


def _rule(
    route: RouteConfig, number: int, compiled: CompiledRoute, listeners: Mapping[str, str]
) -> Rule[CompiledRoute]:
    try:
        by_listener = named_listeners(route.listeners, listeners)
    except BuildError as error:
        raise BuildError(f"routes.{number}.{error}") from None
    return Rule(
        route=compiled,
        hosts=route.host or (),
        paths=route.path or (),
        path_regex=route.path_regex,
        methods=route.methods or (),
        headers=route.headers,
        query=route.query,
        clients=[str(network) for network in route.clients],
        scheme=route.scheme,
        listeners=by_listener,
        not_at=None if route.redirect is None else route.redirect.config.place,
        only_websockets=route.websocket == "only",
        priority=route.priority,
        order=number,
    )


def _compiled(route: RouteConfig, fallback: Fallback | None, paths: PathRules) -> CompiledRoute:
    """Compile a route without policies and service."""
    edit = route.query_edit
    patterns = Rule(route=None, hosts=route.host or (), paths=route.path or (), path_regex=route.path_regex)
    captures = captures_of(patterns)
    rewrite = _rewrite(route, captures, KEEP_SLASHES if paths.double_slashes else KEEP_ALL)
    return CompiledRoute(
        name=route.name or " ".join(route.path or (route.path_regex or "",)),
        captures=captures,
        rewrite=rewrite,
        stripped=b"" if rewrite is None else rewrite.stripped,
        query_edit=None if edit is None else QueryEdit(edit.set, edit.add, edit.remove, edit.keep, captures),
        entry=_entries(route),
        refuses_websockets=route.websocket == "refuse",
        retry=retry_settings(route.retry) if route.retry is not None else None,
        fallback=fallback,
        paths=paths,
    )


def _rewrite(route: RouteConfig, captures: Captures, rules: PathRules) -> Rewrite | None:
    change = route.rewrite
    if route.strip is not None:
        return strip(route.strip, rules)
    if change is None:
        return None
    if change.template is not None:
        return template(change.template, captures, rules)
    if change.prefix is not None:
        return replace_prefix(change.prefix, change.to or "", rules)
    return replace_regex(change.regex or "", change.to or "", rules)


def _entries(route: RouteConfig) -> tuple[dict[str, Any], ...]:
    """Return the entries of a route in `/services.json`: a prefix and its docs, as in fast-gateway."""
    docs = {} if route.docs is None else {"docs": route.docs}
    if route.path_regex is not None:
        return ({"regex": route.path_regex, **docs},)
    return tuple({"prefix": path.removesuffix("/*") or "/", **docs} for path in route.path or ())


def _services_json(path: str, rules: Sequence[Rule[CompiledRoute]], uses: list[PolicyUse]) -> Rule[CompiledRoute]:
    """Return the rule of the list of services. A client is shown the routes that its listener has."""
    ids: set[str | None] = {None, *(id_ for rule in rules for id_ in rule.listeners.values())}
    bodies = {id_: orjson.dumps(_listed(rules, id_)) for id_ in ids}

    def services_json(x: Exchange) -> Response:
        body = bodies.get(x.listener) or bodies[None]
        return Response(200, body=body, content_type="application/json")

    listed = [*uses, PolicyUse("services_json", services_json)]
    route = CompiledRoute("services_json", compile_pipeline(listed), tuple(listed))
    return Rule(route=route, paths=(path,), methods=("GET",), order=len(rules))


def _listed(rules: Iterable[Rule[CompiledRoute]], listener: str | None) -> list[dict[str, Any]]:
    reached = [rule for rule in rules if not rule.listeners or listener in rule.listeners.values()]
    return [entry for rule in reached for entry in rule.route.entry]


def _outside(uses: list[PolicyUse], paths: PathRules) -> CompiledRoute:
    """Return the route for unmatched requests: only the policies of the response, of errors and of `on_done` run."""
    pipeline = compile_pipeline(uses)
    after = Pipeline(on_response=pipeline.on_response, on_error=pipeline.on_error, on_done=pipeline.on_done)
    return CompiledRoute("-", after, tuple(uses), paths=paths)
