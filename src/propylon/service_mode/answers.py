"""The gateway's own responses in service mode: `{"error": ..., "message": ...}`.

Rules of the file: a message is derived from the request only; which endpoint failed, and how, goes to the log. Failures
without a body here are sent as problem details, as everywhere (`engine/error_page.py`).
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.response import Response

_SERVICE_FAILED: Final = frozenset({"choose", "connect", "attempt", "head"})
_GATEWAY_TIMEOUT: Final = 504


def error_response(status: int, error: str, message: str) -> Response:
    """Return an error response; `error` is the code for programs, `message` the text for people."""
    return Response(status, json={"error": error, "message": message}, headers={"cache-control": "no-store"})


def unknown_service(x: Exchange) -> Response:
    """Respond to a request for a service that is not in `UPSTREAMS`."""
    name = unquote(x.params["service"], errors="replace")
    return error_response(404, "unknown_service", f"No upstream configured for service: {name}")


def no_websocket(_: Exchange) -> Response:
    """Respond to a request for `/ws/NAME` without a WebSocket handshake (RFC 9110 15.5.22)."""
    return error_response(426, "upgrade_required", "This is a WebSocket: the request needs Upgrade: websocket")


def no_path(x: Exchange) -> Response:
    """Refuse `/api/NAME`: the path of a service begins with the '/' after its name."""
    raise GatewayError("match.no_route", f"a service is below its name: {x.request.path}/")


class OtherMethod:
    """Refuses other methods for a known service, which would otherwise match the route of unknown services."""

    def __init__(self, methods: Iterable[str]) -> None:
        self._allow = ", ".join(sorted(methods))

    def on_request(self, x: Exchange) -> Response:
        """Refuse with 405."""
        raise GatewayError("match.method", headers={"allow": self._allow})


class ServiceErrors:
    """Responds to failures of services and to bodies that are too large, as the Real-Time API Gateway does."""

    def on_error(self, x: Exchange, error: GatewayError) -> Response | None:
        """Respond to the errors that have a body of their own in service mode."""
        if error.code == "request.body_too_large":
            body = {
                "statusCode": 413,
                "code": "FST_ERR_CTP_BODY_TOO_LARGE",
                "error": "Payload Too Large",
                "message": "Request body is too large",
            }
            return Response(413, json=body, headers={"cache-control": "no-store"})
        if error.code.partition(".")[0] not in _SERVICE_FAILED:
            return None
        if error.status == _GATEWAY_TIMEOUT:
            return error_response(504, "upstream_timeout", "Upstream request timed out")
        return error_response(502, "upstream_unavailable", "Failed to reach upstream")
