"""What all client connections of a worker share."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Protocol

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.timing import Ending
from propylon.http.refusal import Refusal
from propylon.http.request_head import HOSTS, RequestFields, RequestLine
from propylon.http.request_id import RequestIds

if TYPE_CHECKING:
    from propylon.engine.sides import Client
    from propylon.engine.snapshot import Snapshot
    from propylon.http.host import Host
    from propylon.http.websocket import Close


ENDINGS_PER_SECOND = 500  # of event streams and WebSockets when the worker stops; more if it has little time

log = logging.getLogger("propylon.inbound")


class Connection(Protocol):
    """A client connection, as the worker sees it.

    Attributes:
        deadline: when `check` has to look at it (`time.monotonic`).
        due: when `check` has to look at its exchange.
        listener: what accepted it.
    """

    deadline: float
    due: float
    listener: object

    @property
    def exchange(self) -> Exchange | None:
        """The exchange under way, if any."""

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""

    def drain(self, ending: Ending | None) -> None:
        """Close if nothing is under way; otherwise behind the answer, and what goes on for long by `ending`, if any."""

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

    def begin(self, client: Client, line: RequestLine, fields: RequestFields) -> Exchange:
        """Make the exchange of a request whose head has been read.

        Raises:
            Refusal: what neither the request line nor the header section can tell alone to be wrong.
        """
        snapshot = self.snapshot
        host = fields.host
        if line.authority is not None or host is None or not line.minor:
            host = _check_together(line, fields)
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

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self.connections.discard(connection)
        if not self.connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def drain(self, now: float, seconds: float, close: Close) -> None:
        """Take no further requests; close what rests.

        Event streams and WebSockets are ended one after the other, in at most `seconds`: their clients connect again at
        once, and shall not do so all in the same moment.

        Args:
            close: what both sides of a WebSocket are told.
        """
        self.draining = True
        busy = [connection for connection in self.connections if connection.exchange is not None]
        pause = min(1 / ENDINGS_PER_SECOND, seconds / max(1, len(busy)))
        for number, connection in enumerate(busy):
            connection.drain(Ending(now + number * pause, close))
        for connection in self.connections.difference(busy):
            connection.drain(Ending(now, close))

    async def emptied(self) -> None:
        """Wait until every connection is closed."""
        if self.connections:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed; the only timer there is.

        Of a connection that has nothing due only two numbers are looked at: there may be tens of thousands.
        """
        for connection in [each for each in self.connections if each.deadline <= now or each.due <= now]:
            try:
                connection.check(now)
            except Exception:  # one connection's defect must not take all others their deadlines
                log.exception("a connection was cut by a defect of the gateway: %r", connection)
                connection.abort()


def _check_together(line: RequestLine, fields: RequestFields) -> Host | None:
    """Check a request line against its header section; return the host the request is for."""
    if line.minor == 0:
        if fields.chunked:
            raise Refusal("read.bad_framing", "Transfer-Encoding in an HTTP/1.0 request (RFC 9112 6.1)")
        if fields.websocket:
            raise Refusal("upgrade.bad_handshake", "a WebSocket needs HTTP/1.1 (RFC 6455 4.1)")
    elif fields.host is None:
        raise Refusal("read.bad_host", "no Host field in an HTTP/1.1 request (RFC 9112 3.2)")
    if line.authority is None:
        return fields.host
    host = HOSTS[line.authority]
    if fields.host is not None and host != fields.host:
        raise Refusal("read.bad_host", "the target's authority and Host differ (RFC 9112 3.2.2)")
    return host
