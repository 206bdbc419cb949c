"""Recognizes files of other programs that are given as a whole, so that one problem says so instead of a hundred.

Rules of the file: only what is surely no configuration of this gateway is recognized: marks that its own files cannot
have at the top. A text is looked at when it is not YAML or no mapping, data when it is a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

HINT: Final = "Propylon has a format of its own: docs/configuration.md has its keys, docs/coming-from compares them"

_MAX_LOOKED_AT: Final = 50_000
_TEXTS: Final = tuple(
    (name, tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns))
    for name, *patterns in (
        ("an Apache httpd", r"^\s*<(?:VirtualHost|Location|Directory|Proxy|IfModule)[\s>]|^\s*ProxyPass\s"),
        (
            "a HAProxy",
            r"^(?:global|defaults|frontend|backend)\b(?!\s*:)",
            r"\s(?:bind|mode|server|default_backend|timeout|daemon|balance)\s",
        ),
        ("a Varnish", r"^\s*vcl\s+4"),
        ("an nginx", r"(?:^|[;{}]\s*)(?:http|server|events|stream|location\s[^{;]+|upstream\s+[\w.-]+)\s*\{"),
        ("an nginx", r"(?:^|\s)(?:proxy_pass|worker_processes|server_name|worker_connections)\s+[^;:]+;"),
        (
            "a Caddy",
            r"\{\s*$|^\S+(?::\d+)?\s*$",
            r"(?:^|\s)(?:reverse_proxy|handle_path|file_server|handle|encode|php_fastcgi|redir|respond)(?:\s[^:;]|$)",
        ),
        ("a Traefik", r"^\s*\[+(?:http|tcp|udp|entryPoints|providers|certificatesResolvers|api)[\].]"),
        ("a TOML", r"^\s*\[+[\w.-]+\]+\s*$", r"^\s*[\w.-]+\s*=\s"),
    )
)
"""Names with patterns that all have to be found."""


def of_text(text: str) -> str | None:
    """Return the message for a text that is a file of another program, or `None`."""
    text = text[:_MAX_LOOKED_AT]
    for name, patterns in _TEXTS:
        found = [pattern.search(text) for pattern in patterns]
        if (last := found[-1]) is not None and all(found):
            mark = last[0].strip("{}; \t\r\n").split()[0]
            return f"this is {name} configuration (it has {mark!r})"
    return None


def of_data(data: Mapping[str, Any]) -> str | None:
    """Return the message for data that is a file of another program, or `None`."""
    for name, mark, test in _DATA:
        if test(data):
            return f"this is {name} (it has {mark!r})"
    return None


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda data: all(key in data for key in keys)


def _below(key: str, *inside: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test whether one of the keys is in the mapping below `key`."""
    return lambda data: isinstance(data.get(key), Mapping) and not set(inside).isdisjoint(data[key])


def _item(key: str, *inside: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test whether a mapping in the list, or below the mapping, at `key` has one of the keys."""

    def test(data: Mapping[str, Any]) -> bool:
        found = data.get(key)
        items = found.values() if isinstance(found, Mapping) else found if isinstance(found, list | tuple) else ()
        return any(isinstance(item, Mapping) and not set(inside).isdisjoint(item) for item in items)

    return test


def _kong(data: Mapping[str, Any]) -> bool:
    services = data.get("services")
    return isinstance(services, list) and _item("services", "url", "host")(data)


def _apisix(data: Mapping[str, Any]) -> bool:
    return _item("routes", "uri", "uris")(data) and _item("routes", "upstream", "upstream_id", "service_id")(data)


def _krakend(data: Mapping[str, Any]) -> bool:
    return "krakend" in str(data.get("$schema", "")) or _item("endpoints", "endpoint")(data)


_DATA: Final[tuple[tuple[str, str, Callable[[Mapping[str, Any]], bool]], ...]] = (
    ("a Kubernetes object", "apiVersion", _has("apiVersion", "kind")),
    ("a Traefik configuration", "http", _below("http", "routers", "services", "middlewares")),
    ("a Traefik configuration", "tcp", _below("tcp", "routers", "services")),
    ("a Traefik configuration", "entryPoints", _has("entryPoints")),
    ("a Kong configuration", "_format_version", _has("_format_version")),
    ("a KrakenD configuration", "endpoints", _krakend),
    ("an Envoy configuration", "static_resources", _has("static_resources")),
    ("an Envoy configuration", "dynamic_resources", _has("dynamic_resources")),
    ("a Caddy configuration", "apps", _below("apps", "http", "tls")),
    ("an APISIX configuration", "apisix", _has("apisix")),
    ("an APISIX configuration", "routes", _apisix),
    ("a Tyk configuration", "proxy", _below("proxy", "listen_path", "target_url")),
    ("a Tyk configuration", "listen_port", _has("listen_port", "secret")),
    ("an Express Gateway configuration", "pipelines", _has("pipelines", "serviceEndpoints")),
    ("a Spring Cloud Gateway configuration", "spring", _below("spring", "cloud")),
    ("an nginx Unit configuration", "listeners", _has("listeners", "applications")),
    ("a Docker Compose file", "services", _item("services", "image", "build")),
    ("an OpenAPI description", "openapi", _has("openapi")),
    ("an OpenAPI description", "swagger", _has("swagger")),
    ("a Kong configuration", "services", _kong),
)
