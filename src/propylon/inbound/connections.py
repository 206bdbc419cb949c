"""The open client connections of a worker: their limit, deadlines and shutdown."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from propylon.engine import lines
from propylon.engine.timing import Ending

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.http.websocket import Close
    from propylon.inbound.intake import Intake

ENDINGS_PER_SECOND = 500  # of event streams and WebSockets while draining; more if the time is short

log = logging.getLogger("propylon.inbound")


class Acceptor(Protocol):
    """What accepts connections.

    Attributes:
        id: of the listener.
    """

    id: str


class Connection(Protocol):
    """A client connection, as seen by the worker.

    Attributes:
        deadline: when `check` is due for the connection (`time.monotonic`).
        due: when `check` is due for its exchange.
        listener: the listener that accepted it.
    """

    deadline: float
    due: float
    listener: Acceptor | None

    @property
    def exchange(self) -> Exchange | None:
        """The exchange in flight, if any."""

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""

    def drain(self, ending: Ending | None) -> None:
        """Close if idle; otherwise after the response, and end a long-lived exchange by `ending`, if given."""

    def abort(self) -> None:
        """Close the connection at once."""


class Connections:
    """The open connections from clients of one gateway.

    Attributes:
        intake: the core that takes their requests.
        open: every open connection.
    """

    __slots__ = ("_empty", "intake", "open")

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.open: set[Connection] = set()
        self._empty: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the limit of open connections is reached."""
        limit = self.intake.snapshot.limits.connections
        return limit is not None and len(self.open) >= limit

    def forget(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self.open.discard(connection)
        if not self.open and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def drain(self, now: float, seconds: float, close: Close) -> None:
        """Close idle connections, and let exchanges in flight end.

        Event streams and WebSockets are ended one after the other, within `seconds`, since their clients reconnect at
        once.

        Args:
            close: the Close for both sides of a WebSocket.
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
        """Act on every deadline that has passed; the only timer.

        A connection with nothing due costs two comparisons: there may be tens of thousands.
        """
        for connection in [each for each in self.open if each.deadline <= now or each.due <= now]:
            try:
                connection.check(now)
            except Exception:  # a defect in one connection must not suspend the deadlines of all others
                if connection.exchange is not None:
                    lines.defect(connection.exchange, "an exchange was cut off by a defect of the gateway")
                else:
                    log.exception("a connection was cut by a defect of the gateway: %r", connection)
                connection.abort()
