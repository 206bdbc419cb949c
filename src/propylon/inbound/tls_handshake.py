"""TLS handshakes: stepped in turn, bounded in time, ended with a word.

Rules of the file:

- A handshake costs as much as many requests. So they wait in one line, and in one turn of the loop only
  `SLICE_SECONDS` are spent on them: a storm of new clients delays new clients, and hardly those who are connected.
- The time for a handshake is a number that the worker's sweep looks at, as for everything else.
- A handshake is a connection like others: it counts for the limit, and a draining worker ends it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from propylon.inbound.tls_transport import Engine, TlsTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.timing import Ending
    from propylon.inbound.connections import Connections
    from propylon.inbound.tls import ListenerTls

HANDSHAKE_SECONDS: Final = 10.0  # as long as a request's head may take
SLICE_SECONDS: Final = 0.002  # of handshakes in one turn of the loop
MAX_WAITING_BYTES: Final = 128 * 1024  # then it is not read until its turn; a ClientHello has 1 to 2 KiB
GOODBYE_SECONDS: Final = 1.0  # for a client that spoke plain HTTP to read that it should not

_HANDSHAKE_RECORD: Final = 0x16  # RFC 8446 5.1
_TEXT: Final = "This port speaks TLS: use https:// instead of http://.\n"
PLAIN_HTTP_ANSWER: Final = (
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    f"content-length: {len(_TEXT)}\r\nconnection: close\r\n\r\n{_TEXT}"
).encode("ascii")


def _shake_hands(tls: ssl.SSLObject) -> None:
    """Take the next step of a handshake, and no traceback into the log.

    CPython writes one, past all handlers, for a server name that is not ASCII; every scanner could do that. The
    handshake fails all the same, as `callback_failed`.
    """
    hook, sys.unraisablehook = sys.unraisablehook, _be_silent
    try:
        tls.do_handshake()
    finally:
        sys.unraisablehook = hook


def _be_silent(_: object) -> None:
    pass


class HandshakeLine:
    """The handshakes of a worker that have something to do, first come, first served."""

    __slots__ = ("_clock", "_scheduled", "_waiting")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._waiting: deque[TlsHandshake] = deque()
        self._scheduled = False

    def add(self, handshake: TlsHandshake) -> None:
        """Let a handshake go on when it is its turn; it must not wait already."""
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
    """One connection until its handshake is over; then it is handed over to a `TlsTransport`.

    Attributes:
        deadline: when the handshake must be over (`time.monotonic`).
        listener: what accepted the connection.
    """

    __slots__ = (
        "_begun", "_connections", "_engine", "_factory", "_line", "_tls", "_transport", "_waits", "deadline",
        "listener",
    )  # fmt: skip

    exchange = None  # there never is one before the handshake
    due = inf

    def __init__(
        self, connections: Connections, line: HandshakeLine, tls: ListenerTls, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        """Make the handshake of one connection.

        Parameters:
            connections: what counts connections, and ends those that take too long.
            line: where the handshake waits for its turns.
            tls: the listener's certificates and failures.
            factory: makes the protocol that speaks over TLS.
        """
        self._connections = connections
        self._line = line
        self._tls = tls
        self._factory = factory
        self._transport: asyncio.Transport | None = None
        self._engine: Engine | None = None
        self._begun = self._waits = False
        self.listener: object = None
        self.deadline = inf

    def __repr__(self) -> str:
        return f"<TlsHandshake {'begun' if self._begun else 'waiting for a client'}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's first record, if another connection may be open."""
        self._transport = cast("asyncio.Transport", transport)
        if self._connections.full or self._connections.intake.draining:
            self._tls.failures.count("connections")
            self._transport.abort()
            return
        self._connections.open.add(self)
        self.deadline = monotonic() + HANDSHAKE_SECONDS

    def data_received(self, data: bytes) -> None:
        """Take what the client says; it is answered when its turn comes."""
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
        if engine is None:  # refused already, and what still comes is dropped
            return
        engine.incoming.write(data)
        if engine.incoming.pending > MAX_WAITING_BYTES:  # an upload may stand right behind the client's last flight
            transport.pause_reading()
        if not self._waits:
            self._waits = True
            self._line.add(self)

    def _refuse(self, transport: asyncio.Transport, data: bytes) -> None:
        """Answer what is no TLS: plain HTTP in its own language, everything else not at all."""
        self._begun = True
        if not data[:1].isalpha():
            self._end("bad_record")
            return
        self._tls.failures.count("plain_http")
        transport.write(PLAIN_HTTP_ANSWER)
        if transport.can_write_eof():
            transport.write_eof()  # not closed yet: what is still unread would turn the answer into a reset
        self.deadline = monotonic() + GOODBYE_SECONDS

    def step(self) -> None:
        """Go on with what has arrived."""
        self._waits = False
        transport, engine = self._transport, self._engine
        if transport is None or engine is None or transport.is_closing():
            return
        try:
            _shake_hands(engine.tls)
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
                transport.write(engine.outgoing.read())  # the alert that says what is wrong
            transport.close()
            return
        self._hand_over(transport, engine)

    def _hand_over(self, transport: asyncio.Transport, engine: Engine) -> None:
        """Give the connection to the protocol it is for, with what came behind the handshake."""
        if engine.outgoing.pending:
            transport.write(engine.outgoing.read())
        self._connections.open.discard(self)
        self._transport = None
        transport.resume_reading()
        over = TlsTransport(transport, engine, self._tls.session(engine.tls), self._tls.failures)
        transport.set_protocol(over)
        over.start(self._factory())

    def eof_received(self) -> bool:
        """Close: a client that ends in the middle of its handshake cannot go on with it."""
        if self._engine is not None:
            self._tls.failures.count("closed")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        if exc is not None and self._engine is not None:
            self._tls.failures.count("closed")
        self._transport = None
        self._connections.forget(self)

    def check(self, now: float) -> None:
        """End a connection whose handshake is late."""
        if self.deadline > now:
            return
        if self._begun and self._engine is None:  # it was told, and does not close
            self.abort()
        else:
            self._end("timeout")

    def drain(self, ending: Ending | None) -> None:
        """End: there is no request under way."""
        self.abort()

    def _end(self, cause: str) -> None:
        self._tls.failures.count(cause)
        self.abort()

    def abort(self) -> None:
        """End the connection."""
        self.deadline = inf
        if self._transport is not None:
            self._transport.abort()
