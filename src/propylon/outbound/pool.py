"""The connection pool of one endpoint: idle connections, new ones, and the queue of exchanges. Every operation is O(1).

Connections are reused last in, first out, so that a pool shrinks to what is needed. When all are busy, exchanges wait
in a FIFO queue, and a connection that becomes free goes to its head.

A connection is retired at a time of its own (`retire_at`): at its maximum age, or at once when its address or its TLS
files are out of date. It then ends when its exchange does; an idle one is closed by the next sweep at the latest.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.engine.retry import may_repeat
from propylon.outbound.connect import ConnectError
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.idle_age import IdleAge

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange

AGE_JITTER: Final = 0.1
"""Share of the maximum age by which a connection ends earlier, at random: those of one burst do not end at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Attributes:
    max: maximum of open connections, as Envoy's `max_connections` (1024 there).
    idle: maximum of idle connections.
    idle_timeout: seconds that a connection may be idle: below the 60 s and more after which services close theirs.
    max_age: seconds after which a connection is not reused; as nginx's `keepalive_time` (1 h there).
    queue: maximum of exchanges that wait for a connection.
    queue_timeout: maximum seconds that they wait.
    """

    max: int = 4096
    idle: int = 256
    idle_timeout: float = 55.0
    max_age: float = 3600.0
    queue: int = 1024
    queue_timeout: float | None = 5.0


log = logging.getLogger("propylon.outbound")


class Lease:
    """An exchange's request for a connection: granted (`upstream`), refused (`error`) or pending."""

    __slots__ = ("_pool", "error", "exchange", "upstream", "withdrawn")

    def __init__(self, pool: Pool, exchange: Exchange) -> None:
        self._pool = pool
        self.exchange = exchange
        self.upstream: EndpointConnection | None = None
        self.error: GatewayError | None = None
        self.withdrawn = False

    def withdraw(self) -> None:
        """Withdraw the request; a connection that was granted meanwhile goes back to the pool."""
        self.withdrawn = True
        connection, self.upstream = self.upstream, None
        self._pool.withdrawn(self, connection)


Opener = Callable[["Pool", "float | None"], Coroutine[None, None, EndpointConnection]]


