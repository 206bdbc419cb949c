"""What all clients share: the gateway's port, one ledger, one pace, one source of choices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from bench.soak.wire import Connection

if TYPE_CHECKING:
    from bench.soak.asks import Ask
    from bench.soak.ledger import Ledger
    from bench.soak.settings import Settings

Role = Callable[[Any], Awaitable[None]]
"""One client's life; it takes the load of its run."""


class Load:
    """The load as one client sees it.

    Attributes:
        choose: where choices come from; the same seed chooses the same, as far as timing lets it.
        write_seconds: how long the gateway waits for a client that reads nothing.
        stopping: no client begins anything new.
    """

    def __init__(self, port: int, ledger: Ledger, settings: Settings) -> None:
        self.port = port
        self.ledger = ledger
        self.choose = random.Random(settings.seed)
        self.write_seconds = settings.write_seconds
        self.stopping = False
        self._interval = 1 / settings.rate
        self._next = monotonic()

    async def turn(self, requests: int = 1) -> None:
        """Wait until so many requests may be sent: together, clients send no more than the rate."""
        now = monotonic()
        self._next = max(self._next, now - 0.1) + requests * self._interval
        if self._next > now:
            await asyncio.sleep(self._next - now)

    async def connect(self, receive_buffer: int | None = None) -> Connection:
        """Open a connection to the gateway."""
        return await Connection.open(self.port, receive_buffer)

    async def exchange(self, connection: Connection, ask: Ask, pause: float = 0.0) -> bool:
        """Send a request, judge its answer; say whether the connection can be used again."""
        since = monotonic()
        try:
            for piece in (ask.head, *ask.body) if pause else (ask.raw,):
                await connection.send(piece)
                if pause:
                    await asyncio.sleep(pause)
        except ConnectionError:
            pass  # an answer may be there nevertheless
        reply = await connection.reply(ask.method, pause)
        self.ledger.settle(ask, reply, since)
        return reply is not None and reply.complete and not reply.closes


async def forever(role: Role, load: Load) -> None:
    """Play a role again and again until the load stops. What it does not expect is a violation, and ends nothing."""
    while not load.stopping:
        try:
            await role(load)
        except TimeoutError:
            load.ledger.violation(f"{role.__name__}: hung: no byte within the time anything may take")
        except Exception as error:
            load.ledger.violation(f"{role.__name__}: {error!r}")
            await asyncio.sleep(0.1)
