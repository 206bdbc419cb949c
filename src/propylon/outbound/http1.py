"""One HTTP/1.1 connection to an endpoint: requests out, responses in (RFC 9112).

Rules of this file: one exchange at a time; every response is parsed and framed here, and whatever is not exactly what
the framing says makes the connection unfit for another exchange. A connection goes back to its pool only if the
whole request was written, the whole response was read, and not one byte more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.sides import UNKNOWN
from propylon.http.chunked import LAST_CHUNK, ChunkedDecoder
from propylon.http.memo import Memo
from propylon.http.refusal import Refusal
from propylon.http.response_head import ResponseHead
from propylon.http.websocket import accept_of
from propylon.transport.flow import NOBODY, FlowControl
from propylon.transport.stream import TransportStream
from propylon.transport.unsent import unsent_bytes

if TYPE_CHECKING:
    from propylon.engine.body import BodySource
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Client
    from propylon.http.headers import Pair
    from propylon.outbound.pool import Pool

MAX_HEAD_BYTES = 65536  # nginx: 4-8 KiB unless set, Envoy: 60 KiB; endpoints are ours, but not without bound
MAX_INTERIM = 16  # 1xx responses before the final one

_HEADS: Memo[bytes, ResponseHead] = Memo(ResponseHead)
_WHOLE = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b%b\r\n"
_WITH_BODY = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b%bcontent-length: %d\r\n\r\n%b"
_UNTIL_CLOSE = -1
_CHUNKED = -2


class EndpointConnection(FlowControl, asyncio.Protocol):
    """One connection to an endpoint.

    Attributes:
        usable: it is open, and nobody has begun to close it.
        adopted: the pool counts it; not so while it is being opened.
        exchange: what it carries, if anything.
        idle_since: when it came to rest (`time.monotonic`).
    """

    __slots__ = (
        "_begun",
        "_buffer",
        "_decoder",
        "_eof",
        "_held_source",
        "_interim",
        "_left",
        "_owed",
        "_reusable",
        "_transport",
        "adopted",
        "body",
        "complete",
        "error",
        "exchange",
        "fresh",
        "head",
        "heard",
        "idle_since",
        "pool",
        "request_sent",
        "usable",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.exchange: Exchange | None = None
        self.fresh = True
        self.adopted = False
        self.idle_since = 0.0
        self.usable = False
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._eof = False
        self._reset()

    def __repr__(self) -> str:
        state = "closed" if self._transport is None else "busy" if self.exchange is not None else "idle"
        return f"<EndpointConnection {state}>"

    def _reset(self) -> None:
        self.head: ResponseHead | None = None
        self.body: bytes | Body = b""
        self.complete = self.heard = self.request_sent = False
        self.error: GatewayError | None = None
        self._decoder: ChunkedDecoder | None = None
        self._left = 0
        self._interim = 0
        self._reusable = True
        self._begun = False
        self._owed = 0
        self._held_source: BodySource | Client | None = None
        self._unsent = 0
        self._holders = NOBODY

    # the engine's side

    def begin(self, x: Exchange) -> None:
        """Take on an exchange."""
        self.exchange = x
        self._reset()
        if not self.usable:
            self.error = GatewayError("attempt.closed")

    def send(
        self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, body: bytes | None
    ) -> None:
        """Send a whole request."""
        self._begun = self.request_sent = True
        if self._transport is None:
            return
        fields = self._own_fields()
        if body is None:
            self._transport.write(_WHOLE % (method, path, authority, block, added, fields))
        else:
            size = len(body)
            self._transport.write(_WITH_BODY % (method, path, authority, block, added, fields, size, body))

    def send_head(self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, length: int) -> None:
        """Send the head of a request whose body follows."""
        self._begun = True
        self._owed = length
        framing = b"transfer-encoding: chunked\r\n" if length == UNKNOWN else b"content-length: %d\r\n" % length
        if self._transport is not None:
            self._transport.write(_WHOLE % (method, path, authority, block, added, self._own_fields() + framing))

    def _own_fields(self) -> bytes:
        """Return the fields that end at this hop."""
        x = self.exchange
        if x is None or not (x.fields.wants_trailers or x.fields.websocket):
            return b""
        # RFC 9110 10.1.4: the option must come with the field
        trailers = b"te: trailers\r\nconnection: te\r\n" if x.fields.wants_trailers else b""
        return trailers + b"upgrade: websocket\r\nconnection: upgrade\r\n" if x.fields.websocket else trailers

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self._transport is None:
            return
        if self._owed == UNKNOWN:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif len(data) > self._owed:
            self._fail(GatewayError("gateway.failed", log="more of a body than its Content-Length said"))
            return
        else:
            self._owed -= len(data)
        if self.stalled:
            self._unsent += len(data)  # so that what is taken shows, whatever is added
        self._transport.write(data)

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body. A client's trailers end here: no service asked for them (RFC 9110 6.5.1)."""
        if self._owed > 0:
            self._fail(GatewayError("gateway.failed", log="less of a body than its Content-Length said"))
            return
        if self._owed == UNKNOWN and self._transport is not None:
            self._transport.write(LAST_CHUNK)
        self.request_sent = True
        self._await_head()

    def _await_head(self) -> None:
        """The whole request is out: now the endpoint's time runs, unless it has not taken the request yet."""
        x = self.exchange
        if x is None or self.stalled:
            return
        if self.head is None:
            x.arm(x.timeouts.response, "head.timeout")
        else:
            x.arm_relay(self)

    @property
    def stalled(self) -> bool:
        """Whether the endpoint does not take what is written to it."""
        return self._held_source is not None

    def finish(self) -> None:
        """Give the exchange up: back to the pool if the connection is clean, closed otherwise."""
        self.exchange = None
        clean = self.complete and self.request_sent and self._reusable and self.error is None and self.usable
        if isinstance(self.body, Body):
            self.body.detach()
        self.body = b""
        self.head = None
        self._decoder = None
        source, self._held_source = self._held_source, None
        if source is not None:  # the body may have to go to another endpoint
            source.release(self)
        if clean:
            self.fresh = False
            if self._holders and self._transport is not None:
                self._transport.resume_reading()
            self.pool.give_back(self)
        else:
            self.close()

    def close(self) -> None:
        """Close the connection without waiting for what was not written yet."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def hold(self, owner: object) -> None:
        """Take no more of the response's body until `owner` releases it; no idle timeout counts meanwhile."""
        super().hold(owner)
        if self.exchange is not None:
            self.exchange.disarm()

    def _released(self) -> None:
        """Take the response's body again."""
        if self.usable and self._transport is not None:
            self._transport.resume_reading()
            x = self.exchange
            if x is not None and self.head is not None:
                x.arm_relay(self)

    def _line(self) -> asyncio.Transport | None:
        return self._transport

    def _count_unsent(self) -> int:
        return unsent_bytes(self._transport)

    def body_wanted(self) -> None:
        """Endpoints send their bodies unasked."""

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports share no base class (asyncio's do)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Read what arrived; a byte nobody asked for closes the connection."""
        x = self.exchange
        if x is None or self.complete:
            self._reusable = False
            self.close()
            return
        if not self._begun:  # an answer to a request that has not been sent is nobody's (RFC 9112 9.2)
            self._fail(GatewayError("attempt.closed", log="bytes before the request"))
            return
        self.heard = True
        try:
            if self.head is None:
                self._read_head(data, x)
            else:
                self._read_body(data)
                if not self._holders:
                    x.arm_relay(self)
        except Refusal as refusal:
            self._fail(GatewayError(refusal.code, log=refusal.detail))

    def eof_received(self) -> bool:
        """Let the transport close: an endpoint that is done writing has no more to say.

        With TLS only a close_notify comes here, not the end of TCP, which anybody on the way can make (RFC 9112 9.8).
        """
        self.usable = False
        self._eof = True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Settle a body that ends with the connection; anything else that is under way has failed."""
        self._transport = None
        self.usable = False
        if self.adopted:
            self.pool.lost()
        if self.exchange is None or self.complete:
            return
        if self.head is not None and self._left == _UNTIL_CLOSE and self._eof and error is None:
            self._end([])
        elif self.head is None:
            self._fail(GatewayError("attempt.closed", log=str(error or "closed before the head")))
        else:
            self._fail(GatewayError("relay.truncated", log=str(error or "closed before the body's end")))

    def pause_writing(self) -> None:
        """The endpoint takes no more of the request's body: wherever it comes from waits too."""
        x = self.exchange
        if x is not None:
            source: BodySource | Client = x.body.source if isinstance(x.body, Body) else x.client
            source.hold(self)
            self._held_source = source
            self._unsent = self._count_unsent()
            x.arm(x.timeouts.idle, "attempt.stalled")

    def resume_writing(self) -> None:
        """The endpoint takes the request's body again."""
        source, self._held_source = self._held_source, None
        x = self.exchange
        if x is not None and source is not None:
            x.disarm()
            if self.request_sent:
                self._await_head()
            source.release(self)

    # reading

    def _read_head(self, data: bytes, x: Exchange) -> None:
        """Read heads until a final one (RFC 9110 15.2), and what of the body came with it."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end > MAX_HEAD_BYTES or (end < 0 and len(data) > MAX_HEAD_BYTES):
                raise Refusal("head.bad", f"the head is longer than {MAX_HEAD_BYTES} bytes")
            if end < 0:
                self._buffer = data
                return
            head = _HEADS[data[: end + 2]]
            rest = data[end + 4 :]
            if head.status >= 200:
                break
            if head.status == 101:
                self._hold_switch(head, rest, x)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Refusal("head.bad", "too many 1xx responses")
            if head.status != 100:
                x.client.send_interim(head)  # 100 is for the gateway's own Expect, and it sends none
            data = rest
        self._reusable = head.allows_reuse()
        self._begin_body(head, rest, x)
        self.head = head
        x.notify()

    def _hold_switch(self, head: ResponseHead, rest: bytes, x: Exchange) -> None:
        """Take a 101, if it answers this handshake (RFC 6455 4.1); what follows it waits for `switch`."""
        key = x.fields.first(b"sec-websocket-key") if x.fields.websocket else None
        accepts = [value for name, value in head.visible if name.lower() == b"sec-websocket-accept"]
        if key is None or not head.switches:
            raise Refusal("head.bad", "a switch of protocols nobody asked for (RFC 9110 7.8)")
        if accepts != [accept_of(key)]:
            raise Refusal("head.bad", "Sec-WebSocket-Accept does not answer the key (RFC 6455 4.1)")
        self._reusable = False
        self._buffer = rest
        self.hold(self)
        self.head = head
        x.notify()

    def switch(self) -> TransportStream | None:
        """Hand the connection over behind a 101."""
        early, self._buffer = self._buffer, b""
        self.complete = True  # no response is under way any more
        if self._transport is None:
            return None
        stalled, self._held_source = self.stalled, None
        self._holders = NOBODY
        return TransportStream(self._transport, self, early, stalled=stalled, ended=self._eof)

    def _begin_body(self, head: ResponseHead, rest: bytes, x: Exchange) -> None:
        """Decide where the body ends (RFC 9112 6.3)."""
        if not head.has_body(x.method):
            if rest:
                raise Refusal("head.bad", "bytes behind a response that has no body (RFC 9112 6.3)")
            self.complete = True
        elif len(rest) == head.length:
            self.body = rest
            self.complete = True
        elif head.length >= 0:
            if len(rest) > head.length:
                raise Refusal("head.bad", "more bytes than Content-Length says (RFC 9112 6.3)")
            self._left = head.length
            self._stream(rest)
        elif head.chunked:
            self._left = _CHUNKED
            self._decoder = ChunkedDecoder("relay.bad_chunk")
            self._stream(rest)
        else:
            self._left = _UNTIL_CLOSE
            self._reusable = False
            self._stream(rest)

    def _stream(self, rest: bytes) -> None:
        """Begin a body that has not all arrived. A chunked one that has is joined: its length is known now."""
        body = self.body = Body(self)
        if rest:
            self._read_body(rest)
        if self.complete and self._decoder is not None and not self._decoder.trailers:
            self.body = body.held()

    def _read_body(self, data: bytes) -> None:
        body = self.body
        if not isinstance(body, Body):  # behind a 101 that has not been taken yet
            self._buffer += data
            return
        if self._left >= 0:
            size = len(data)
            if size > self._left:
                self._reusable = False
                data = data[: self._left]
                size = self._left
            self._left -= size
            body.feed(data)
            if not self._left:
                self._end([])
        elif self._decoder is not None:
            decoder = self._decoder
            for piece in decoder.feed(data):
                body.feed(piece)
            if decoder.done and self._decoder is decoder:  # what takes a piece may have given the exchange up
                self._reusable = self._reusable and not decoder.rest
                self._end(decoder.trailers)
        else:
            body.feed(data)

    def _end(self, trailers: list[Pair]) -> None:
        """Finish the response's body; the exchange goes on to settle."""
        self.complete = True
        if isinstance(self.body, Body):
            self.body.end(trailers)
        x = self.exchange
        if x is not None and self.head is not None:
            x.disarm()
            x.notify()

    def _fail(self, error: GatewayError) -> None:
        self.error = error
        self._reusable = False
        self.close()
        if isinstance(self.body, Body):
            self.body.fail(error)
        if self.exchange is not None:
            self.exchange.notify()
