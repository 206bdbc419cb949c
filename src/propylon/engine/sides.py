"""What the engine needs of its two sides. Everything that speaks to a client or an endpoint fits in here.

Nothing here is of one version of HTTP. A header section crosses this border as a block: lines of bytes, each with its
CRLF, without the fields that are the connection's own affair (framing, Connection, Host of a request). What many
messages share, and so may be remembered as a whole, is apart from what is added to each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.body import Body
    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.http.forwarded import Origin
    from propylon.http.headers import Pair
    from propylon.http.response_head import ResponseHead
    from propylon.transport.stream import StreamEnd

UNKNOWN = -1
"""The length of a body that nobody knows yet."""


class Head(Protocol):
    """The head of a response on its way to a client."""

    @property
    def status(self) -> int:
        """100 to 599."""

    @property
    def reason(self) -> bytes | None:
        """The reason phrase, for versions that have one; `None` for the registered one of the status."""

    @property
    def block(self) -> bytes:
        """The header section."""


class ByteStream(Protocol):
    """Both directions of a connection behind a 101, or of one stream of it.

    Attributes:
        write: sends bytes to the peer.
        stalled: the peer does not take what was written before.
        ended: the peer has sent its FIN already.
    """

    write: Callable[[bytes], None]
    stalled: bool
    ended: bool

    def attach(self, end: StreamEnd, high: int | None) -> bytes:
        """Give `end` what arrives from now on; return what has arrived before.

        Args:
            high: bytes unsent at which `end` is told to pause; `None` for the connection's own limit.
        """

    def lost(self, error: Exception | None) -> None:
        """Tell the connection that its end has been told of the stream's."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def unsent(self) -> int:
        """Return how many of the bytes written the peer has not taken."""

    def can_half_close(self) -> bool:
        """Say whether one direction can be closed by itself."""

    def half_close(self) -> None:
        """Close our direction behind what was written."""

    def close(self) -> None:
        """Close once everything is written."""

    def abort(self) -> None:
        """Close at once."""


class Client(Protocol):
    """The side of an exchange where the request came from. It adds what it reads and writes to the exchange's counts.

    Attributes:
        due: when the exchange has to be checked, at the earliest; the exchange lowers it, its `check` raises it.
    """

    due: float

    @property
    def protocol(self) -> str:
        """The protocol of the exchange under way, as `HTTP/1.1`."""

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The verified certificate that the client has shown, if any."""

    def origin(self, x: Exchange) -> Origin:
        """Tell who the client is, and which forwarding fields a service gets."""

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        """Send a whole response; its length, where it has one, is among its fields.

        Args:
            head: status and header section.
            added: further fields, as lines.
        """

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        """Send the head of a response whose body follows; `length` in bytes, or `UNKNOWN`."""

    def send_interim(self, head: Head) -> None:
        """Send a 1xx response, if this client understands one."""

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body."""

    def hold(self, owner: object) -> None:
        """Take no more of the request's body until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Take the request's body again, if nobody else holds it."""

    def switch(self, head: Head, added: bytes) -> ByteStream | None:
        """Accept the WebSocket; return what carries it, or `None` if the connection is closed already."""

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

    def send(
        self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, body: bytes | None
    ) -> None:
        """Send a whole request.

        Args:
            authority: host and port that it is for.
            path: with the query.
            block: the header section without Host.
            added: further fields, as lines.
            body: `None` where there is none at all.
        """

    def send_head(self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, length: int) -> None:
        """Send the head of a request whose body follows; `length` in bytes, or `UNKNOWN`."""

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body."""

    def switch(self) -> ByteStream | None:
        """Return what carries the WebSocket behind a 101; `None` if the connection is closed already."""

    def progressed(self) -> bool:
        """Tell whether any of what is still to be written has left since this was asked last."""

    def finish(self) -> None:
        """Give the exchange up: back to the pool if the connection is clean, closed otherwise."""

    def hold(self, owner: object) -> None:
        """Take no more of the response's body until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Take the response's body again, if nobody else holds it."""
