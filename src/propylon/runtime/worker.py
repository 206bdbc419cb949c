"""A worker: listeners, the connections they accept, one timer, and a way to stop that loses no exchange."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.pipeline import settled
from propylon.engine.websocket.settings import DRAINED, RESTARTED
from propylon.inbound.intake import Intake
from propylon.inbound.tls_reload import LOOK_SECONDS
from propylon.outbound.resolve import Resolver
from propylon.runtime.listeners import Listeners
from propylon.runtime.policies import Policies
from propylon.services.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from propylon.config.schema import ListenerConfig
    from propylon.engine.snapshot import DnsSettings, Snapshot
    from propylon.runtime.listeners import Plan

SWEEP_SECONDS = 0.1  # how late a deadline may be noticed
CERTIFICATE_TICKS = round(LOOK_SECONDS / SWEEP_SECONDS)
POOL_SWEEP_TICKS = 10  # kept connections to endpoints rest for many seconds: once a second will do

log = logging.getLogger("propylon.worker")


class Worker:
    """Serves one snapshot on some listeners.

    Attributes:
        directory: the services and their endpoints, with all that is known about them.
        policies: the policies at work.
        listeners: where clients connect.
    """

    def __init__(self, snapshot: Snapshot, listeners: Sequence[ListenerConfig]) -> None:
        self._intake = Intake(snapshot)
        self.directory = Directory(_resolver(snapshot.dns), monotonic)
        self.policies = Policies()
        self.listeners = Listeners(self._intake)
        self._settings = listeners
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def snapshot(self) -> Snapshot:
        """What new exchanges run on."""
        return self._intake.snapshot

    @property
    def addresses(self) -> list[str]:
        """Where it listens: the real ports."""
        return self.listeners.addresses

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._intake.connections)

    async def start(self) -> None:
        """Open all listeners, or none.

        Raises:
            BuildError: a policy that cannot be started.
            ListenError: an address that cannot be listened on.
            TlsError: a certificate that cannot be used.
        """
        plan = self.listeners.stage(self._settings)
        try:
            await self.directory.providers.prepare(self.snapshot.services.values())
            await self.policies.start(self.snapshot)
            await self.listeners.open(plan)
        except BaseException:
            await self.policies.close()
            await self.directory.providers.close()
            raise
        self.directory.enter(self.snapshot.services)
        self.policies.enter(self.snapshot)
        self.listeners.commit(plan)
        self._tick()

    async def take(self, snapshot: Snapshot, plan: Plan) -> None:
        """Serve another snapshot from the next request on; what is under way finishes on the one it began with.

        Args:
            plan: what `listeners.stage` has made of the new listeners.

        Raises:
            BuildError: a new policy cannot be started; nothing has changed.
            ListenError: a new address cannot be listened on; nothing has changed.
        """
        await self.directory.providers.prepare(snapshot.services.values())
        await self.listeners.open(plan)
        try:
            await self.policies.start(snapshot)
            self.directory.enter(snapshot.services)
        except BaseException:
            self.listeners.abandon(plan)
            await self.policies.abandon()
            raise
        self.policies.enter(snapshot)
        self._use_dns(snapshot.dns)
        self._intake.snapshot = snapshot
        self.listeners.commit(plan)

    def _use_dns(self, dns: DnsSettings) -> None:
        """Ask by other rules from now on; lookups under way are still answered."""
        if dns != self.snapshot.dns:
            old, self.directory.resolver = self.directory.resolver, _resolver(dns)
            retiring = asyncio.get_running_loop().create_task(old.retire(), name="propylon old resolver")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    async def stop(self, restart: bool = False) -> None:
        """Stop: take no more connections, let exchanges under way end, then close everything.

        Event streams and WebSockets are ended during the first half of the snapshot's drain time; exchanges that take
        longer than all of it are cut off.

        Parameters:
            restart: WebSockets are told that the gateway comes back (1012), and not that it goes away (1001).
        """
        self.listeners.close()
        drain = self.snapshot.client_timeouts.drain
        self._intake.drain(monotonic(), drain / 2, RESTARTED if restart else DRAINED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain if drain < inf else None):
                await self._intake.emptied()
                await settled()
        for connection in list(self._intake.connections):
            log.warning("cut off a connection that was busy for longer than the drain time: %r", connection)
            connection.abort()
        await asyncio.sleep(0)  # exchanges that were cut off end in the next turn of the loop
        await self.policies.close()
        self.directory.close()
        await self.directory.providers.close()
        for retiring in tuple(self._retiring):
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self.directory.resolver.close()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.sleep(0)  # transports that were aborted tell their protocols in the next turn of the loop

    def _tick(self) -> None:
        """Look at every deadline, ten times a second: the one timer of a worker."""
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._tick)
        now = monotonic()
        self.directory.sweep(now)
        self.directory.checks.sweep(now)
        self._intake.sweep(now)
        self._ticks += 1
        if self._ticks % CERTIFICATE_TICKS == 0:
            self.listeners.refresh_certificates()
        if self._ticks % POOL_SWEEP_TICKS == 0:
            self.directory.sweep_pools(now)


def _resolver(dns: DnsSettings) -> Resolver:
    servers = list(dns.servers) or None
    return Resolver(servers, dns.min_ttl, dns.max_ttl, monotonic, refuse_private=dns.refuse_private)
