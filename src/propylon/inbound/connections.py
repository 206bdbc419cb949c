"""The open client connections of a worker: how many there may be, their deadlines, and how they end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from propylon.engine.timing import Ending

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.http.websocket import Close
    from propylon.inbound.intake import Intake

ENDINGS_PER_SECOND = 500  # of event streams and WebSockets when the worker stops; more if it has little time

log = logging.getLogger("propylon.inbound")


class Connection(Protocol):
    """A client connection, as the worker sees it.

    Attributes:
        deadline: when `check` has to look at it (`time.monotonic`).
        due: when `check` has to look at its exchange.
        listener: what accepted it.
    """

    deadline: float
    due: float
    listener: object

    @property
    def exchange(self) -> Exchange | None:
        """The exchange under way, if any."""

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""

    def drain(self, ending: Ending | None) -> None:
        """Close if nothing is under way; otherwise behind the answer, and what goes on for long by `ending`, if any."""

    def abort(self) -> None:
        """Cut the connection."""


class Connections:
    """The open connections from clients of one gateway.

    Attributes:
        intake: where their requests go.
        open: every open connection.
    """

    __slots__ = ("_empty", "intake", "open")

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.open: set[Connection] = set()
        self._empty: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Whether as many connections are open as may be."""
        limit = self.intake.snapshot.limits.connections
        return limit is not None and len(self.open) >= limit

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self.open.discard(connection)
        if not self.open and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def drain(self, now: float, seconds: float, close: Close) -> None:
        """Close what rests, and let what is under way end.

        Event streams and WebSockets are ended one after the other, in at most `seconds`: their clients connect again at
        once, and shall not do so all in the same moment.

        Args:
            close: what both sides of a WebSocket are told.
        """
        busy = [connection for connection in self.open if connection.exchange is not None]
        pause = min(1 / ENDINGS_PER_SECOND, seconds / max(1, len(busy)))
        for number, connection in enumerate(busy):
            connection.drain(Ending(now + number * pause, close))
        for connection in self.open.difference(busy):
            connection.drain(Ending(now, close))

    async def emptied(self) -> None:
        """Wait until every connection is closed."""
        if self.open:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed; the only timer there is.

        Of a connection that has nothing due only two numbers are looked at: there may be tens of thousands.
        """
        for connection in [each for each in self.open if each.deadline <= now or each.due <= now]:
            try:
                connection.check(now)
            except Exception:  # one connection's defect must not take all others their deadlines
                log.exception("a connection was cut by a defect of the gateway: %r", connection)
                connection.abort()
