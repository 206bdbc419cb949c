"""One HTTP/1.1 connection from a client: requests in, responses out, in order (RFC 9112).

Rules of this file: one exchange at a time; what a client pipelines waits in `_buffer`, bounded. Whatever is wrong with
a request is answered once, and the connection is closed behind the answer. A deadline is a number; `Connections.sweep`
looks at all of them. Nothing is read of a body that nobody wants.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.forward import forward
from propylon.engine.sides import UNKNOWN
from propylon.http.body_reader import BodyReader
from propylon.http.chunked import last_chunk
from propylon.http.forwarded import UNIX_PEER, ForwardingRules, Origin, direct_origin, origin
from propylon.http.refusal import Refusal
from propylon.transport.flow import NOBODY, FlowControl
from propylon.transport.stream import TransportStream
from propylon.transport.unsent import unsent_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Head
    from propylon.engine.snapshot import Snapshot
    from propylon.engine.timing import Ending
    from propylon.http.headers import Pair
    from propylon.http.host import Host
    from propylon.http.request_head import RequestFields
    from propylon.inbound.connections import Connections
    from propylon.inbound.tls_session import TlsSession

    Admission = Callable[[Exchange], GatewayError | None]

MAX_DRAIN_BYTES = 256 * 1024  # an unread body up to here is read and dropped, so that the connection can be kept
PROBE_SECONDS = 0.5  # after a client's FIN: time for a quick answer before it is asked whether it is still there
PROBE_AGAIN_SECONDS = 15.0  # that long a half-closed client that has shown to be there is believed
TURN_REQUESTS = 64  # pipelined requests that are begun in one go; then other connections get their turn
DRAIN_LINGER_SECONDS = 1.0  # a gateway that stops waits no longer for a client to close
STALL_LOOKS = 4  # at a client that does not read, while `timeouts.write` passes: what it takes late counts from then
UPGRADE = b"upgrade: websocket\r\nconnection: upgrade\r\n"
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
JOIN_BYTES = 16384  # larger pieces are not copied into one string with their chunk's size

_CUT_OFF = "the connection was closed before the body was complete"


class ClientConnection(FlowControl, asyncio.Protocol):
    """One connection from a client.

    Attributes:
        deadline: when `check` has to look at it (`time.monotonic`).
        due: when `check` has to look at its exchange.
        exchange: the exchange under way, if any.
        listener: what accepted it.
    """

    __slots__ = (
        "_admission", "_blank", "_body", "_buffer", "_chunking", "_closing", "_connections", "_half_closed",
        "_head_begun", "_intake", "_keep", "_minor", "_origin", "_owes_continue", "_peer", "_port", "_probed",
        "_reader", "_scheme", "_serving", "_switched", "_tls", "_took_at", "_transport", "_turn_over",
        "_write_stalled", "deadline", "due", "exchange", "listener",
    )  # fmt: skip

    def __init__(
        self,
        connections: Connections,
        peer: bytes | None = None,
        port: bytes | None = None,
        admission: Admission | None = None,
    ) -> None:
        """Make the protocol of one connection.

        Args:
            peer, port: what a PROXY protocol header says; otherwise the socket tells them.
            admission: what the listener asks of every request before it begins.
        """
        super().__init__()
        self._connections = connections
        self._intake = connections.intake
        self._admission = admission
        self._tls: TlsSession | None = None
        self._transport: asyncio.Transport | None = None
        self._peer = peer or b""
        self._port = port or b""
        self._scheme = b"http"
        self._buffer = b""
        self._origin: tuple[ForwardingRules, Host | None, Origin] | None = None
        self._minor = 1
        self._reader: BodyReader | None = None
        self._body: Body | None = None
        self._keep = True
        self._blank = self._chunking = self._closing = self._half_closed = self._head_begun = False
        self._owes_continue = self._probed = self._serving = self._switched = self._turn_over = False
        self._write_stalled = False
        self._took_at = 0.0
        self.deadline = self.due = inf
        self.exchange: Exchange | None = None
        self.listener: object = None

    def __repr__(self) -> str:
        state = "closed" if self._transport is None else "busy" if self.exchange is not None else "idle"
        return f"<ClientConnection {self._peer.decode('ascii')} {state}>"

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports share no base class (asyncio's do)
        if not self._peer:
            peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            if isinstance(peer, tuple):
                self._peer, self._port = peer[0].encode("ascii"), b"%d" % local[1]
            else:
                self._peer, self._port = UNIX_PEER, b"80"
        self._tls = transport.get_extra_info("tls")
        if self._tls is not None:
            self._scheme = b"https"
            self._admission = self._tls.admit
        connections = self._connections
        transport.set_write_buffer_limits(high=self._intake.snapshot.limits.write_buffer)  # type: ignore[attr-defined]
        if connections.full:
            connections.open.add(self)
            self._refuse(GatewayError("admit.connections", headers={"retry-after": "1"}))
            return
        connections.open.add(self)
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Take what arrived: more of a body, the next request, or what has to wait."""
        if self._reader is not None:
            self._feed(data)
        elif self.exchange is not None or self._write_stalled:
            self._keep_for_later(data)
        elif not self._closing:
            self._serve(self._buffer + data if self._buffer else data)

    def eof_received(self) -> bool:
        """Take a client's FIN: it sends no more, yet may wait for answers (RFC 9112 9.6)."""
        x = self.exchange
        if self._closing or (x is None and not self._buffer):
            return False
        self._half_closed = True
        if x is None:
            self._rest()  # what it has pipelined is still answered; half a request never will be
        elif self._reader is not None:
            self._stop_reading()
            x.fail(GatewayError("read.unexpected_eof", _CUT_OFF))
        else:
            self._rearm()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """End what is under way: there is nobody to answer. A tunnel still has to tell its endpoint."""
        self._transport = None
        self._closing = True
        self.deadline = inf
        if self.exchange is not None and self._switched:
            return  # it needs the sweep for its deadlines until it is done
        self._connections.forget(self)
        if self.exchange is not None:
            self.exchange.fail(GatewayError("relay.client_gone"))

    def pause_writing(self) -> None:
        """The client reads too slowly: its endpoint waits too."""
        self._write_stalled = True
        self._unsent = self._count_unsent()
        self._took_at = monotonic()
        self._rearm()
        if self.exchange is not None and (source := self.exchange.response_source) is not None:
            source.hold(self)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_stalled = False
        self._rearm()
        self._go_on()
        if self.exchange is not None and (source := self.exchange.response_source) is not None:
            source.release(self)

    # reading requests

    @property
    def _snapshot(self) -> Snapshot:
        return self.exchange.snapshot if self.exchange is not None else self._intake.snapshot

    def _keep_for_later(self, data: bytes) -> None:
        """Keep what a client pipelines, up to a limit; beyond it the client waits."""
        self._buffer += data
        if len(self._buffer) > self._snapshot.limits.pipeline_buffer:
            self.hold(self)

    def _serve(self, data: bytes) -> None:
        """Begin one request after the other until one has to wait, or the data ends."""
        self._serving = True
        self._buffer = data
        try:
            served = 0
            while self._buffer and self._may_begin():
                if served == TURN_REQUESTS:
                    self._turn_over = True
                    asyncio.get_running_loop().call_soon(self._go_on)
                    return
                if not self._begin(self._buffer):
                    break
                served += 1
        except Refusal as refusal:
            self._refuse(GatewayError(refusal.code, refusal.detail))
        finally:
            self._serving = False
        if self._buffer:
            self._rest()

    def _may_begin(self) -> bool:
        """Say whether the next request may begin; a client that does not read its answers gets no further ones."""
        return bool(
            self._buffer
            and self.exchange is None
            and self._reader is None
            and not self._closing
            and not self._write_stalled
        )

    def _go_on(self) -> None:
        """Serve what has waited in the buffer."""
        self._turn_over = False
        if self._may_begin():
            self._serve(self._buffer)
        self._rest()

    def _begin(self, data: bytes) -> bool:
        """Begin the request at the front of `data`; False if its head is not complete."""
        snapshot = self._intake.snapshot
        end = data.find(b"\r\n\r\n")
        line_end = data.find(b"\r\n")
        if line_end == 0:  # RFC 9112 2.2: an empty line before a request is ignored; a second one is not
            if self._blank:
                raise Refusal("read.bad_request_line", "empty lines before the request line (RFC 9112 2.2)")
            self._blank = True
            self._buffer = data[2:]
            return True
        limits = snapshot.limits
        if end < 0:
            snapshot.reader.check_partial(data, line_end, limits.request_line, limits.header_block)
            return False
        if line_end > limits.request_line:
            raise Refusal("read.line_too_long", f"the request line is longer than {limits.request_line} bytes")
        if end - line_end > limits.header_block:
            raise Refusal("read.head_too_large", f"the header section is longer than {limits.header_block} bytes")
        line = snapshot.reader.lines[data[:line_end]]
        fields = snapshot.reader.sections[data[line_end + 2 : end + 2]]
        x = self._intake.begin(self, line, fields)
        if self._admission is not None and x.refusal is None:
            x.refusal = self._admission(x)
        self._buffer = data[end + 4 :]
        self._minor = line.minor
        self._keep = (not fields.close if line.minor else fields.keep_alive) and not self._intake.draining
        self.exchange = x
        self.deadline = inf
        self._head_begun = self._blank = self._probed = False
        if fields.chunked or fields.length >= 0:
            self._begin_body(x, fields)
            if self._half_closed and self._reader is not None:
                self._stop_reading()
                x.refusal = GatewayError("read.unexpected_eof", _CUT_OFF)
        x.start(forward(x))
        return True

    def _begin_body(self, x: Exchange, fields: RequestFields) -> None:
        """Take the body, or what has arrived of it."""
        reader = BodyReader(fields.length, "read.bad_chunk")
        pieces = reader.feed(self._buffer)
        if reader.done:
            x.body = b"".join(pieces)
            self._buffer = reader.rest
            return
        self._buffer = b""
        self._reader = reader
        self._owes_continue = fields.expects_continue and self._minor == 1 and not reader.size
        self._body = x.body = Body(self, fields.length)
        for piece in pieces:
            self._body.feed(piece)

    def _feed(self, data: bytes) -> None:
        """Take more of the body under way."""
        reader, x = self._reader, self.exchange
        assert reader is not None
        try:
            pieces = reader.feed(data)
        except Refusal as refusal:
            self._stop_reading()
            if x is not None:
                x.fail(GatewayError(refusal.code, refusal.detail))
            return
        if x is not None and x.body_limit is not None and reader.size > x.body_limit:
            self._stop_reading()
            x.fail(GatewayError("request.body_too_large", f"the body is larger than {x.body_limit} bytes"))
            return
        body = self._body
        if body is not None:
            for piece in pieces:
                body.feed(piece)
        if not self._write_stalled and not self._holders:
            self.deadline = monotonic() + self._snapshot.client_timeouts.body
        if reader.done:
            self._end_of_body(reader)

    def _end_of_body(self, reader: BodyReader) -> None:
        self._reader = None
        body, self._body = self._body, None
        self.deadline = inf
        if reader.rest:
            self._keep_for_later(reader.rest)
        if body is not None:
            body.end(reader.trailers)
        if self.exchange is None:  # it was only read to keep the connection
            self._next()

    def _stop_reading(self) -> None:
        """Take nothing more from this client: what follows cannot be trusted, or is not wanted."""
        self._keep = False
        self._reader = None
        self._body = None
        self._buffer = b""
        self.deadline = inf

    def _refuse(self, error: GatewayError) -> None:
        """Answer a request that could not be read, as an exchange like any other; then close."""
        self._stop_reading()
        self._minor = 1
        x = self._intake.refused(self, error)
        self.exchange = x
        x.start(forward(x))

    # the engine's side

    def origin(self, x: Exchange) -> Origin:
        """Tell who the client is. For a client that is no proxy it depends on the Host alone, and is kept."""
        rules = x.snapshot.forwarding
        known = self._origin
        if known is not None and known[0] is rules and known[1] == x.host and not x.fields.was_proxied:
            return known[2]
        host = x.host.text if x.host is not None else b""
        if x.fields.was_proxied or rules.trusted.contains(self._peer):
            found = origin(rules, self._peer, self._scheme, host, self._port, x.fields.all)
            if self._tls is not None:
                found.block += self._tls.fields
            return found
        found = direct_origin(rules, self._peer, self._scheme, host, self._port)
        if self._tls is not None:
            found.block += self._tls.fields
        self._origin = (rules, x.host, found)
        return found

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """What the client has proved to be."""
        return None if self._tls is None else self._tls.client_certificate

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        """Send a whole response."""
        if self._transport is not None:
            fields = self._connection_fields(head)
            self._transport.write(b"%b%b%b%b\r\n%b" % (_status_line(head), head.block, added, fields, body))

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        """Send the head of a response whose body follows."""
        self._chunking = length == UNKNOWN and self._minor == 1
        if self._chunking:
            added += b"transfer-encoding: chunked\r\n"
        elif length == UNKNOWN:
            self._keep = False  # HTTP/1.0 knows no chunks: the connection's end is the body's (RFC 9112 6.3)
        if self._transport is not None:
            fields = self._connection_fields(head)
            self._transport.write(b"%b%b%b%b\r\n" % (_status_line(head), head.block, added, fields))
        x = self.exchange
        if self._write_stalled and x is not None and (source := x.response_source) is not None:
            source.hold(self)  # the client is slow to take the answer before

    def send_interim(self, head: Head) -> None:
        """Send a 1xx response; HTTP/1.0 has none (RFC 9110 15.2)."""
        if self._transport is not None and self._minor == 1:
            self._transport.write(b"%b%b\r\n" % (_status_line(head), head.block))

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self._transport is None:
            return
        if self._write_stalled:
            self._unsent += len(data)  # so that what is taken shows, whatever is added
        if not self._chunking:
            self._transport.write(data)
        elif len(data) > JOIN_BYTES:
            self._transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body; trailers for whoever asked for them (RFC 9110 6.5.1)."""
        if self._chunking and self._transport is not None:
            asked = self.exchange is not None and self.exchange.fields.wants_trailers
            self._transport.write(last_chunk(trailers if asked else []))
        self._chunking = False

    def body_wanted(self) -> None:
        """Ask for the body, if the client waits to be asked; from now on it may not stall."""
        if self._owes_continue:
            self._owes_continue = False
            if self._transport is not None:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._reader is not None:
            self._rearm()

    def hold(self, owner: object) -> None:
        """Take no more from the client until `owner` releases it; the client is not to blame for the time."""
        super().hold(owner)
        if self._reader is not None and not self._write_stalled:
            self.deadline = inf

    def _released(self) -> None:
        """Take what the client sends again."""
        if self._transport is not None:
            self._transport.resume_reading()
            if self._reader is not None:
                self.deadline = monotonic() + self._snapshot.client_timeouts.body

    def _line(self) -> asyncio.Transport | None:
        return self._transport

    def _count_unsent(self) -> int:
        return unsent_bytes(self._transport)

    def switch(self, head: Head, added: bytes) -> TransportStream | None:
        """Send a 101 and hand the connection over."""
        early, self._buffer = self._buffer, b""
        self._keep = False
        self._switched = True
        self._holders = NOBODY
        transport = self._transport
        if transport is not None:
            transport.write(b"%b%b%b%b\r\n" % (_status_line(head), head.block, added, UPGRADE))
        stalled, self._write_stalled = self._write_stalled, False
        self.deadline = inf
        if transport is None:
            return None
        return TransportStream(transport, self, early, stalled=stalled, ended=self._half_closed)

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the response is incomplete; of a tunnel, both."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()
        if self.exchange is not None and self.exchange.lasting is not None:
            self.exchange.lasting.abort()

    def exchange_done(self, x: Exchange) -> None:
        """Go on to the next request, or close."""
        self.exchange = None
        if self._transport is None:
            self._connections.forget(self)
            return
        if self._closing:
            return
        if x.status == 0:
            self.abort()
        elif self._reader is not None:
            if self._body is not None:
                self._body.detach()
                self._body = None
            self.release_all()
            if not self._keep or self._intake.draining:
                self._linger()
            else:
                self._rearm()
        else:
            self._next()

    # ending

    def _connection_fields(self, head: Head) -> bytes:
        """Decide whether the connection is kept, and say so (RFC 9112 9.3)."""
        x = self.exchange
        if self._buffer and x is not None and x.fields.websocket:
            self._keep = False  # what follows a handshake that failed are frames, and no request
        if self._keep and self._reader is not None and not self._can_drain():
            self._keep = False
        if self._intake.draining:
            self._keep = False
        fields = b"connection: close\r\n" if not self._keep else b"" if self._minor else b"connection: keep-alive\r\n"
        if head.status == 426 and x is not None and x.upstream is None:  # the gateway's own (RFC 9110 15.5.22)
            return UPGRADE + fields
        return fields

    def _can_drain(self) -> bool:
        """Say whether the rest of an unread body is small, surely comes, and was not refused."""
        x, reader = self.exchange, self._reader
        if reader is None or self._owes_continue or (x is not None and x.error is not None):
            return False
        return 0 <= reader.left <= MAX_DRAIN_BYTES

    def _next(self) -> None:
        """After an exchange: the next request, rest, or the end."""
        if self._holders:
            self.release_all()
        if not self._keep or self._intake.draining:
            self._linger()
            return
        if self._buffer:
            if self._serving or self._write_stalled:
                return  # the loop of `_serve`, or `resume_writing`, goes on with it: no recursion
            self._serve(self._buffer)
        self._rest()

    def _rest(self) -> None:
        """With nothing under way: wait for the next request, if one can still come.

        A kept connection may rest long; a head that has begun may not take long, however often it grows by a byte.
        """
        if self.exchange is not None or self._reader is not None or self._closing or self._turn_over:
            return
        if self._half_closed:
            if not (self._write_stalled and self._buffer):
                self._close()
            return
        if not self._buffer or not self._head_begun:
            self._head_begun = bool(self._buffer)
            self._rearm()

    def _rearm(self) -> None:
        """Set the deadline that the present state calls for."""
        timeouts = self._snapshot.client_timeouts
        if self._write_stalled:
            left = self._took_at + timeouts.write - monotonic()
            seconds = min(left, timeouts.write / STALL_LOOKS)
        elif self._closing:
            seconds = min(timeouts.linger, DRAIN_LINGER_SECONDS) if self._intake.draining else timeouts.linger
        elif self._reader is not None:
            seconds = inf if self._holders else timeouts.body
        elif self.exchange is not None:
            seconds = PROBE_SECONDS if self._half_closed else inf
        else:
            seconds = timeouts.header if self._buffer else timeouts.keep_alive
        self.deadline = monotonic() + seconds

    def _close(self) -> None:
        """Close once everything is written; a client that does not take it is cut off."""
        self._closing = True
        self._rearm()
        if self._transport is not None:
            self._transport.close()

    def _linger(self) -> None:
        """Close so that the answer arrives: bytes that nobody reads would turn it into a reset (RFC 9112 9.6)."""
        transport = self._transport
        if transport is None:
            return
        if self._half_closed or not transport.can_write_eof():
            self._close()
            return
        self._closing = True
        self._reader = None
        self._buffer = b""
        self._rearm()
        self.release_all()
        transport.write_eof()

    def drain(self, ending: Ending | None) -> None:
        """Close if nothing is under way; otherwise behind the answer, which `ending` ends if it is an event stream."""
        if self.exchange is not None:
            self._keep = False
            if ending is not None:
                self.exchange.end_by(ending)
        elif self._closing:
            due = self.deadline
            self._rearm()  # there is less time for a goodbye now
            self.deadline = min(due, self.deadline)
        elif self._reader is None:
            self._close()
        else:
            self._keep = False

    # deadlines

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""
        x = self.exchange
        self.due = inf
        if x is not None:
            x.check(now)
        if self.deadline > now:
            return
        self.deadline = inf
        if self._closing and not self._write_stalled:
            self.abort()
        elif self._write_stalled:
            if self.progressed():  # slow, but it reads
                self._took_at = now
            if now < self._took_at + self._snapshot.client_timeouts.write:
                self._rearm()
                return
            if x is not None:
                x.fail(GatewayError("relay.client_stalled"))
            self.abort()
        elif x is None:
            if self._buffer:
                self._refuse(GatewayError("read.head_timeout", "the request's head did not arrive in time"))
            else:
                self._close()
        elif self._reader is not None:
            self._stop_reading()
            x.fail(GatewayError("read.body_timeout", "the request's body did not arrive in time"))
        elif self._half_closed:
            self._probe(x, now)

    def _probe(self, x: Exchange, now: float) -> None:
        """Find out whether a client that sent a FIN still waits, or went away.

        A FIN says only that no more comes. An interim response is harmless to a client that waits (RFC 9110 15.2), and
        so is a comment in an event stream; the system of a client that is gone answers it with a reset, which then
        stands in the socket's error.
        """
        transport, stream = self._transport, x.lasting
        if transport is None:
            return
        self.deadline = now
        if self._probed:
            sock = transport.get_extra_info("socket")
            if sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.abort()
                x.fail(GatewayError("relay.client_gone"))
            elif stream is not None:
                self._probed = False
                self.deadline = now + PROBE_AGAIN_SECONDS
        elif stream is not None:
            self._probed = stream.comment()
        elif x.status == 0 and self._minor == 1:
            self._probed = True
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _status_line(head: Head) -> bytes:
    """Return the status line, with its CRLF; a status that is not registered has an empty reason (RFC 9112 4)."""
    if head.reason is None:
        return STATUS_LINES.get(head.status) or b"HTTP/1.1 %d \r\n" % head.status
    return b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)
