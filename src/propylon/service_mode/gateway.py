"""The configuration of service mode: the services, routes and policies for the variables."""

from typing import Any, Final, TypeAlias

from propylon.config.load import validate
from propylon.config.problems import ENVIRONMENT
from propylon.config.schema import GatewayConfig, PolicyEntry
from propylon.service_mode.answers import OtherMethod, ServiceErrors, no_path, no_websocket, unknown_service
from propylon.service_mode.variables import Variables
from propylon.service_mode.websocket_path import WebSocketPath

BODY_LIMIT_BYTES: Final = 1024 * 1024
"""The largest request body. Another limit requires a file: the mode has no variable for it."""

CONNECT_SECONDS: Final = 5.0
"""Timeout of connecting, unless HTTP_PROXY_TIMEOUT_MS is shorter."""

PONG_SECONDS: Final = 10.0
"""How long a peer of a WebSocket may stay silent after a ping."""

ALL_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
READING_METHODS: Final = ("GET", "HEAD")

SERVICE: Final = {
    "balance": "least_load",
    "breaker": {"failures": 5, "window": 10.0, "open": 15.0},
    "redirects": "off",
}
"""Balancing, circuit breaker and redirects of a service, as in the Real-Time API Gateway."""

RouteData: TypeAlias = dict[str, Any]
PolicyConfig: TypeAlias = dict[str, Any]


def gateway_config(variables: Variables) -> GatewayConfig:
    """Return the configuration for the variables."""
    response = variables.http_proxy_timeout_ms / 1000
    names = list(variables.upstreams)
    routes = [*_probes(len(names)), _unknown_service()]
    routes += [route for name in names for route in _routes(name, _websocket(variables))]
    return validate(
        {
            "listen": f"{variables.host}:{variables.port}",
            "log": {"level": variables.log_level},
            # Routes match only the prefix before the service's own path, so ambiguous paths behind it are safe.
            "paths": {"encoded_slashes": "keep", "semicolons": "keep"},
            "services_json": False,
            "policies": [
                ServiceErrors(),
                {"body_limit": BODY_LIMIT_BYTES},
                {"timeout": {"connect": min(CONNECT_SECONDS, response), "response": response}},
            ],
            "services": {name: {"endpoints": urls, **SERVICE} for name, urls in variables.upstreams.items()},
            "routes": routes,
        },
        ENVIRONMENT,
    )


def _probes(services: int) -> list[RouteData]:
    ready = {"ok": True, "upstreamServices": services}
    return [
        {"path": "/healthz", "methods": READING_METHODS, "respond": {"json": {"ok": True}}},
        {"path": "/readyz", "methods": READING_METHODS, "respond": {"json": ready}},
    ]


def _websocket(variables: Variables) -> PolicyConfig:
    settings = {
        "ping": variables.ws_ping_interval_ms / 1000,
        "pong_timeout": PONG_SECONDS,
        "max_buffered": variables.ws_max_buffered_bytes,
    }
    return {"websocket": settings}


def _unknown_service() -> RouteData:
    """Return the route of unknown services. Routes of known ones are more specific and take precedence."""
    paths = ["/api/{service}/*", "/sse/{service}/*", "/ws/{service}"]
    return {"name": "unknown_service", "path": paths, "respond": PolicyEntry.of(unknown_service)}


def _routes(name: str, websocket: PolicyConfig) -> list[RouteData]:
    """Return the routes to one service, and those that refuse other requests for it."""
    api, sse, ws = f"/api/{name}", f"/sse/{name}", f"/ws/{name}"
    return [
        _forwarding(api, ALL_METHODS, name),
        _forwarding(sse, READING_METHODS, name) | {"policies": [{"timeout": {"idle": "none"}}]},  # events may be rare
        {"path": ws, "websocket": "only", "service": name, "policies": [WebSocketPath(), websocket]},
        {"path": [api, sse], "respond": PolicyEntry.of(no_path)},
        {"path": f"{api}/*", "respond": PolicyEntry.of(OtherMethod(ALL_METHODS))},
        {"path": f"{sse}/*", "respond": PolicyEntry.of(OtherMethod(READING_METHODS))},
        {"path": ws, "methods": ["GET"], "respond": PolicyEntry.of(no_websocket)},
        {"path": ws, "respond": PolicyEntry.of(OtherMethod(["GET"]))},
    ]


def _forwarding(prefix: str, methods: tuple[str, ...], service: str) -> RouteData:
    """Return a route for all paths below `prefix`. WebSockets have a route of their own, with their limits."""
    return {
        "path": f"{prefix}/*", "methods": methods, "websocket": "refuse", "service": service, "strip": prefix,
    }  # fmt: skip
