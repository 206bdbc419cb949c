"""Responses of a listener with `redirect_https`: 308 to the same URL with https, for every request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.engine.message import Response
from propylon.engine.snapshot import CompiledRoute
from propylon.routing.router import Router, Rule

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.snapshot import Snapshot

NAME = "redirect_https"


class RedirectHttps:
    """Sends every exchange of a listener to one route, which redirects."""

    __slots__ = ("_port", "_snapshots")

    def __init__(self, port: int) -> None:
        """`port`: the port of the https listener."""
        self._port = "" if port == 443 else f":{port}"
        self._snapshots: tuple[Snapshot, Snapshot] | None = None

    def admit(self, x: Exchange) -> None:
        """Replace the snapshot of the exchange by one with this route only. The gateway's policies still run."""
        if self._snapshots is None or self._snapshots[0] is not x.snapshot:
            self._snapshots = (x.snapshot, self._redirecting(x.snapshot))
        x.snapshot = self._snapshots[1]

    def _redirecting(self, snapshot: Snapshot) -> Snapshot:
        pipeline = replace(snapshot.outside.pipeline, on_request=((self._answer, NAME),))
        route = CompiledRoute(NAME, pipeline, snapshot.outside.policies)
        return replace(snapshot, router=Router([Rule(route=route)]), routes=(route,))

    def _answer(self, x: Exchange) -> Response:
        """Return the redirect. 308 keeps method and body; 301 may turn POST into GET (RFC 9110 15.4.9)."""
        if x.host is None:
            raise GatewayError("read.bad_host", "without a Host there is no https address to redirect to")
        query = "" if x.query is None else f"?{x.query.decode('latin-1')}"
        target = f"{x.host.name.decode('ascii')}{self._port}{x.path.decode('latin-1')}"
        return Response(308, headers={"location": f"https://{target}{query}"})
