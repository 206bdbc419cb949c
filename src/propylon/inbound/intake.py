"""What all client connections of a worker share."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Protocol

from propylon.http.request_id import RequestIds

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.snapshot import Snapshot


class Connection(Protocol):
    """A client connection, as the worker sees it.

    Attributes:
        deadline: when `check` has to look at it (`time.monotonic`).
    """

    deadline: float

    @property
    def exchange(self) -> Exchange | None:
        """The exchange under way, if any."""

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""

    def drain(self) -> None:
        """Close if nothing is under way; otherwise behind the next answer."""

    def abort(self) -> None:
        """Cut the connection."""


class Intake:
    """The worker as its connections see it.

    Attributes:
        snapshot: what new exchanges run on.
        connections: every open client connection.
        new_request_id: makes request ids.
        draining: the worker takes no further requests on connections it has answered.
    """

    __slots__ = ("_empty", "connections", "draining", "new_request_id", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.connections: set[Connection] = set()
        # Ids need to be unique, not secret; SystemRandom would cost a system call each.
        self.new_request_id = RequestIds(time.time, random.Random().getrandbits)  # noqa: S311
        self.draining = False
        self._empty: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Whether as many connections are open as may be."""
        limit = self.snapshot.limits.connections
        return limit is not None and len(self.connections) >= limit

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self.connections.discard(connection)
        if not self.connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def emptied(self) -> None:
        """Wait until every connection is closed."""
        if self.connections:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed; the only timer there is."""
        for connection in [each for each in self.connections if each.deadline <= now or each.exchange is not None]:
            connection.check(now)
