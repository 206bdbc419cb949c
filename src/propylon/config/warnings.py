"""Warnings: a valid configuration that surely does not do what was meant.

Rules of the file: no false alarms: what somebody may have meant is no warning, and each can be answered by writing what
is meant. A check is a function of the whole configuration; it yields what it finds with the path of keys.
"""

from __future__ import annotations

import inspect
import ssl
from dataclasses import replace
from ipaddress import ip_address
from itertools import chain
from typing import TYPE_CHECKING, Final

from propylon.config.load import source_of
from propylon.config.problems import WARNING, ConfigSource, Problem, in_order
from propylon.config.schema.service_refs import policy_services
from propylon.config.service_warnings import SERVICE_CHECKS, Warned, policy_lists
from propylon.config.shadow import dead_parts
from propylon.plugins import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path as FilePath

    from propylon.address import ListenAddress
    from propylon.config.load import Loaded
    from propylon.config.problems import Path
    from propylon.config.schema import GatewayConfig, PolicyEntry

_MIN_PREFIX: Final = {4: 8, 6: 16}
"""No single organization has a larger network: one with a shorter prefix is a part of the internet."""

DEVELOPMENT_AUTHORITY: Final = "Propylon development authority"
"""The name of the authority that `propylon cert` makes."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def warnings_of(loaded: Loaded, name: str = "gateway") -> tuple[Problem, ...]:
    """Return the warnings of a configuration, by position.

    Args:
        name: the name of a configuration without a file.
    """
    found = tuple(chain.from_iterable(check(loaded.config) for check in (*_CHECKS, *SERVICE_CHECKS)))
    if not found:
        return ()
    source = source_of(loaded, name)
    return in_order(_placed(each, source) for each in found)


def _placed(found: Warned, source: ConfigSource) -> Problem:
    message, path = found.message, source.written(found.path)
    if found.other is not None:
        here, there = source.position(path), source.position(found.other)
        place = ".".join(map(str, source.written(found.other)))
        if there.line is not None:
            place += f" (line {there.line})" if there.file == here.file else f" ({there.file}:{there.line})"
        message = message.replace("{other}", place)
    return replace(source.problem(path, message, found.hint), severity=WARNING)


def _dead_routes(config: GatewayConfig) -> Iterator[Warned]:
    for dead in dead_parts(config.routes):
        hint = "remove one, or give this one a condition or a higher 'priority'"
        if dead.is_renamed:
            hint = "names of parameters do not distinguish paths: remove one, or give them conditions that differ"
        at: Path = ("routes", dead.loser, *dead.part)
        if dead.winner == dead.loser:
            yield Warned(at, "is in the list twice", "remove one")
        else:
            other: Path = ("routes", dead.winner)
            yield Warned(at, "can never match: {other} takes all of its requests", hint, other)
    for number, route in enumerate(config.routes):
        if route.websocket == "only" and route.methods is not None and "GET" not in route.methods:
            message = "can never match: a WebSocket begins with GET, which 'methods' does not have"
            yield Warned(("routes", number, "websocket"), message, "remove 'methods'")


def _unused_services(config: GatewayConfig) -> Iterator[Warned]:
    """Without any route the file is not finished, and nothing is said of its services."""
    if not config.routes:
        return
    lists = [entries for _, entries in policy_lists(config)]
    if any(_may_ask_any_service(entry) for entries in lists for entry in entries):
        return
    used = {service for entries in lists for _, service in policy_services(entries, None)}
    for route in config.routes:
        used |= {route.service or "", *(route.split.services if route.split is not None else ())}
        used.add((route.fallback.service or "") if route.fallback is not None else "")
    for name in config.services:
        if name not in used:
            yield Warned(("services", name), "is used by no route and no policy", "write it in a route, or remove it")


def _may_ask_any_service(entry: PolicyEntry) -> bool:
    """Return whether it is code that may get services by name from its scope."""
    if entry.instance is not None:
        return not inspect.isroutine(entry.instance)
    return entry.name == "python" or not POLICIES.is_built_in(entry.name)


def _open_services_json(config: GatewayConfig) -> Iterator[Warned]:
    """The list of services is on by default; a policy of the gateway may guard it."""
    if config.services_json is None or "services_json" in config.model_fields_set:
        return
    if any(entry.instance is not None or _may_ask_any_service(entry) for entry in config.policies):
        return
    for number, listener in enumerate(config.listen):
        asked = listener.tls.client_certificates if listener.tls is not None else None
        is_closed = listener.redirect_https is not None or (asked is not None and asked.mode == "required")
        if _is_public(listener.address) and not is_closed:
            message = f"everybody can read the list of services at {config.services_json}, which is on by default"
            hint = "write 'services_json: false', or 'services_json: true' if it is meant"
            yield Warned(("listen", number), message, hint)
            return


def _trusting_everybody(config: GatewayConfig) -> Iterator[Warned]:
    lists: list[tuple[Path, Sequence[object]]] = [(("trusted_proxies",), config.trusted_proxies)]
    for number, listener in enumerate(config.listen):
        if listener.proxy_protocol is not None:
            lists.append((("listen", number, "proxy_protocol", "from"), listener.proxy_protocol.from_))
    for path, networks in lists:
        for index, network in enumerate(networks):
            if not isinstance(network, str) and getattr(network, "prefixlen", 128) < _MIN_PREFIX[_version(network)]:
                message = f"{network} is a part of the whole internet: anybody in it can claim any client address"
                yield Warned((*path, index), message, "list the networks of your proxies, such as 10.0.0.0/8")


def _version(network: object) -> int:
    return int(getattr(network, "version", 4))


def _policies_twice(config: GatewayConfig) -> Iterator[Warned]:
    for path, entries in policy_lists(config):
        for index, entry in enumerate(entries):
            first = next(number for number, other in enumerate(entries) if _are_same(other, entry))
            if first != index:
                message = f"the policy {entry.name!r} is in the list twice, with the same settings: {{other}}"
                yield Warned((*path, index), message, "remove one", (*path, first))


def _are_same(one: PolicyEntry, other: PolicyEntry) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # comparing settings may run user code
        return False


def _hsts_without_https(config: GatewayConfig) -> Iterator[Warned]:
    tls = any(listener.tls is not None for listener in config.listen)
    if tls or config.trusted_proxies or "listen" not in config.model_fields_set:
        return
    for path, entries in policy_lists(config):
        for index, entry in enumerate(entries):
            if entry.name == "hsts" and entry.instance is None:
                message = "has no effect: no listener has TLS, and no proxy is trusted to say that a client used https"
                hint = "give a listener 'tls', or list the proxy in 'trusted_proxies'"
                yield Warned((*path, index, "hsts"), message, hint)


def _development_certificates(config: GatewayConfig) -> Iterator[Warned]:
    """A certificate of `propylon cert`, which nobody else trusts, for the internet."""
    for number, listener in enumerate(config.listen):
        pairs = listener.tls.pairs if listener.tls is not None and _is_public(listener.address) else ()
        if any(_is_of_development(certificate) for certificate, _ in pairs):
            message = "has a certificate of an authority for development, which clients elsewhere do not trust"
            hint = "get one of a public authority, or listen on 127.0.0.1"
            yield Warned(("listen", number, "tls"), message, hint)


def _is_of_development(certificate: FilePath) -> bool:
    try:
        text = certificate.read_text("ascii")
        first = text[text.index(_BEGIN) : text.index(_END) + len(_END)]
        return DEVELOPMENT_AUTHORITY.encode() in ssl.PEM_cert_to_DER_cert(first)
    except (OSError, ValueError):  # reported when it is used
        return False


def _is_public(address: ListenAddress) -> bool:
    """Return whether clients of the internet may reach a listener: on all addresses, or on a public one."""
    if address.unix_path is not None:
        return False
    try:
        found = ip_address(address.host.partition("%")[0])
    except ValueError:
        return not address.host
    return found.is_unspecified or found.is_global


_CHECKS: Final[tuple[Callable[[GatewayConfig], Iterator[Warned]], ...]] = (
    _dead_routes,
    _unused_services,
    _open_services_json,
    _trusting_everybody,
    _policies_twice,
    _hsts_without_https,
    _development_certificates,
)
