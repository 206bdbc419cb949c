"""Writing of HTTP/1.1 requests to an endpoint, with backpressure.

Framing is generated here only (RFC 9112 6), and a body whose length differs from its Content-Length fails the exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.sides import UNKNOWN
from propylon.http.chunked import LAST_CHUNK
from propylon.http.field_case import title_case
from propylon.http.websocket import UPGRADE
from propylon.outbound.http1_state import ANSWERED, BEGUN, COMPLETE, EARLY, OPENING, RECEIVING, SENDING, WAITING
from propylon.transport.flow import FlowControl
from propylon.transport.unsent import unsent_bytes

if TYPE_CHECKING:
    import asyncio

    from propylon.engine.body import BodySource
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Client
    from propylon.http.headers import Pair
    from propylon.http.request_head import RequestFields
    from propylon.outbound.http1_state import State

_HOST = b" HTTP/1.1\r\nhost: "


NO_BODY: Final = -2
"""What is left of a body that was not sent in pieces."""


class RequestWriter(FlowControl):
    """The part of a connection that writes requests.

    Attributes:
        exchange: the exchange in flight, if any.
        request_sent: whether the request is written completely.
        state: the state of the connection (`http1_state`).
    """

    __slots__ = ("_body_left", "_held_source", "_transport", "exchange", "request_sent", "state")

    def __init__(self) -> None:
        super().__init__()
        self.state: State = OPENING
        self.exchange: Exchange | None = None
        self.request_sent = False
        self._transport: asyncio.Transport | None = None
        self._body_left = NO_BODY
        self._held_source: BodySource | Client | None = None

    def send(
        self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, body: bytes | None
    ) -> None:
        """Send a complete request."""
        self.request_sent = True
        x = self.exchange
        if self.state is not BEGUN or x is None or self._transport is None:
            return
        self.state = WAITING
        fields = x.fields
        own = _own_fields(fields) if fields.wants_trailers or fields.websocket else b""
        end = b"\r\n" if body is None else b"content-length: %d\r\n\r\n" % len(body)
        # `join` takes two thirds of the time of a format.
        data = b"".join((method, b" ", path, _HOST, authority, b"\r\n", block, added, own, end, body or b""))
        self._transport.write(title_case(data) if x.snapshot.title_case else data)

    def send_head(self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, length: int) -> None:
        """Send the head of a request whose body follows."""
        x = self.exchange
        if self.state is not BEGUN or x is None or self._transport is None:
            return
        self.state = SENDING
        self._body_left = length
        own = b"transfer-encoding: chunked\r\n" if length == UNKNOWN else b"content-length: %d\r\n" % length
        fields = x.fields
        if fields.wants_trailers or fields.websocket:
            own = _own_fields(fields) + own
        data = b"".join((method, b" ", path, _HOST, authority, b"\r\n", block, added, own, b"\r\n"))
        self._transport.write(title_case(data) if x.snapshot.title_case else data)

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self._transport is None:
            return
        if self._body_left == UNKNOWN:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif len(data) > self._body_left:
            self._fail(GatewayError("gateway.failed", log="more of a body than its Content-Length said"))
            return
        else:
            self._body_left -= len(data)
        if self.stalled:
            self._unsent += len(data)  # so that progress is visible while bytes are added
        self._transport.write(data)

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body. Trailers of a client are dropped: no service accepts them (RFC 9110 6.5.1)."""
        if self._body_left > 0 and self._transport is not None:
            self._fail(GatewayError("gateway.failed", log="less of a body than its Content-Length said"))
            return
        self.request_sent = True
        if self.state is SENDING:
            self.state = WAITING
        elif self.state is EARLY:
            self.state = RECEIVING
        elif self.state is ANSWERED:
            self.state = COMPLETE
        else:  # the connection was lost meanwhile
            return
        if self._body_left == UNKNOWN and self._transport is not None:
            self._transport.write(LAST_CHUNK)
        self._await_response()

    def _body_taken(self) -> bool:
        """Return whether the endpoint's system has taken the whole body; called once, at the exchange's end."""
        self._body_left = NO_BODY
        return not self._count_unsent()

    @property
    def stalled(self) -> bool:
        """Whether the endpoint does not read what is written to it."""
        return self._held_source is not None

    def pause_writing(self) -> None:
        """Apply backpressure to the source of the body: the endpoint reads too slowly."""
        x = self.exchange
        if x is not None:
            source: BodySource | Client = x.body.source if isinstance(x.body, Body) else x.client
            source.hold(self)
            self._held_source = source
            self._unsent = self._count_unsent()
            x.arm(x.timeouts.idle, "attempt.stalled")

    def resume_writing(self) -> None:
        """Release backpressure: the endpoint reads again."""
        source, self._held_source = self._held_source, None
        x = self.exchange
        if x is not None and source is not None:
            x.disarm()
            if self.request_sent:
                self._await_response()
            source.release(self)

    def _line(self) -> asyncio.Transport | None:
        return self._transport

    def _count_unsent(self) -> int:
        return unsent_bytes(self._transport)

    def _await_response(self) -> None:
        """Arm the response's deadline: the request is written completely."""
        raise NotImplementedError

    def _fail(self, error: GatewayError) -> None:
        """Fail the exchange, and close the connection."""
        raise NotImplementedError


def _own_fields(fields: RequestFields) -> bytes:
    """Return the hop-by-hop fields."""
    # RFC 9110 10.1.4: TE requires the connection option
    trailers = b"te: trailers\r\nconnection: te\r\n" if fields.wants_trailers else b""
    return trailers + UPGRADE if fields.websocket else trailers
