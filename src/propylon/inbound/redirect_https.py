"""Responses of a listener with `redirect_https`: 308 to the same URL with https.

Requests for listed paths, and those that a trusted proxy has got by https, pass on to their routes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.engine.response import Response
from propylon.engine.snapshot import CompiledRoute
from propylon.routing.router import RouteMatch, Router, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from propylon.engine.exchange import Exchange
    from propylon.engine.snapshot import Snapshot

NAME = "redirect_https"


class RedirectHttps:
    """Sends the exchanges of a listener to one route, which redirects."""

    __slots__ = ("_excepted", "_port", "_snapshots")

    def __init__(self, port: int, excepted: Sequence[str]) -> None:
        """Compile the redirect.

        Args:
            port: of the https listener.
            excepted: patterns of paths that are not redirected.
        """
        self._port = "" if port == 443 else f":{port}"
        self._excepted = Router([Rule(route=True, paths=excepted)]) if excepted else None
        self._snapshots: tuple[Snapshot, Snapshot] | None = None

    def admit(self, x: Exchange) -> None:
        """Replace the snapshot of the exchange by one with this route only. The gateway's policies still run."""
        if x.origin.scheme == b"https" or self._passes(x):
            return
        if self._snapshots is None or self._snapshots[0] is not x.snapshot:
            self._snapshots = (x.snapshot, self._redirecting(x.snapshot))
        x.snapshot = self._snapshots[1]

    def _passes(self, x: Exchange) -> bool:
        return self._excepted is not None and isinstance(
            self._excepted.find(b"", None, x.path, x.method, x), RouteMatch
        )

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
