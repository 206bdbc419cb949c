"""The gateway of service mode: which services, routes and policies stand for the variables."""

from typing import Any, Final

from propylon.config.load import validate
from propylon.config.schema import GatewayConfig, PolicyEntry
from propylon.config.service_mode.answers import ServiceErrors, no_path, unknown_service
from propylon.config.service_mode.variables import Variables
from propylon.config.service_mode.websocket_path import WebSocketPath

BODY_LIMIT_BYTES: Final = 1024 * 1024
"""The largest request body. Who needs another limit writes a file: the mode has no variable for it."""

CONNECT_SECONDS: Final = 5.0
"""How long connecting may take, where HTTP_PROXY_TIMEOUT_MS leaves more."""

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")


def gateway_config(variables: Variables) -> GatewayConfig:
    """Return the configuration that variables stand for."""
    response = variables.http_proxy_timeout_ms / 1000
    names = list(variables.upstreams)
    return validate(
        {
            "listen": f"{variables.host}:{variables.port}",
            "log": {"level": variables.log_level},
            # A route is decided by what stands before the service's own path, so that may be spelled as it likes.
            "paths": {"encoded_slashes": "keep", "semicolons": "keep"},
            "services_json": False,
            "policies": [
                ServiceErrors(),
                {"body_limit": BODY_LIMIT_BYTES},
                {"timeout": {"connect": min(CONNECT_SECONDS, response), "response": response}},
            ],
            "services": {name: {"endpoints": urls} for name, urls in variables.upstreams.items()},
            "routes": [*_probes(len(names)), *_unknown(names), *(route for name in names for route in _routes(name))],
        },
        "environment",
    )


def _probes(services: int) -> list[dict[str, Any]]:
    ready = {"ok": True, "upstreamServices": services}
    return [
        {"path": "/healthz", "methods": ["GET"], "respond": {"json": {"ok": True}}},
        {"path": "/readyz", "methods": ["GET"], "respond": {"json": ready}},
    ]


def _unknown(names: list[str]) -> list[dict[str, Any]]:
    """Return the routes of paths that no service has. Those of services are more specific, and win."""
    unknown = {
        "path": ["/api/{service}/*", "/sse/{service}/*", "/ws/{service}"],
        "respond": PolicyEntry.of(unknown_service),
    }
    bare = [f"/{way}/{name}" for way in ("api", "sse") for name in names]
    return [unknown, *([{"path": bare, "respond": PolicyEntry.of(no_path)}] if bare else [])]


def _routes(name: str) -> list[dict[str, Any]]:
    """Return the ways to one service."""
    return [
        {"path": f"/api/{name}/*", "methods": METHODS, "service": name, "strip": f"/api/{name}"},
        {
            "path": f"/sse/{name}/*",
            "methods": ["GET"],
            "service": name,
            "strip": f"/sse/{name}",
            "policies": [{"timeout": {"idle": "none"}}],  # events may be rare
        },
        {"path": f"/ws/{name}", "methods": ["GET"], "service": name, "policies": [WebSocketPath()]},
    ]
