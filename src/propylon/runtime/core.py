"""A gateway without listeners: the snapshot it serves, what outlives that, and the exchanges that begin on it.

Everything that lets requests in stands on it: a worker with its listeners, a test client, an entrance from another
server. They bring the connections and the timer.

Rules of the file:

- Nothing here opens a socket for clients, and no timer runs: whoever has the core calls `sweep`.
- What can fail comes before anything has changed: `prepare` waits and may fail, `take` is one turn of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from math import inf
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.pipeline import settled
from propylon.http.request_head import host_of
from propylon.http.request_id import RequestIds
from propylon.outbound.resolve import Resolver
from propylon.runtime.policies import Policies
from propylon.services.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from propylon.engine.sides import Client
    from propylon.engine.snapshot import DnsSettings, Snapshot
    from propylon.http.request_head import RequestFields, RequestLine

POOL_SWEEP_SECONDS: Final = 1.0
"""Kept connections to endpoints rest for many seconds: once a second will do."""


class Core:
    """Serves one snapshot after the other to whatever client sides there are (`Intake`).

    Attributes:
        snapshot: what new exchanges run on.
        directory: the services and their endpoints, with all that is known about them.
        policies: the policies at work; those of a snapshot are started between `prepare` and `take`.
        draining: it stops: client sides take no further requests once they have answered.
        new_request_id: makes request ids.
    """

    def __init__(self, snapshot: Snapshot, clock: Callable[[], float] = time.monotonic) -> None:
        """Make the core of a snapshot; it is in use from `take` on.

        Args:
            clock: monotonic seconds, the same that `sweep` is told.
        """
        self.snapshot = snapshot
        self.draining = False
        # Ids need to be unique, not secret; SystemRandom would cost a system call each.
        self.new_request_id = RequestIds(time.time, random.Random().getrandbits)  # noqa: S311
        self._clock = clock
        self.directory = Directory(self._resolver(snapshot.dns), clock)
        self.policies = Policies(clock)
        self._pools_due = -inf
        self._retiring: set[asyncio.Task[None]] = set()

    # one snapshot after the other

    async def prepare(self, snapshot: Snapshot) -> None:
        """Look for the endpoints of a snapshot's services, and wait for the first; nothing has changed until `take`."""
        await self.directory.providers.prepare(snapshot.services.values())

    def take(self, snapshot: Snapshot) -> None:
        """Serve a snapshot from the next request on; exchanges under way finish on the one they began with."""
        self.directory.enter(snapshot.services)
        self.policies.enter(snapshot)
        self._use_dns(snapshot.dns)
        self.snapshot = snapshot

    def _use_dns(self, dns: DnsSettings) -> None:
        """Ask by other rules from now on; lookups under way are still answered."""
        if dns != self.snapshot.dns:
            old, self.directory.resolver = self.directory.resolver, self._resolver(dns)
            retiring = asyncio.get_running_loop().create_task(old.retire(), name="propylon old resolver")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    def _resolver(self, dns: DnsSettings) -> Resolver:
        servers = list(dns.servers) or None
        return Resolver(servers, dns.min_ttl, dns.max_ttl, self._clock, refuse_private=dns.refuse_private)

    # exchanges

    def begin(self, client: Client, line: RequestLine, fields: RequestFields) -> Exchange:
        """Make the exchange of a request whose head has been read.

        Raises:
            Refusal: what neither the request line nor the header section can tell alone to be wrong.
        """
        snapshot = self.snapshot
        host = fields.host
        if line.authority is not None or host is None or not line.minor:
            host = host_of(line, fields)
        x = Exchange(client, snapshot, line.method, line.path, line.query)
        x.fields, x.host = fields, host
        x.id = fields.request_id or self.new_request_id()
        if fields.was_proxied and snapshot.pseudonym and fields.has_passed(snapshot.pseudonym):
            x.refusal = GatewayError("admit.loop")
        return x

    def refused(self, client: Client, error: GatewayError) -> Exchange:
        """Make the exchange of a request that could not be read: it is answered like any other."""
        x = Exchange(client, self.snapshot, b"", b"", None)
        x.id = self.new_request_id()
        x.refusal = error
        return x

    def sweep(self, now: float) -> None:
        """Do what time alone brings about: health checks that are due, ejections that are over, connections that rest.

        Deadlines of exchanges are their client sides' own. Without a sweep nothing is checked and no connection opened.

        Args:
            now: the clock's time; ten times a second is often enough.
        """
        self.directory.sweep(now)
        self.directory.checks.sweep(now)
        if now >= self._pools_due:
            self._pools_due = now + POOL_SWEEP_SECONDS
            self.directory.sweep_pools(now)

    # the end

    def drain(self) -> None:
        """Begin to stop: client sides take no further requests."""
        self.draining = True

    async def drained(self, emptied: Awaitable[None]) -> None:
        """Wait for what is under way, for the snapshot's drain time at the most.

        Args:
            emptied: waits for the client side's last exchange; async `on_done` hooks are waited for behind it.
        """
        drain = self.snapshot.client_timeouts.drain
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain if drain < inf else None):
                await emptied
                await settled()

    async def stop(self) -> None:
        """Close all policies and all connections to endpoints, and look for nothing any more."""
        await self.policies.close()
        self.directory.close()
        await self.directory.providers.close()
        for retiring in tuple(self._retiring):
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self.directory.resolver.close()
