"""One HTTP/1.1 connection from a client: requests in, responses out, in order (RFC 9112).

Rules of this file: one exchange at a time; what a client pipelines waits in `_buffer`, bounded. Whatever is wrong with
a request is answered once, and the connection is closed behind the answer. Nothing is read of a body that nobody wants.

It is made of layers, each with attributes of its own: what it writes (`http1_writer.py`), its deadlines and ends
(`http1_lifetime.py`), bodies of requests (`http1_body.py`), and here the order of requests. Its states are a table in
`http1_state.py`.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.engine.forward import forward
from propylon.http.refusal import Refusal
from propylon.http.request_reader import EMPTY_LINE
from propylon.http.websocket import UPGRADE
from propylon.inbound.http1_body import CUT_OFF, RequestBodies
from propylon.inbound.http1_state import (
    ANSWERING,
    BODY,
    CLOSED,
    CLOSING,
    DISCARDING,
    EXPECTING,
    HEAD,
    IDLE,
    LINGERING,
    NEW,
    PIPELINED,
    TUNNEL,
)
from propylon.inbound.http1_writer import status_line
from propylon.inbound.peer import Peer
from propylon.transport.flow import NOBODY
from propylon.transport.stream import TransportStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Head
    from propylon.http.forwarded import Origin
    from propylon.http.request_head import RequestFields, RequestLine
    from propylon.inbound.connections import Connections

    Admission = Callable[[Exchange], GatewayError | None]

TURN_REQUESTS: Final = 64  # pipelined requests that are begun in one go; then other connections get their turn
_TURN: Final = range(TURN_REQUESTS)


class ClientConnection(RequestBodies, asyncio.Protocol):
    """One connection from a client.

    Attributes:
        listener: what accepted it.
    """

    __slots__ = ("_admission", "_connections", "_peer", "_serving", "_told", "listener")

    _peer: Peer

    def __init__(
        self,
        connections: Connections,
        told: tuple[bytes, bytes] | None = None,
        admission: Admission | None = None,
    ) -> None:
        """Make the protocol of one connection.

        Args:
            told: the client's address and the port it connected to, as a PROXY header says; otherwise the socket tells.
            admission: what the listener asks of every request before it begins.
        """
        super().__init__(connections.intake)
        self._connections = connections
        self._admission = admission
        self._told = told
        self._serving = False
        self.listener: object = None

    def __repr__(self) -> str:
        address = "" if self._state is NEW else self._peer.address.decode("ascii") + " "
        facts = ", half-closed" * self._half_closed + ", stalled" * self._stalled
        return f"<ClientConnection {address}{self._state.value}{facts}>"

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports share no base class (asyncio's do)
        self._peer = peer = Peer.of(transport, self._told)
        if peer.tls is not None:
            self._admission = peer.tls.admit
        transport.set_write_buffer_limits(high=self._intake.snapshot.limits.write_buffer)  # type: ignore[attr-defined]
        full = self._connections.full
        self._connections.open.add(self)
        if full:
            self._refuse(GatewayError("admit.connections", headers={"retry-after": "1"}))
        else:
            self._rest()

    def data_received(self, data: bytes) -> None:
        """Take what arrived: the next request, more of a body, or what has to wait."""
        state = self._state
        if state is IDLE or state is HEAD:
            if not self._stalled:
                self._serve(self._buffer + data if self._buffer else data)
            else:  # a client that does not read its answers gets no further ones
                self._state = PIPELINED
                self._keep_for_later(data)
        elif state is BODY or state is EXPECTING:
            self._feed(data)
        elif state is DISCARDING:
            self._discard(data)
        elif state is ANSWERING or state is PIPELINED:
            self._keep_for_later(data)

    def eof_received(self) -> bool:
        """Take a client's FIN: it sends no more, yet may wait for answers (RFC 9112 9.6)."""
        state = self._state
        if state is IDLE or state is DISCARDING or state is LINGERING or state is CLOSING:
            return False  # the transport closes
        self._half_closed = True
        if state is HEAD:
            self._close()  # half a request never becomes a whole one
        elif state is BODY or state is EXPECTING:
            self._fail_body(GatewayError("read.unexpected_eof", CUT_OFF))
        elif state is ANSWERING:
            self._rearm()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """End what is under way: there is nobody to answer. A tunnel still has to tell its endpoint."""
        state, self._state = self._state, CLOSED
        self._transport = self._reader = None
        self.deadline = inf
        if state is TUNNEL:
            return  # it needs the sweep for its deadlines until it is done
        self._connections.forget(self)
        if self.exchange is not None:
            self.exchange.fail(GatewayError("relay.client_gone"))

    def pause_writing(self) -> None:
        """The client reads too slowly: its endpoint waits too."""
        self._stalled = True
        self._unsent = self._count_unsent()
        self._took_at = monotonic()
        self._rearm()
        if self.exchange is not None and (source := self.exchange.response_source) is not None:
            source.hold(self)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stalled = False
        self._rearm()
        self._go_on()
        if self.exchange is not None and (source := self.exchange.response_source) is not None:
            source.release(self)

    # requests

    def _serve(self, data: bytes) -> None:
        """Begin one request after the other until one has to wait, or the data ends."""
        self._serving = True
        self._buffer = data
        try:
            for _ in _TURN:
                head = self._intake.snapshot.reader.read(self._buffer)
                if head is None:
                    self._await_head()
                    return
                line, fields, end = head
                self._begin(line, fields, end)
                if self._state is not PIPELINED or self._stalled:
                    return
            asyncio.get_running_loop().call_soon(self._go_on)
        except Refusal as refusal:
            self._refuse(GatewayError(refusal.code, refusal.detail))
        finally:
            self._serving = False

    def _go_on(self) -> None:
        """Serve what was PIPELINED, if it may begin now."""
        if self._state is PIPELINED and not self._stalled:
            self._serve(self._buffer)

    def _await_head(self) -> None:
        """Wait for the rest of a head: it may not take long, however often it grows by a byte."""
        state = self._state
        if self._half_closed:
            self._close()
        elif self._buffer == EMPTY_LINE:
            if state is not IDLE:
                self._rest()
        elif state is not HEAD:
            self._state = HEAD
            self._rearm()

    def _begin(self, line: RequestLine, fields: RequestFields, end: int) -> None:
        """Begin the exchange of the request at the front of the buffer; its head ends at `end`."""
        x = self._intake.begin(self, line, fields)
        if self._admission is not None and x.refusal is None:
            x.refusal = self._admission(x)
        self._buffer = self._buffer[end:]
        self._minor = line.minor
        self._keep = (not fields.close if line.minor else fields.keep_alive) and not self._intake.draining
        self.exchange = x
        x.bytes_in = end
        self.deadline = inf
        self._probed = False
        if fields.chunked or fields.length >= 0:
            self._begin_body(x, fields)
        else:
            self._state = ANSWERING
        x.start(forward(x))

    def _refuse(self, error: GatewayError) -> None:
        """Answer a request that could not be read, as an exchange like any other; then close."""
        self._stop_reading()
        self._minor = 1
        self.exchange = x = self._intake.refused(self, error)
        x.start(forward(x))

    def exchange_done(self, x: Exchange) -> None:
        """Go on to the next request, or close."""
        self.exchange = None
        state = self._state
        if state is ANSWERING:
            if x.status:
                self._next()
            else:
                self.abort()
        elif state is BODY or state is EXPECTING:
            if x.status:
                self._leave_body()
            else:
                self.abort()
        elif state is TUNNEL:
            self._close()
        elif state is CLOSED:
            self._connections.forget(self)

    def _next(self) -> None:
        """Behind a request: the next one, rest, or the end."""
        if self._holders:
            self.release_all()
        if not self._keep or self._intake.draining:
            self._linger()
        elif self._buffer:
            self._state = PIPELINED
            if not self._serving:  # otherwise the loop of `_serve` goes on with it: no recursion
                self._go_on()
        elif self._half_closed:
            self._close()
        else:
            self._rest()

    # the engine's side, beside what `ResponseWriter` has

    @property
    def protocol(self) -> str:
        """The version of the request."""
        return "HTTP/1.1" if self._minor else "HTTP/1.0"

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """What the client has proved to be."""
        tls = self._peer.tls
        return None if tls is None else tls.client_certificate

    def origin(self, x: Exchange) -> Origin:
        """Tell who the client is, and which forwarding fields a service gets."""
        return self._peer.origin(x)

    def switch(self, head: Head, added: bytes) -> TransportStream | None:
        """Send a 101 and hand the connection over."""
        transport = self._transport
        if transport is None:
            return None
        self._state = TUNNEL
        self._holders = NOBODY
        early, self._buffer = self._buffer, b""
        data = b"%b%b%b%b\r\n" % (status_line(head), head.block, added, UPGRADE)
        if self.exchange is not None:
            self.exchange.bytes_out += len(data)
        transport.write(data)
        stalled, self._stalled = self._stalled, False
        self.deadline = inf
        return TransportStream(transport, self, early, stalled=stalled, ended=self._half_closed)
