"""What all client connections of a worker share."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from propylon.http.request_id import RequestIds

if TYPE_CHECKING:
    from propylon.engine.snapshot import Snapshot
    from propylon.inbound.http1 import ClientConnection


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
        self.connections: set[ClientConnection] = set()
        # Ids need to be unique, not secret; SystemRandom would cost a system call each.
        self.new_request_id = RequestIds(time.time, random.Random().getrandbits)  # noqa: S311
        self.draining = False
        self._empty: asyncio.Future[None] | None = None

    def forget(self, connection: ClientConnection) -> None:
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
