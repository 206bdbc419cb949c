"""Builds routes: what they match, change, and pass through on the way to their service."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from propylon.build.errors import BuildError
from propylon.build.policies import named_listeners
from propylon.build.service import retry_settings
from propylon.build.split import build_split
from propylon.config.schema.listener_refs import listeners_by_name
from propylon.engine.pipeline import Pipeline, PolicyUse, compile_pipeline
from propylon.engine.public_urls import PublicUrls
from propylon.engine.response import Response
from propylon.engine.snapshot import CompiledRoute, Fallback
from propylon.http.target import KEEP_ALL, KEEP_SLASHES, PathRules
from propylon.routing.captures import captures_of
from propylon.routing.query_edit import QueryEdit
from propylon.routing.rewrite import replace_prefix, replace_regex, strip, template
from propylon.routing.router import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from propylon.build.policies import BuiltPolicies
    from propylon.config.schema import GatewayConfig, RouteConfig
    from propylon.engine.exchange import Exchange
    from propylon.routing.captures import Captures
    from propylon.routing.rewrite import Rewrite
    from propylon.services.service import Service


def build_routes(
    config: GatewayConfig, services: Mapping[str, Service], targets: Mapping[str, Service], policies: BuiltPolicies
) -> list[Rule[CompiledRoute]]:
    """Return the routes of a configuration with what they match, `/services.json` last.

    Args:
        services: by name.
        targets: the services of routes with a `target`, by its URL.

    Raises:
        BuildError: a policy needs a library that is not installed, or a listener does not exist.
    """
    parts = _Parts(config, services, targets, policies)
    listeners = listeners_by_name(config.listen)
    rules = [_rule(route, number, parts.route(route, number), listeners) for number, route in enumerate(config.routes)]
    if config.services_json is not None:
        rules.append(_services_json(config.services_json, rules, policies.gateway))
    return rules


def route_outside(config: GatewayConfig, policies: BuiltPolicies) -> CompiledRoute:
    """Return the route of unmatched requests: only policies of the response, of errors and of `on_done` run."""
    uses = policies.gateway
    pipeline = compile_pipeline(uses)
    after = Pipeline(on_response=pipeline.on_response, on_error=pipeline.on_error, on_done=pipeline.on_done)
    return CompiledRoute("-", after, tuple(uses), paths=config.paths.rules())


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of routes.

    Attributes:
        pipelines: the pipelines so far: thousands of routes mostly have the same policies, and a shared pipeline stays
            in the processor's cache.
    """

    config: GatewayConfig
    services: Mapping[str, Service]
    targets: Mapping[str, Service]
    policies: BuiltPolicies
    pipelines: dict[tuple[int, ...], Pipeline] = field(default_factory=dict)

    def route(self, route: RouteConfig, number: int) -> CompiledRoute:
        """Compile a route; a split route gets a variant for each of its services."""
        bare = _compiled(route, self._fallback(route, number), self.config.paths.rules(route.path_rules))
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
            own = self.config.services.get(service.name)
            urls = _public_urls(route.redirects or ("default" if own is None else own.redirects))
        pipeline = self.pipelines.setdefault(tuple(map(id, uses)), compile_pipeline(uses))
        if pipeline.on_message:
            _check_messages(f"routes.{number}")
        return replace(bare, pipeline=pipeline, policies=tuple(uses), service=service, public_urls=urls)


def _public_urls(redirects: str | Mapping[str, str]) -> PublicUrls | None:
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
