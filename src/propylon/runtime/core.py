"""A gateway without listeners: the current snapshot, the state that outlives it, and the start of exchanges.

All client sides are built on it: a worker with its listeners, a test client, an adapter to another server. They provide
the connections and the timer.

Rules of the file:

- Nothing here opens a socket for clients or runs a timer: the owner of the core calls `sweep`.
- What can fail comes before any change: `prepare` waits and may fail, `take` is one turn of the event loop.
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
from propylon.engine.lines import tell_left_out
from propylon.engine.pipeline import settled
from propylon.http.request_head import host_of
from propylon.http.request_id import RequestIds
from propylon.http.target import TargetError
from propylon.outbound.resolve import Resolver
from propylon.runtime.policies import Policies
from propylon.services.directory import Directory
from propylon.tls_files import LOOK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from propylon.engine.sides import Client
    from propylon.engine.snapshot import DnsSettings, Snapshot
    from propylon.http.request_head import RequestFields, RequestLine

POOL_SWEEP_SECONDS: Final = 1.0
"""Interval of sweeping pools: idle timeouts of connections to endpoints are many seconds long."""


class Core:
    """Serves the current snapshot to client sides (`Intake`).

    Attributes:
        snapshot: the current snapshot, used by new exchanges.
        directory: the services and their endpoints, with their state.
        policies: the policies at work; those of a snapshot are started between `prepare` and `take`.
        draining: whether it is stopping: client sides accept no further requests after the current responses.
        new_request_id: generates request ids.
    """

    def __init__(self, snapshot: Snapshot, clock: Callable[[], float] = time.monotonic) -> None:
        """Create the core of a snapshot, which takes effect with `take`.

        Args:
            clock: returns monotonic seconds, the time base of `sweep`.
        """
        self.snapshot = snapshot
        self.draining = False
        # Ids need to be unique, not secret; SystemRandom would cost a system call each.
        self.new_request_id = RequestIds(time.time, random.Random().getrandbits)  # noqa: S311
        self._clock = clock
        self.directory = Directory(self._resolver(snapshot.dns), clock)
        self.policies = Policies(clock)
        self._pools_due = self._files_due = -inf
        self._retiring: set[asyncio.Task[None]] = set()

    # snapshots

    async def prepare(self, snapshot: Snapshot) -> None:
        """Start discovery for a snapshot's services and wait for their first endpoints; no change until `take`."""
        await self.directory.providers.prepare(snapshot.services.values())

    def take(self, snapshot: Snapshot) -> None:
        """Make a snapshot the current one; exchanges in flight keep the snapshot they began with."""
        self.directory.enter(snapshot.services)
        self.policies.enter(snapshot)
        self._use_dns(snapshot.dns)
        tell_left_out(self.snapshot.line_limit, inf)
        self.snapshot = snapshot

    def _use_dns(self, dns: DnsSettings) -> None:
        """Replace the resolver if the DNS settings differ; the old one finishes its lookups in flight."""
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
        """Create the exchange of a request whose head has been read.

        Raises:
            Refusal: request line and header section are invalid in combination.
        """
        snapshot = self.snapshot
        host = fields.host
        if host is None or not line.plain:
            host = host_of(line, fields)
        x = Exchange(client, snapshot, line.method, line.path, line.query)
        x.fields, x.host = fields, host
        x.id = fields.request_id or self.new_request_id()
        if fields.from_proxy:
            _take_claims(x)
        if line.odd:
            _apply_path_rules(x, line)
        return x

    def refused(self, client: Client, error: GatewayError) -> Exchange:
        """Create the exchange of a request that could not be read; its response takes the same path as any other."""
        x = Exchange(client, self.snapshot, b"", b"", None)
        x.id = self.new_request_id()
        x.refusal = error
        return x

    def sweep(self, now: float) -> None:
        """Handle timed events: health checks due, ejections that have ended, connections and TLS files out of date.

        Deadlines of exchanges belong to their client sides. Without sweeps no check runs and no connection is opened.

        Args:
            now: the current time of `clock`; ten sweeps a second are enough.
        """
        if now >= self.snapshot.line_limit.due:
            tell_left_out(self.snapshot.line_limit, now)
        self.directory.sweep(now)
        self.directory.checks.sweep(now)
        if now >= self._files_due:
            self._files_due = now + LOOK_SECONDS
            self.directory.refresh_tls()
        if now >= self._pools_due:
            self._pools_due = now + POOL_SWEEP_SECONDS
            self.directory.sweep_pools(now)

    # stopping

    def drain(self) -> None:
        """Begin to stop: client sides accept no further requests."""
        self.draining = True

    async def drained(self, emptied: Awaitable[None]) -> None:
        """Wait for exchanges in flight, at most for the snapshot's drain time.

        Args:
            emptied: waits for the client side's last exchange; async `on_done` hooks are awaited after it.
        """
        drain = self.snapshot.client_timeouts.drain
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain if drain < inf else None):
                await emptied
                await settled()

    async def stop(self) -> None:
        """Close all policies, providers, connections to endpoints and the resolver."""
        tell_left_out(self.snapshot.line_limit, inf)
        await self.policies.close()
        self.directory.close()
        await self.directory.providers.close()
        for retiring in tuple(self._retiring):
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self.directory.resolver.close()


def _take_claims(x: Exchange) -> None:
    """Take the claims of a trusted proxy, and refuse a request that has passed this gateway before."""
    fields, pseudonym = x.fields, x.snapshot.pseudonym
    if fields.was_proxied and pseudonym and fields.has_passed(pseudonym):
        x.refusal = GatewayError("admit.loop")
    if x.origin.by_proxy:
        x.fields = fields.with_claims(x.snapshot.reader.rules)


def _apply_path_rules(x: Exchange, line: RequestLine) -> None:
    """Read the target by the rules of its route, which accept less than those it was read by, or refuse it."""
    name, port = x.host or (b"", None)
    try:
        target = x.snapshot.read_again(line, name, port, x)
    except TargetError as error:
        x.refusal = x.refusal or GatewayError(error.code, error.detail)
    else:
        x.path, x.query = target.path, target.query
