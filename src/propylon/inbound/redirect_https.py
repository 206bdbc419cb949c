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
    from propylon.routing.match import Matchable

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
        if not self.redirects(x.method, x):
            return
        if self._snapshots is None or self._snapshots[0] is not x.snapshot:
            self._snapshots = (x.snapshot, self._redirecting(x.snapshot))
        x.snapshot = self._snapshots[1]

    def redirects(self, method: bytes, x: Matchable) -> bool:
        """Return whether the request is redirected: not if it came by https, nor if its path is excepted."""
        if x.origin.scheme == b"https":
            return False
        return self._excepted is None or not isinstance(self._excepted.find(b"", None, x.path, method, x), RouteMatch)

    def location(self, host: str, path: bytes, query: bytes | None) -> str:
        """Return the URL of the same request with https; `host` has no port."""
        behind = "" if query is None else f"?{query.decode('latin-1')}"
        return f"https://{host}{self._port}{path.decode('latin-1')}{behind}"

    def _redirecting(self, snapshot: Snapshot) -> Snapshot:
        pipeline = replace(snapshot.outside.pipeline, on_request=((self._answer, NAME),))
        route = CompiledRoute(NAME, pipeline, snapshot.outside.policies)
        return replace(snapshot, router=Router([Rule(route=route)]), routes=(route,))

    def _answer(self, x: Exchange) -> Response:
        """Return the redirect. 308 keeps method and body; 301 may turn POST into GET (RFC 9110 15.4.9)."""
        if x.host is None:
            raise GatewayError("read.bad_host", "without a Host there is no https address to redirect to")
        return Response(308, headers={"location": self.location(x.host.name.decode("ascii"), x.path, x.query)})
