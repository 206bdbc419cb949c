"""TLS handshakes: queued, bounded in time, with an answer to plain HTTP.

Rules of the file:

- A handshake costs as much as many requests. So handshakes wait in one queue, and one turn of the event loop spends
  only `SLICE_SECONDS` on them: a burst of new clients delays new clients, and hardly the connected ones.
- The deadline of a handshake is a number that the worker's sweep checks, as for all connections.
- A handshake is a connection like others: it counts for the limit, and draining aborts it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from propylon.transport.tls_transport import Engine, TlsTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.timing import Ending
    from propylon.inbound.connections import Acceptor, Connections
    from propylon.inbound.tls import ListenerTls

HANDSHAKE_SECONDS: Final = 10.0  # as long as a request's head may take
SLICE_SECONDS: Final = 0.002  # for handshakes in one turn of the event loop
MAX_WAITING_BYTES: Final = 128 * 1024  # beyond it, reading is paused until its turn; a ClientHello has 1 to 2 KiB
GOODBYE_SECONDS: Final = 1.0  # for a plain HTTP client to read its 400

_HANDSHAKE_RECORD: Final = 0x16  # RFC 8446 5.1
_TEXT: Final = "This port speaks TLS: use https:// instead of http://.\n"
PLAIN_HTTP_ANSWER: Final = (
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    f"content-length: {len(_TEXT)}\r\nconnection: close\r\n\r\n{_TEXT}"
).encode("ascii")


def _do_handshake(tls: ssl.SSLObject) -> None:
    """Continue a handshake without a traceback in the log.

    CPython writes one, past all handlers, for a server name that is not ASCII, which any scanner can send. The
    handshake still fails, as `callback_failed`.
    """
    hook, sys.unraisablehook = sys.unraisablehook, _ignore_unraisable
    try:
        tls.do_handshake()
    finally:
        sys.unraisablehook = hook


def _ignore_unraisable(_: object) -> None:
    pass


class HandshakeLine:
    """The queue of a worker's handshakes with received data (FIFO)."""

    __slots__ = ("_clock", "_scheduled", "_waiting")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._waiting: deque[TlsHandshake] = deque()
        self._scheduled = False

    def add(self, handshake: TlsHandshake) -> None:
        """Queue a handshake, which must not be queued already."""
        self._waiting.append(handshake)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        until = self._clock() + SLICE_SECONDS
        waiting = self._waiting
        while waiting:
            waiting.popleft().step()
            if self._clock() >= until:
                break
        self._scheduled = bool(waiting)
        if waiting:
            asyncio.get_running_loop().call_soon(self._work)


class TlsHandshake(asyncio.Protocol):
    """A connection during its handshake; afterwards it is handed over to a `TlsTransport`.

    Attributes:
        deadline: when the handshake must be complete (`time.monotonic`).
        listener: the listener that accepted the connection.
    """

    __slots__ = (
        "_begun", "_connections", "_engine", "_factory", "_line", "_queued", "_tls", "_transport", "deadline",
        "listener",
    )  # fmt: skip

    exchange = None  # none before the end of the handshake
    due = inf

    def __init__(
        self, connections: Connections, line: HandshakeLine, tls: ListenerTls, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        """Make the handshake of one connection.

        Parameters:
            connections: the open connections, with their limit and deadlines.
            line: the queue of handshakes.
            tls: the listener's certificates and failures.
            factory: makes the protocol above TLS.
        """
        self._connections = connections
        self._line = line
        self._tls = tls
        self._factory = factory
        self._transport: asyncio.Transport | None = None
        self._engine: Engine | None = None
        self._begun = self._queued = False
        self.listener: Acceptor | None = None
        self.deadline = inf

    def __repr__(self) -> str:
        return f"<TlsHandshake {'begun' if self._begun else 'waiting for a client'}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's first record; abort if the limit is reached or the gateway drains."""
        self._transport = cast("asyncio.Transport", transport)
        if self._connections.full or self._connections.intake.draining:
            self._tls.failures.count("connections")
            self._transport.abort()
            return
        self._connections.open.add(self)
        self.deadline = monotonic() + HANDSHAKE_SECONDS

    def data_received(self, data: bytes) -> None:
        """Buffer received records, and queue the handshake."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._begun:
            if data[0] != _HANDSHAKE_RECORD:
                self._refuse(transport, data)
                return
            self._begun = True
            self._engine = Engine(self._tls)
        engine = self._engine
        if engine is None:  # refused; further bytes are dropped
            return
        engine.incoming.write(data)
        if engine.incoming.pending > MAX_WAITING_BYTES:  # an upload may follow the client's last flight at once
            transport.pause_reading()
        if not self._queued:
            self._queued = True
            self._line.add(self)

    def _refuse(self, transport: asyncio.Transport, data: bytes) -> None:
        """Handle bytes that are not TLS: answer plain HTTP with a 400, abort otherwise."""
        self._begun = True
        if not data[:1].isalpha():
            self._end("bad_record")
            return
        self._tls.failures.count("plain_http")
        transport.write(PLAIN_HTTP_ANSWER)
        if transport.can_write_eof():
            transport.write_eof()  # not closed yet: unread bytes would cause a reset that destroys the response
        self.deadline = monotonic() + GOODBYE_SECONDS

    def step(self) -> None:
        """Continue with the received records."""
        self._queued = False
        transport, engine = self._transport, self._engine
        if transport is None or engine is None or transport.is_closing():
            return
        try:
            _do_handshake(engine.tls)
        except ssl.SSLWantReadError:
            if engine.outgoing.pending:
                transport.write(engine.outgoing.read())
            if engine.incoming.pending > MAX_WAITING_BYTES:  # OpenSSL leaves less than a record
                self._end("bad_record")
            else:
                transport.resume_reading()
            return
        except ssl.SSLError as error:
            self._tls.failures.count_error(error)
            if engine.outgoing.pending:
                transport.write(engine.outgoing.read())  # the alert
            transport.close()
            return
        self._hand_over(transport, engine)

    def _hand_over(self, transport: asyncio.Transport, engine: Engine) -> None:
        """Hand the connection over to the protocol above TLS, with the bytes after the handshake."""
        if engine.outgoing.pending:
            transport.write(engine.outgoing.read())
        self._connections.open.discard(self)
        self._transport = None
        transport.resume_reading()
        tls_transport = TlsTransport(transport, engine, self._tls.session(engine.tls), self._tls.failures)
        transport.set_protocol(tls_transport)
        tls_transport.start(self._factory())

    def eof_received(self) -> bool:
        """Close: after a FIN the handshake cannot complete."""
        if self._engine is not None:
            self._tls.failures.count("closed")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        if exc is not None and self._engine is not None:
            self._tls.failures.count("closed")
        self._transport = None
        self._connections.forget(self)

    def check(self, now: float) -> None:
        """Abort a connection whose handshake is late."""
        if self.deadline > now:
            return
        if self._begun and self._engine is None:  # the 400 was sent, and the client does not close
            self.abort()
        else:
            self._end("timeout")

    def drain(self, ending: Ending | None) -> None:
        """Abort: there is no request in flight."""
        self.abort()

    def _end(self, cause: str) -> None:
        self._tls.failures.count(cause)
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self.deadline = inf
        if self._transport is not None:
            self._transport.abort()
