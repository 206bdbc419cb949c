"""Output of listeners: the address and its TLS settings."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from propylon.address import listener_ids
from propylon.config.problems import WARNING, suggest
from propylon.config.schema.listener_refs import find_listener, listeners_by_name, usual_listener, usual_scheme
from propylon.inbound.redirect_https import RedirectHttps
from propylon.inbound.tls import Identities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from propylon.config.problems import ConfigSource, Problem
    from propylon.config.schema import GatewayConfig, ListenerConfig, ListenerTlsConfig


def listener_as_dict(listener: "ListenerConfig") -> dict[str, Any]:
    """Return a listener for JSON."""
    tls = None if listener.tls is None else _tls_as_dict(listener.tls)
    redirect = listener.redirect_https
    return {
        "address": str(listener.address),
        "name": listener.name,
        "redirect_https": None if redirect is None else redirect.port,
        "not_redirected": [] if redirect is None else list(redirect.except_),
        "tls": tls,
    }


def _tls_as_dict(tls: "ListenerTlsConfig") -> dict[str, Any]:
    certificates = [
        {
            "file": identity.certificate_path,
            "names": [*identity.certificate.dns_names, *identity.certificate.addresses],
            "key_type": identity.certificate.key_type,
            "not_after": identity.certificate.not_after.isoformat(),
            "warning": identity.warning(datetime.now(UTC)),
        }
        for identity in Identities(tls).certificates
    ]
    asked = tls.client_certificates
    return {
        "min_version": tls.min_version,
        "certificates": certificates,
        "strict_sni": tls.strict_sni,
        "client_certificates": asked.mode if asked is not None else None,
    }


def listener_lines(listener: "ListenerConfig") -> list[str]:
    """Return the lines on the TLS or redirect of a listener; none for plain HTTP."""
    address = str(listener.address)
    if listener.redirect_https is not None:
        excepted = ", ".join(listener.redirect_https.except_)
        to = f"{address}: redirects to https, port {listener.redirect_https.port}"
        return [to + (f", but for {excepted}" if excepted else "")]
    if listener.tls is None:
        return []
    tls = _tls_as_dict(listener.tls)
    mode = tls["client_certificates"]
    lines = [f"{address}: TLS {tls['min_version']} and newer" + (f", client certificates {mode}" if mode else "")]
    for certificate in tls["certificates"]:
        names = ", ".join(certificate["names"]) or "any name"
        lines.append(f"  {certificate['key_type']} certificate for {names}, until {certificate['not_after'][:10]}")
    return lines


def certificate_warnings(config: "GatewayConfig", source: "ConfigSource") -> "Iterator[Problem]":
    """Yield a warning for each certificate of a listener that is not valid now."""
    for number, listener in enumerate(config.listen):
        for identity in Identities(listener.tls).certificates if listener.tls is not None else ():
            if (message := identity.warning(datetime.now(UTC))) is not None:
                at = source.written(("listen", number, "tls"))
                found = source.problem(at, message, "clients refuse it: get a new one")
                yield replace(found, severity=WARNING)


class Entrance(NamedTuple):
    """Attributes:
    scheme: of the listener.
    name: how the listener is shown.
    id: its id.
    redirect: what it does with requests over http; `None` if they go to their routes.
    """

    scheme: str
    name: str
    id: str
    redirect: RedirectHttps | None


def entrance(config: "GatewayConfig", target: str, scheme: str | None, listener: str | None) -> Entrance:
    """Return how a request comes in.

    Args:
        target: a path or a whole URL, whose scheme is used unless one is given. Without any it is http, or https if
            what comes by http is redirected.
        listener: by name or address.

    Raises:
        click.BadParameter: there is no such listener.
    """
    listen = config.listen
    known = listeners_by_name(listen)
    if listener is not None:
        id_ = find_listener(listener, known)
        if id_ is None:
            hint = suggest(listener, list(known)) or f"there are {', '.join(known)}"
            raise click.BadParameter(f"no listener {listener!r}: {hint}", param_hint="'--listener'")
    else:
        given = target.lower().partition("://")
        scheme = scheme or (given[0] if given[1] and given[0] in ("http", "https") else usual_scheme(listen))
        id_ = usual_listener(listen, scheme)
        listener = [*(name for name, named in known.items() if named == id_), id_][-1]
    settings = listen[listener_ids(each.address for each in listen).index(id_)]
    redirect = settings.redirect_https
    compiled = None if redirect is None else RedirectHttps(redirect.port, redirect.except_)
    return Entrance(scheme or ("http" if settings.tls is None else "https"), listener, id_, compiled)
