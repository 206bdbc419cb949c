"""What the engine needs of its two sides. Everything that speaks to a client or an endpoint fits in here.

A header section crosses this border as a block: lines of bytes, each with its CRLF, without framing fields. Framing
is the connection's own affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from propylon.engine.body import Body
    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.websocket.end import End
    from propylon.http.forwarded import Origin
    from propylon.http.headers import Pair
    from propylon.http.response_head import ResponseHead

UNKNOWN = -1
"""The length of a body that nobody knows yet."""


class Client(Protocol):
    """The side of an exchange where the request came from.

    Attributes:
        due: when the exchange has to be checked, at the earliest; the exchange lowers it, its `check` raises it.
    """

    due: float

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The verified certificate that the client has shown, if any."""

    def origin(self, x: Exchange) -> Origin:
        """Tell who the client is, and which forwarding fields a service gets."""

    def send(self, line: bytes, block: bytes, body: bytes) -> None:
        """Send a whole response; `block` says its length where it has one."""

    def send_head(self, line: bytes, block: bytes, length: int) -> None:
        """Send the head of a response whose body follows; `length` in bytes, or `UNKNOWN`."""

    def send_interim(self, head: ResponseHead) -> None:
        """Send a 1xx response, if this client understands one."""

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body."""

    def hold(self, owner: object) -> None:
        """Take no more of the request's body until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Take the request's body again, if nobody else holds it."""

    def switch(self, line: bytes, block: bytes, end: End) -> bytes:
        """Send a 101 and hand the connection over to `end`; return what has arrived behind the request."""

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the response is incomplete."""

    def exchange_done(self, x: Exchange) -> None:
        """Learn that the exchange is over, whatever happened."""


class Upstream(Protocol):
    """The side of an attempt that goes to an endpoint.

    Attributes:
        head: the response's head once it is there.
        body: its body: whole, or under way.
        complete: the whole response has arrived.
        error: why the attempt failed.
        request_sent: the whole request has been written.
        fresh: it has carried no exchange before this one.
        heard: at least one byte of this response has arrived.
        stalled: the endpoint does not take what is written to it.
    """

    head: ResponseHead | None
    body: bytes | Body
    complete: bool
    error: GatewayError | None
    request_sent: bool
    fresh: bool
    heard: bool

    @property
    def stalled(self) -> bool:
        """See above."""

    def begin(self, x: Exchange) -> None:
        """Take on an exchange."""

    def send(self, line: bytes, block: bytes, body: bytes | None) -> None:
        """Send a whole request; `line` has no version, `body` is `None` where there is none at all."""

    def send_head(self, line: bytes, block: bytes, length: int) -> None:
        """Send the head of a request whose body follows; `length` in bytes, or `UNKNOWN`."""

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body."""

    def switch(self, end: End) -> bytes:
        """Hand the connection over to `end` behind a 101; return what has arrived behind that."""

    def progressed(self) -> bool:
        """Tell whether any of what is still to be written has left since this was asked last."""

    def finish(self) -> None:
        """Give the exchange up: back to the pool if the connection is clean, closed otherwise."""

    def hold(self, owner: object) -> None:
        """Take no more of the response's body until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Take the response's body again, if nobody else holds it."""