class Pool:
    """The connections to one endpoint.

    Attributes:
        idle_age: how long they may be idle.
        max_idle: how many idle connections it keeps; 0 once it is retired.
    """

    __slots__ = (
        "_connections", "_idle", "_limits", "_next_due", "_open", "_opener", "_opening", "_queue", "_random", "closed",
        "idle_age", "max_idle",
    )  # fmt: skip

    def __init__(self, limits: PoolLimits, opener: Opener, random: Callable[[], float] = randomness.random) -> None:
        """Create an empty pool.

        Args:
            opener: `opener(pool, timeout)` opens a connection within `timeout` seconds, or raises `ConnectError`.
            random: returns a number from 0 to 1.
        """
        self._limits = limits
        self._opener = opener
        self._random = random
        self.max_idle = limits.idle
        self._idle: deque[EndpointConnection] = deque()
        self._connections: set[EndpointConnection] = set()
        self._open = 0
        self._queue: OrderedDict[Lease, None] = OrderedDict()
        self._opening: dict[asyncio.Task[EndpointConnection], float] = {}  # with the `retire_at` to be
        self._next_due = inf  # no connection reaches its `retire_at` before
        self.closed = False
        self.idle_age = IdleAge()

    def __repr__(self) -> str:
        return f"<Pool open={self._open} idle={len(self._idle)} waiting={len(self._queue)}>"

    @property
    def open(self) -> int:
        """Number of connections open or being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """Number of idle connections."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Number of exchanges in the queue."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether a new lease has to wait in the queue."""
        return not self._idle and self._open >= self._limits.max

    def take(self, x: Exchange, now: float) -> EndpointConnection | None:
        """Return the idle connection that was used last, if there is one that may carry the request of `x`."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                if now - connection.idle_since > self.idle_age.safe and not may_repeat(x):
                    self._pass_over(connection)
                    return None
                return connection
        return None

    def _pass_over(self, connection: EndpointConnection) -> None:
        """Keep an idle connection for requests that may be sent twice; close it if a new one needs its room."""
        if self._open < self._limits.max:
            self._idle.append(connection)
        else:
            connection.close()

    def lease(self, x: Exchange) -> Lease:
        """Request a new connection or a place in the queue; `x` is notified of the result."""
        lease = Lease(self, x)
        if self._open < self._limits.max:
            self._start_opening(lease)
        elif len(self._queue) < self._limits.queue:
            self._queue[lease] = None
            x.arm(self._limits.queue_timeout, "choose.queue_timeout")
        else:
            lease.error = GatewayError("choose.queue_full", headers={"retry-after": "1"})
        return lease

    def withdrawn(self, lease: Lease, connection: EndpointConnection | None) -> None:
        """Remove a lease from the queue, and take back its connection."""
        self._queue.pop(lease, None)
        if connection is not None:
            connection.fresh = False  # the endpoint may close it before its next use
            self.give_back(connection)

    def give_back(self, connection: EndpointConnection) -> None:
        """Take back a reusable connection: for the head of the queue, or to be idle."""
        now = monotonic()
        if now >= connection.retire_at:
            connection.close()  # `lost` opens another for the queue
            return
        if self._queue and (lease := self._next_queued()) is not None:
            lease.upstream = connection
            asyncio.get_running_loop().call_soon(self._deliver, lease)
        elif len(self._idle) < self.max_idle:
            connection.idle_since = now
            self._idle.append(connection)
        else:
            connection.close()

    def lost(self, connection: EndpointConnection) -> None:
        """Record a closed connection: the head of the queue may open another."""
        self._connections.discard(connection)
        self._ended()

    def _ended(self) -> None:
        self._open -= 1
        lease = self._next_queued() if not self.closed else None
        if lease is not None:
            self._start_opening(lease)

    def sweep(self, now: float) -> None:
        """Close connections that were idle too long, of which the oldest are on the left, or that are retired."""
        if self._idle and self._idle[0].usable:
            self.idle_age.survived(now - self._idle[0].idle_since)
        limit = now - min(self._limits.idle_timeout, self.idle_age.limit)
        while self._idle and (self._idle[0].idle_since < limit or not self._idle[0].usable):
            self._idle.popleft().close()
        if now >= self._next_due:
            self._close_due(now)

    def retire_others(self, addresses: Collection[str]) -> int:
        """Retire the connections to other addresses than these; return how many there were."""
        return self._retire_each([each for each in self._connections if each.address not in addresses])

    def renew(self) -> int:
        """Retire every connection, also those being opened; return how many there were."""
        self._opening = dict.fromkeys(self._opening, -inf)
        return self._retire_each(self._connections)

    def _retire_each(self, connections: Iterable[EndpointConnection]) -> int:
        now = monotonic()
        current = [each for each in connections if each.retire_at > now]
        for connection in current:
            connection.retire_at = now
        if current:
            self._close_due(now)
        return len(current)

    def _close_due(self, now: float) -> None:
        idle, self._idle = self._idle, deque()
        for connection in idle:
            if connection.retire_at > now:
                self._idle.append(connection)
            else:
                connection.close()
        self._next_due = min((each.retire_at for each in self._connections if each.retire_at > now), default=inf)

    def retire(self) -> None:
        """Close idle connections, and keep none from now on; pending leases are still served."""
        self.max_idle = 0
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Close idle connections and cancel openings; connections in use are closed when they come back."""
        self.closed = True
        self.retire()
        for task in self._opening:
            task.cancel()

    def _next_queued(self) -> Lease | None:
        if not self._queue:
            return None
        lease, _ = self._queue.popitem(last=False)
        if lease.exchange.expiry == "choose.queue_timeout":  # any other deadline is that of another attempt
            lease.exchange.disarm()
        return lease

    def _start_opening(self, lease: Lease) -> None:
        self._open += 1
        timeout = lease.exchange.timeouts.connect
        task = asyncio.get_running_loop().create_task(self._opener(self, timeout), name="propylon connect")
        self._opening[task] = inf
        task.add_done_callback(lambda task: self._opened(lease, task))

    def _opened(self, lease: Lease, task: asyncio.Task[EndpointConnection]) -> None:
        retire_at = self._opening.pop(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            lease.error = GatewayError("connect.unreachable", log="the connection was given up")
        elif isinstance(error, ConnectError):
            lease.error = GatewayError(error.code, log=error.detail)
        elif error is not None:
            log.error("a connection could not be opened, by a defect of the gateway", exc_info=error)
            lease.error = GatewayError("gateway.failed")
        else:
            connection = lease.upstream = task.result()
            self._adopt(connection, retire_at)
        if lease.error is not None:
            self._ended()
        self._deliver(lease)

    def _adopt(self, connection: EndpointConnection, retire_at: float) -> None:
        if not connection.usable:  # it was closed before it was adopted
            self._ended()
            return
        connection.adopted = True
        age = self._limits.max_age * (1 - AGE_JITTER * self._random())
        connection.retire_at = min(retire_at, monotonic() + age)
        self._next_due = min(self._next_due, connection.retire_at)
        self._connections.add(connection)

    def _deliver(self, lease: Lease) -> None:
        """Notify the exchange; if it is over, return the connection to the pool."""
        if lease.withdrawn or lease.exchange.finished:
            lease.withdraw()
        else:
            lease.exchange.notify()
