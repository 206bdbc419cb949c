"""The connections to one endpoint: kept ones, new ones, and who waits for one. Every operation is O(1).

The last one returned is taken first, so that a pool shrinks to what is needed. When all are busy, exchanges wait in
line, first come first served, and a connection that becomes free goes to the first of the line.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.outbound.connect import ConnectError
from propylon.outbound.http1 import EndpointConnection

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Attributes:
    max: open connections at the most, as Envoy's `max_connections` (1024 there).
    idle: kept connections at the most.
    idle_timeout: seconds a kept connection may rest: below the 60 s and more after which services close theirs.
    queue: exchanges that may wait for a connection.
    queue_timeout: seconds they wait at the most.
    """

    max: int = 4096
    idle: int = 256
    idle_timeout: float = 55.0
    queue: int = 1024
    queue_timeout: float | None = 5.0


log = logging.getLogger("propylon.outbound")


class Lease:
    """An exchange's claim to a connection: granted (`upstream`), refused (`error`) or still open."""

    __slots__ = ("_pool", "error", "exchange", "upstream", "withdrawn")

    def __init__(self, pool: Pool, exchange: Exchange) -> None:
        self._pool = pool
        self.exchange = exchange
        self.upstream: EndpointConnection | None = None
        self.error: GatewayError | None = None
        self.withdrawn = False

    def withdraw(self) -> None:
        """Give the claim up; what it was granted meanwhile goes back."""
        self.withdrawn = True
        connection, self.upstream = self.upstream, None
        self._pool.withdrawn(self, connection)


Opener = Callable[["Pool", "float | None"], Coroutine[None, None, EndpointConnection]]


class Pool:
    """The connections to one endpoint."""

    __slots__ = ("_idle", "_limits", "_line", "_open", "_opener", "_opening", "_retired", "closed")

    def __init__(self, limits: PoolLimits, opener: Opener) -> None:
        """`opener(pool, timeout)` makes a connection in at most `timeout` seconds, or raises `ConnectError`."""
        self._limits = limits
        self._opener = opener
        self._idle: deque[EndpointConnection] = deque()
        self._open = 0
        self._line: OrderedDict[Lease, None] = OrderedDict()
        self._opening: set[asyncio.Task[EndpointConnection]] = set()
        self._retired = False
        self.closed = False

    def __repr__(self) -> str:
        return f"<Pool open={self._open} idle={len(self._idle)} waiting={len(self._line)}>"

    @property
    def open(self) -> int:
        """Connections open or being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """Connections that rest."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Exchanges in line."""
        return len(self._line)

    @property
    def full(self) -> bool:
        """Whether who asks for a connection has to wait in line."""
        return not self._idle and self._open >= self._limits.max

    def take(self) -> EndpointConnection | None:
        """Take the connection that was used last, if any rests."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def lease(self, x: Exchange) -> Lease:
        """Claim a new connection, or a place in line; `x` is notified when the claim is decided."""
        lease = Lease(self, x)
        if self._open < self._limits.max:
            self._start_opening(lease)
        elif len(self._line) < self._limits.queue:
            self._line[lease] = None
            x.arm(self._limits.queue_timeout, "choose.queue_timeout")
        else:
            lease.error = GatewayError("choose.queue_full", headers={"retry-after": "1"})
        return lease

    def withdrawn(self, lease: Lease, connection: EndpointConnection | None) -> None:
        """Take a claim out of the line, and back what it was granted."""
        self._line.pop(lease, None)
        if connection is not None:
            self.give_back(connection)

    def give_back(self, connection: EndpointConnection) -> None:
        """Take back a clean connection: for the first in line, or to rest."""
        connection.fresh = False  # whoever gets it may find that the endpoint has closed it meanwhile
        lease = self._next_in_line() if self._line else None
        if lease is not None:
            lease.upstream = connection
            asyncio.get_running_loop().call_soon(self._deliver, lease)
        elif len(self._idle) < self._limits.idle and not self._retired:
            connection.idle_since = monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def lost(self) -> None:
        """Learn that a connection is closed, whoever closed it: the first in line may open another."""
        self._open -= 1
        lease = self._next_in_line() if not self.closed else None
        if lease is not None:
            self._start_opening(lease)

    def sweep(self, now: float) -> None:
        """Close connections that rested too long; the oldest stand on the left."""
        limit = now - self._limits.idle_timeout
        while self._idle and (self._idle[0].idle_since < limit or not self._idle[0].usable):
            self._idle.popleft().close()

    def retire(self) -> None:
        """Close what rests, and keep nothing from now on; who has a claim is still served."""
        self._retired = True
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Close what rests and give up what is being opened; what is in use is closed when it comes back."""
        self.closed = True
        self.retire()
        for task in self._opening:
            task.cancel()

    def _next_in_line(self) -> Lease | None:
        if not self._line:
            return None
        lease, _ = self._line.popitem(last=False)
        if lease.exchange.expiry == "choose.queue_timeout":  # another deadline is of a request it has sent elsewhere
            lease.exchange.disarm()
        return lease

    def _start_opening(self, lease: Lease) -> None:
        self._open += 1
        timeout = lease.exchange.timeouts.connect
        task = asyncio.get_running_loop().create_task(self._opener(self, timeout), name="propylon connect")
        self._opening.add(task)
        task.add_done_callback(lambda task: self._opened(lease, task))

    def _opened(self, lease: Lease, task: asyncio.Task[EndpointConnection]) -> None:
        self._opening.discard(task)
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
            connection.adopted = True
            if not connection.usable:  # it was closed before it could be counted
                self.lost()
        if lease.error is not None:
            self.lost()
        self._deliver(lease)

    def _deliver(self, lease: Lease) -> None:
        """Tell the exchange; if it is gone, the connection serves another."""
        if lease.withdrawn or lease.exchange.finished:
            lease.withdraw()
        else:
            lease.exchange.notify()
