"""One HTTP/1.1 connection to an endpoint: requests out, responses in (RFC 9112).

Rules of this file: one exchange at a time; every response is parsed here, and after any deviation from its framing the
connection is not reused. The states and transitions are in `http1_state`, the writing of requests in `http1_writer`,
the reading of heads in `http1_reader`, of bodies in `http/body_reader`.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.http.body_reader import CHUNKED, UNTIL_CLOSE, BodyReader
from propylon.http.refusal import Refusal
from propylon.http.shown import shown
from propylon.outbound.http1_reader import MAX_HEAD_BYTES, HeadReader, check_switch
from propylon.outbound.http1_state import (
    ANSWERED,
    BEGUN,
    CLOSED,
    CLOSING,
    COMPLETE,
    EARLY,
    IDLE,
    RECEIVING,
    SENDING,
    SWITCHED,
    SWITCHING,
    WAITING,
)
from propylon.outbound.http1_writer import NO_BODY, RequestWriter
from propylon.transport.flow import NO_HOLDERS
from propylon.transport.stream import TransportStream
from propylon.transport.tls_transport import TlsTransport
from propylon.transport.unread import unread_bytes

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead
    from propylon.outbound.pool import Pool


class EndpointConnection(RequestWriter, asyncio.Protocol):
    """One connection to an endpoint (`Upstream`).

    Attributes:
        usable: whether it is open and not closing.
        address: the IP address that it was opened to, if the endpoint's host is a name; otherwise empty.
        adopted: whether the pool counts it; False while it is being opened, and from its close on.
        idle_since: when it became idle (`time.monotonic`).
        retire_at: when it is not reused any more (`time.monotonic`).
    """

    __slots__ = (
        "_eof", "_heads", "_reader", "_reusable", "address", "adopted", "body", "complete", "error", "fresh", "head",
        "heard", "idle_since", "pool", "retire_at", "usable",
    )  # fmt: skip

    def __init__(self, pool: Pool, max_head: int = MAX_HEAD_BYTES) -> None:
        """`max_head`: maximum bytes of a response's head."""
        super().__init__()
        self.pool = pool
        self.fresh = True
        self.address = ""
        self.adopted = False
        self.idle_since = 0.0
        self.retire_at = inf
        self.usable = False
        self.head: ResponseHead | None = None
        self.body: bytes | Body = b""
        self.complete = self.heard = False
        self.error: GatewayError | None = None
        self._heads = HeadReader(max_head)
        self._reader: BodyReader | None = None
        self._reusable = True
        self._eof = False

    def __repr__(self) -> str:
        return f"<EndpointConnection {self.state}>"

    # the engine's side

    def begin(self, x: Exchange) -> None:
        """Begin an exchange."""
        self.exchange = x
        self.complete = self.heard = self.request_sent = False
        self._unsent = 0
        self._holders = NO_HOLDERS
        if self.state is IDLE:
            self.state = BEGUN
        elif self.error is None:
            self.error = GatewayError("attempt.closed")

    def finish(self) -> None:
        """End the exchange: return the connection to the pool if it is reusable, or else close it.

        An endpoint that has responded and not taken the whole body by then does not read it, and is about to close.
        """
        self.exchange = None
        if isinstance(self.body, Body):
            self.body.detach()
        self.body = b""
        self.head = None
        self._reader = None
        source, self._held_source = self._held_source, None
        if source is not None:  # the body may have to be sent to another endpoint
            source.release(self)
        if (
            self.state is COMPLETE and self._reusable and self.usable
            and (self._body_left == NO_BODY or self._body_taken())
        ):  # fmt: skip
            self.state = IDLE
            self.fresh = False
            if self._holders and self._transport is not None:
                self._transport.resume_reading()
            self.pool.give_back(self)
        else:
            self.close()

    def switch(self) -> TransportStream | None:
        """Hand the connection over after a 101."""
        early, self._heads.rest = self._heads.rest, b""
        self.complete = True  # the response is over
        if self._transport is None:
            return None
        self.state = SWITCHED
        stalled, self._held_source = self.stalled, None
        self._holders = NO_HOLDERS
        return TransportStream(self._transport, self, early, stalled=stalled, ended=self._eof)

    def close(self) -> None:
        """Close the connection at once; unsent bytes are dropped."""
        self.usable = False
        if self._transport is not None:
            self.state = CLOSING
            self._transport.abort()
        self._leave_pool()

    def _leave_pool(self) -> None:
        """Give its room in the pool to another, once."""
        if self.adopted:
            self.adopted = False
            self.pool.lost(self)

    def hold(self, owner: object) -> None:
        """Pause reading until `owner` releases it; meanwhile there is no idle timeout."""
        super().hold(owner)
        if self.exchange is not None:
            self.exchange.disarm()

    def _released(self) -> None:
        """Resume reading."""
        if self.usable and self._transport is not None:
            self._transport.resume_reading()
            x = self.exchange
            if x is not None and self.head is not None:
                x.arm_relay(self)

    def body_wanted(self) -> None:
        """Do nothing: a response body needs no 100 (Continue)."""

    def _await_response(self) -> None:
        """Arm the response's deadline: the request is written completely. Not while the endpoint is stalled."""
        x = self.exchange
        if x is None or self.stalled:
            return
        if self.head is None:
            x.arm(x.timeouts.response, "head.timeout")
        else:
            x.arm_relay(self)

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports share no base class (asyncio's do)
        self.state = IDLE
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; an unsolicited byte closes the connection."""
        x, state = self.exchange, self.state
        try:
            if x is None:
                self._take_unsolicited(data)
            elif state is RECEIVING or state is EARLY:
                reader, body = self._reader, self.body
                assert reader is not None
                assert isinstance(body, Body)
                reader.pour(data, body)
                if reader.done:
                    self._end_body(reader, body)
                else:
                    x.arm_relay(self)
            elif state is WAITING or state is SENDING:
                self.heard = True
                self._take_head(self._heads.feed(data), x)
            elif state is SWITCHING:
                self._heads.rest += data
            elif state is BEGUN:
                self._take_unsolicited(data)
            else:
                self.close()
        except Refusal as refusal:
            self._fail(GatewayError(refusal.code, log=refusal.detail))

    def _take_unsolicited(self, data: bytes) -> None:
        """Close: no request was sent (RFC 9112 9.2).

        Before the first request it is another protocol that speaks; later it may be a 408 that announces the close of
        an idle connection, and the request can be sent on another one.
        """
        code = "head.bad" if self.fresh else "attempt.closed"
        self._fail(GatewayError(code, log=f"bytes before the request: {shown(data)}"))

    def eof_received(self) -> bool:
        """Handle the endpoint's FIN: let the transport close.

        With TLS this is called for close_notify only, not for the unauthenticated end of TCP (RFC 9112 9.8).
        """
        self.usable = False
        self._eof = True
        if self.state is IDLE:
            self.state = CLOSING
            self._leave_pool()
            self._learn_idle_age()
        elif self.exchange is not None and self.state is not SWITCHING:
            self._end_with_connection()
            self.close()  # and not once the rest of a request is written that the endpoint does not read
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Take the response that came before a reset; fail an exchange that is still in flight."""
        transport, self._transport = self._transport, None
        self.usable = False
        if error is not None and transport is not None and self.exchange is not None and self.error is None:
            self._take_unread(transport)
        if self.state is IDLE or not (self.fresh or self.heard or self.exchange is None):
            self._learn_idle_age()
        self.state = CLOSED
        self._leave_pool()
        if self.exchange is None or self.complete or self.error is not None:
            return
        if self.head is None:
            self._fail(GatewayError("attempt.closed", log=str(error or "closed before the head")))
        else:
            self._fail(GatewayError("relay.truncated", log=str(error or "closed before the body's end")))

    def _learn_idle_age(self) -> None:
        """Report a close by the endpoint, of a connection that is idle or was until its last request."""
        if not self.fresh:
            self.pool.idle_age.closed(monotonic() - self.idle_since)

    def _take_unread(self, transport: asyncio.Transport) -> None:
        """Handle what the endpoint had sent when the connection was reset (RFC 9112 9.5).

        An endpoint that responds before it has read the whole request, and closes, resets the connection: its response
        is what the client needs, and the failure of the write that revealed the reset is none of the endpoint.
        """
        unread = transport.unread() if isinstance(transport, TlsTransport) else unread_bytes(transport)
        if unread and not self.complete:
            self.data_received(unread)
        x = self.exchange
        if x is not None and x.body and self.head is not None and self.head.status >= 300:
            self._end_with_connection()  # the reset is that of a request whose body was not read, and means no loss

    def _end_with_connection(self) -> None:
        """Complete a body that ends with the connection (RFC 9112 6.3)."""
        reader, body = self._reader, self.body
        if reader is not None and isinstance(body, Body) and reader.close():
            self._end_body(reader, body)

    # reading

    def _take_head(self, head: ResponseHead | None, x: Exchange) -> None:
        """Pass interim responses on, then handle the final head and the bytes after it (RFC 9110 15.2)."""
        while head is not None and head.status < 200:
            if head.status == 101:
                self._take_switch(head, x)
                return
            if head.status != 100:
                x.client.send_interim(head)
            elif isinstance(x.body, Body) and x.body.offer is not None:
                x.body.offer.accept()  # the client is sent a 100 of its own
            head = self._heads.feed(b"")
        if head is None:
            return
        rest, self._heads.rest = self._heads.rest, b""
        self._reusable = head.reusable
        if head.idle_limit is not None:
            self.pool.idle_age.tell(head.idle_limit)
        if not head.has_body(x.method):
            if rest:
                raise Refusal("head.bad", "bytes behind a response that has no body (RFC 9112 6.3)")
            self.complete = True
        elif len(rest) == head.length:
            self.body = rest
            self.complete = True
        else:
            self._begin_body(head, rest)
        if self.state is WAITING:
            self.state = COMPLETE if self.complete else RECEIVING
        else:
            self.state = ANSWERED if self.complete else EARLY
            if isinstance(x.body, Body) and x.body.offer is not None:
                x.body.offer.decline(head.minor)
                self.request_sent = True  # nothing more of it is sent
        self.head = head
        x.notify()

    def _take_switch(self, head: ResponseHead, x: Exchange) -> None:
        """Handle a 101; bytes after it wait for `switch`."""
        if self.state is not WAITING:
            raise Refusal("head.bad", "a switch of protocols before the request's end (RFC 9110 7.8)")
        check_switch(head, x.fields)
        self.state = SWITCHING
        self._reusable = False
        self.hold(self)
        self.head = head
        x.notify()

    def _begin_body(self, head: ResponseHead, rest: bytes) -> None:
        """Begin a body that is incomplete or chunked, and determine its length (RFC 9112 6.3)."""
        length = head.length
        if length < 0:
            length = CHUNKED if head.chunked else UNTIL_CLOSE
        elif len(rest) > length:
            raise Refusal("head.bad", "more bytes than Content-Length says (RFC 9112 6.3)")
        reader = BodyReader(length, "relay.bad_chunk")
        pieces = reader.feed(rest) if rest else ()
        if reader.rest or length == UNTIL_CLOSE:
            self._reusable = False
        if reader.done and not reader.trailers:  # its length is known now
            self.body = b"".join(pieces)
            self.complete = True
            return
        body = self.body = Body(self)
        for piece in pieces:
            body.feed(piece)
        if reader.done:
            body.end(reader.trailers)
            self.complete = True
        else:
            self._reader = reader

    def _end_body(self, reader: BodyReader, body: Body) -> None:
        """Finish a body, and notify the exchange."""
        if self._reader is not reader:  # the receiver of the last piece has ended the exchange
            return
        if reader.rest:
            self._reusable = False
        if self.state is RECEIVING:
            self.state = COMPLETE
        elif self.state is EARLY:
            self.state = ANSWERED
        self.complete = True
        self._reader = None
        body.end(reader.trailers)
        x = self.exchange
        if x is not None:
            x.disarm()
            x.notify()

    def _fail(self, error: GatewayError) -> None:
        self.error = error
        self.close()
        if isinstance(self.body, Body):
            self.body.fail(error)
        if self.exchange is not None:
            self.exchange.notify()
