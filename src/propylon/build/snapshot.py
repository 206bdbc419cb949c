"""Builds a snapshot from a validated configuration.

All errors are detected here or before, never at a request: certificates are read, modules imported, policies
constructed, patterns compiled.
"""

from __future__ import annotations

import hashlib
import mimetypes
import socket
from functools import reduce
from math import inf
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

from propylon.build.errors import BuildError
from propylon.build.policies import build_policies
from propylon.build.policies_at_work import NO_POLICIES
from propylon.build.problems import build_problems
from propylon.build.routes import build_routes, route_outside
from propylon.build.service import HERE, NOTHING_RUNS, BuildContext, build_service, build_targets
from propylon.engine.snapshot import ClientLimits, ClientTimeouts, DnsSettings, ErrorPage, Snapshot
from propylon.http.claims import NO_NAMES, Names
from propylon.http.forwarded import ForwardingRules
from propylon.http.request_head import HeadRules
from propylon.http.request_reader import RequestReader
from propylon.http.trusted_proxies import TrustedProxies
from propylon.inbound.tls import Identities
from propylon.routing.router import Router
from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from propylon.build.policies_at_work import PoliciesAtWork
    from propylon.config.schema import GatewayConfig
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
    rules = build_routes(config, services, targets, policies)
    pseudonym = (config.name or _default_name(config)).encode("ascii") if config.forwarded.via else b""
    return Snapshot(
        router=Router(rules),
        routes=tuple(rule.route for rule in rules[: len(config.routes)]),
        services={**services, **targets},
        outside=route_outside(config, policies),
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
