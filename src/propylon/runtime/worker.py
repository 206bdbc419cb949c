"""A worker: a core with listeners, their connections, one timer, and a graceful stop."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine import lines
from propylon.engine.websocket.settings import DRAINED, RESTARTED
from propylon.inbound.connections import Connections
from propylon.runtime.core import Core
from propylon.runtime.listeners import Listeners
from propylon.tls_files import LOOK_SECONDS
from propylon.transport.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from propylon.config.schema import ListenerConfig
    from propylon.engine.snapshot import Snapshot
    from propylon.runtime.listeners import Plan

SWEEP_SECONDS = 0.1  # the maximum delay of a deadline
CERTIFICATE_TICKS = round(LOOK_SECONDS / SWEEP_SECONDS)

log = logging.getLogger("propylon.worker")


class Worker:
    """Serves a core on listeners.

    Attributes:
        core: the current snapshot, and the state that outlives it.
        listeners: the open listeners.
    """

    def __init__(self, snapshot: Snapshot, listeners: Sequence[ListenerConfig]) -> None:
        self.core = Core(snapshot)
        self._connections = Connections(self.core)
        self.listeners = Listeners(self._connections)
        self._settings = listeners
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0

    @property
    def addresses(self) -> list[str]:
        """The bound addresses with their actual ports."""
        return self.listeners.addresses

    @property
    def connections(self) -> int:
        """The number of open client connections."""
        return len(self._connections.open)

    async def start(self) -> None:
        """Open all listeners, or none.

        Raises:
            BuildError: a policy cannot be started.
            ListenError: an address cannot be bound.
            TlsError: a certificate cannot be used.
        """
        plan = self.listeners.stage(self._settings)
        try:
            await self.core.policies.start(self.core.snapshot)  # before clients can connect
            await self.take(self.core.snapshot, plan)
        except BaseException:
            await self.core.stop()
            raise
        self._tick()

    async def take(self, snapshot: Snapshot, plan: Plan) -> None:
        """Make a snapshot the current one; exchanges in flight keep the snapshot they began with.

        Args:
            plan: the result of `listeners.stage` for its listeners.

        Raises:
            BuildError: a new policy cannot be started; nothing has changed.
            ListenError: a new address cannot be bound; nothing has changed.
        """
        timeouts = snapshot.client_timeouts
        probes = Probes(timeouts.tcp_keepalive, timeouts.tcp_user_timeout)
        await self.core.prepare(snapshot)
        await self.listeners.open(plan, probes)
        try:
            await self.core.policies.start(snapshot)
            self.core.take(snapshot)
        except BaseException:
            self.listeners.abandon(plan)
            await self.core.policies.abandon()
            raise
        self.listeners.commit(plan, probes)

    async def stop(self, restart: bool = False) -> None:
        """Drain and stop: accept no more connections, wait for exchanges in flight, then close everything.

        Event streams and WebSockets are ended during the first half of the snapshot's drain time; exchanges that exceed
        the drain time are aborted.

        Args:
            restart: close WebSockets with 1012 (Service Restart) instead of 1001 (Going Away).
        """
        self.listeners.close()
        self.core.drain()
        half = self.core.snapshot.client_timeouts.drain / 2
        self._connections.drain(monotonic(), half, RESTARTED if restart else DRAINED)
        await self.core.drained(self._connections.emptied())
        for connection in list(self._connections.open):
            if connection.exchange is not None:
                lines.overdue(connection.exchange)
            else:
                log.warning("cut off a connection that was not closed within the drain time: %r", connection)
            connection.abort()
        await asyncio.sleep(0)  # aborted exchanges end in the next turn of the loop
        await self.core.stop()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.sleep(0)  # aborted transports notify their protocols in the next turn of the loop

    def _tick(self) -> None:
        """Check every deadline, ten times a second: the only timer of a worker."""
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._tick)
        now = monotonic()
        self.core.sweep(now)
        self._connections.sweep(now)
        self._ticks += 1
        if self._ticks % CERTIFICATE_TICKS == 0:
            self.listeners.refresh_certificates()
