"""What a listener with `redirect_https` answers: 308 to the same place under https, whatever was asked."""

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
    """Leads every exchange of a listener to one route, which answers."""

    __slots__ = ("_port", "_snapshots")

    def __init__(self, port: int) -> None:
        """`port`: where https is spoken."""
        self._port = "" if port == 443 else f":{port}"
        self._snapshots: tuple[Snapshot, Snapshot] | None = None

    def admit(self, x: Exchange) -> None:
        """Let the exchange see no other route. The gateway's own policies still see and tell its answer."""
        if self._snapshots is None or self._snapshots[0] is not x.snapshot:
            self._snapshots = (x.snapshot, self._redirecting(x.snapshot))
        x.snapshot = self._snapshots[1]

    def _redirecting(self, snapshot: Snapshot) -> Snapshot:
        pipeline = replace(snapshot.outside.pipeline, on_request=((self._answer, NAME),))
        route = CompiledRoute(NAME, pipeline, snapshot.outside.policies)
        return replace(snapshot, router=Router([Rule(route=route)]), routes=(route,))

    def _answer(self, x: Exchange) -> Response:
        """308 keeps method and body, where 301 makes a GET of a POST (RFC 9110 15.4.9)."""
        if x.host is None:
            raise GatewayError("read.bad_host", "without a Host there is no https address to redirect to")
        query = "" if x.query is None else f"?{x.query.decode('latin-1')}"
        place = f"{x.host.name.decode('ascii')}{self._port}{x.path.decode('latin-1')}"
        return Response(308, headers={"location": f"https://{place}{query}"})
