"""One HTTP/1.1 connection from a client: requests in, responses out, in order (RFC 9112).

Rules of this file: one exchange at a time; pipelined requests wait in `_buffer`, bounded. An invalid request gets one
error response, after which the connection is closed. A body is read only if it is wanted.

The connection is built of layers, each with its own attributes: writing (`http1_writer.py`), deadlines and closing
(`http1_lifetime.py`), request bodies (`http1_body.py`), and here the sequence of requests. Its states are a table in
`http1_state.py`.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.engine.forward import forward
from propylon.engine.lines import REQUEST_LINE_BYTES
from propylon.http.field_case import title_case
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
from propylon.transport.flow import NO_HOLDERS
from propylon.transport.stream import TransportStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Head
    from propylon.http.forwarded import Origin
    from propylon.http.request_head import RequestFields, RequestLine
    from propylon.inbound.connections import Acceptor, Connections

    Admission = Callable[[Exchange], GatewayError | None]

TURN_REQUESTS: Final = 64  # pipelined requests begun in one turn of the event loop
_TURN: Final = range(TURN_REQUESTS)


class ClientConnection(RequestBodies, asyncio.Protocol):
    """One connection from a client.

    Attributes:
        listener: the listener that accepted it.
    """

    __slots__ = ("_admission", "_connections", "_peer", "_proxied", "_serving", "listener")

    _peer: Peer

    def __init__(
        self,
        connections: Connections,
        proxied: tuple[bytes, bytes] | None = None,
        admission: Admission | None = None,
    ) -> None:
        """Make the protocol of one connection.

        Args:
            proxied: client address and destination port from a PROXY header; by default those of the socket.
            admission: the listener's check of every request before it begins.
        """
        super().__init__(connections.intake)
        self._connections = connections
        self._admission = admission
        self._proxied = proxied
        self._serving = False
        self.listener: Acceptor | None = None

    def __repr__(self) -> str:
        address = "" if self._state is NEW else self._peer.address.decode("ascii") + " "
        facts = ", half-closed" * self._half_closed + ", stalled" * self._stalled
        return f"<ClientConnection {address}{self._state.value}{facts}>"

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a request."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports share no base class (asyncio's do)
        self._peer = peer = Peer.of(transport, self._proxied)
        if peer.tls is not None:
            self._admission = peer.tls.admit
        transport.set_write_buffer_limits(high=self._intake.snapshot.limits.write_buffer)  # type: ignore[attr-defined]
        full = self._connections.full
        self._connections.open.add(self)
        if full:
            self._refuse(GatewayError("admit.connections", headers={"retry-after": "1"}))
        else:
            self._become_idle()

    def data_received(self, data: bytes) -> None:
        """Handle received bytes: the next request, more of a body, or bytes to buffer."""
        state = self._state
        if state is IDLE or state is HEAD:
            if not self._stalled:
                self._serve(self._buffer + data if self._buffer else data)
            else:  # backpressure: no further request while the client does not read
                self._state = PIPELINED
                self._buffer_pipelined(data)
        elif state is BODY or state is EXPECTING:
            self._feed(data)
        elif state is DISCARDING:
            self._discard(data)
        elif state is ANSWERING or state is PIPELINED:
            self._buffer_pipelined(data)

    def eof_received(self) -> bool:
        """Handle a client's FIN: a half-closed client may still wait for responses (RFC 9112 9.6)."""
        state = self._state
        if state is IDLE or state is DISCARDING or state is LINGERING or state is CLOSING:
            return False  # the transport closes
        self._half_closed = True
        if state is HEAD:
            self._close()  # an incomplete request stays incomplete
        elif state is BODY or state is EXPECTING:
            self._fail_body(GatewayError("read.unexpected_eof", CUT_OFF))
        elif state is ANSWERING:
            self._watch()
            self._rearm()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the exchange in flight. A tunnel still has to close its endpoint's side."""
        state, self._state = self._state, CLOSED
        self._transport = self._reader = None
        self.deadline = inf
        if state is TUNNEL:
            return  # it needs the sweep for its deadlines until its end
        self._connections.forget(self)
        if self.exchange is not None:
            self.exchange.fail(GatewayError("relay.client_gone"))

    def pause_writing(self) -> None:
        """Apply backpressure to the endpoint: the client reads too slowly."""
        self._stalled = True
        self._unsent = self._count_unsent()
        self._progress_at = monotonic()
        self._rearm()
        if self.exchange is not None and (source := self.exchange.response_source) is not None:
            source.hold(self)

    def resume_writing(self) -> None:
        """Release backpressure: the client reads again."""
        self._stalled = False
        self._rearm()
        if self.deadline == inf:
            self._watch()
        self._serve_pipelined()
        if self.exchange is not None and (source := self.exchange.response_source) is not None:
            source.release(self)

    # requests

    def _serve(self, data: bytes) -> None:
        """Begin one request after the other until one has to wait or the data ends."""
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
            asyncio.get_running_loop().call_soon(self._serve_pipelined)
        except Refusal as refusal:
            self._refuse(GatewayError(refusal.code, refusal.detail))
        finally:
            self._serving = False

    def _serve_pipelined(self) -> None:
        """Serve PIPELINED requests, if they may begin now."""
        if self._state is PIPELINED and not self._stalled:
            if self._holders:  # for more had come than may wait; the request that begins may need what follows
                self.release_all()
            self._serve(self._buffer)

    def _await_head(self) -> None:
        """Wait for the rest of a head; its deadline runs from the first byte."""
        state = self._state
        if self._half_closed:
            self._close()
        elif self._buffer == EMPTY_LINE:
            if state is not IDLE:
                self._become_idle()
        elif state is not HEAD:
            self._state = HEAD
            self._rearm()

    def _begin(self, line: RequestLine, fields: RequestFields, end: int) -> None:
        """Begin the exchange of the first request in the buffer; its head ends at `end`."""
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
        """Answer an invalid request with an exchange like any other; then close."""
        error.request_line = self._buffer[:REQUEST_LINE_BYTES]
        read = len(self._buffer)
        self._stop_reading()
        self._minor = 1
        self.exchange = x = self._intake.refused(self, error)
        x.bytes_in = read
        x.start(forward(x))

    def exchange_done(self, x: Exchange) -> None:
        """Continue with the next request, or close."""
        self.exchange = None
        state = self._state
        if state is ANSWERING:
            if x.status:
                self._next()
            else:
                self.abort()
        elif state is BODY or state is EXPECTING:
            if x.status:
                self._abandon_body()
            else:
                self.abort()
        elif state is TUNNEL:
            self._close()
        elif state is CLOSED:
            self._connections.forget(self)

    def _next(self) -> None:
        """After a request: serve the next one, become idle, or close."""
        if self._holders:
            self.release_all()
        if not self._keep or self._intake.draining:
            self._linger()
        elif self._buffer:
            self._state = PIPELINED
            if not self._serving:  # otherwise the loop of `_serve` continues with it: no recursion
                self._serve_pipelined()
        elif self._half_closed:
            self._close()
        else:
            self._become_idle()

    # the engine's side, in addition to `ResponseWriter`

    @property
    def protocol(self) -> str:
        """The protocol version of the request."""
        return "HTTP/1.1" if self._minor else "HTTP/1.0"

    @property
    def listener_id(self) -> str | None:
        """The id of the listener that accepted the connection."""
        return None if self.listener is None else self.listener.id

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The client's verified certificate."""
        tls = self._peer.tls
        return None if tls is None else tls.client_certificate

    def origin(self, x: Exchange) -> Origin:
        """Return the client's identity, and the forwarding fields for the service."""
        return self._peer.origin(x)

    def switch(self, head: Head, added: bytes) -> TransportStream | None:
        """Send a 101 and hand the connection over."""
        transport = self._transport
        if transport is None:
            return None
        self._state = TUNNEL
        self._holders = NO_HOLDERS
        early, self._buffer = self._buffer, b""
        data = b"%b%b%b%b\r\n" % (status_line(head), head.block, added, UPGRADE)
        if self.exchange is not None:
            if self.exchange.snapshot.title_case:
                data = title_case(data)
            self.exchange.bytes_out += len(data)
        transport.write(data)
        stalled, self._stalled = self._stalled, False
        self.deadline = inf
        return TransportStream(transport, self, early, stalled=stalled, ended=self._half_closed)
