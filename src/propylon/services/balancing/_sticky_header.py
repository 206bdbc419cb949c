"""Affinity by a header in which the service itself names the session, such as Mcp-Session-Id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.state.sessions import MemorySessions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead
    from propylon.services.endpoint import Endpoint
    from propylon.state.sessions import Sessions


class ByHeader:
    """Learns from responses which endpoint a session belongs to, and finds it by requests with the same header."""

    __slots__ = ("_by_url", "_name", "_sessions")

    def __init__(self, header: str, idle: float, clock: Callable[[], float]) -> None:
        """Create it without any session.

        Args:
            header: name of the field in requests and responses.
            idle: seconds after its last request that a session is forgotten.
            clock: monotonic seconds.
        """
        self._name = header.lower().encode("ascii")
        self._sessions: Sessions = MemorySessions(clock, idle)
        self._by_url: dict[str, Endpoint] = {}

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        self._by_url = {endpoint.url: endpoint for endpoint in endpoints}

    def find(self, x: Exchange) -> Endpoint | None:
        """Return the endpoint of a request's session; `None` if it is unknown or cannot serve."""
        session = x.header(self._name)
        url = self._sessions.find(session) if session else None
        return None if url is None else self._by_url.get(url)

    def learn(self, x: Exchange, endpoint: Endpoint, head: ResponseHead) -> None:
        """Bind the session that a successful response names; an error may come from an endpoint that lacks it."""
        session = head.first(self._name) if head.status < 400 else None
        if session:
            self._sessions.bind(session, endpoint.url)

    def fields(self, x: Exchange, endpoint: Endpoint) -> bytes:
        """Return nothing: the service's own field is enough."""
        return b""
