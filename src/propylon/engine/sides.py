"""The Protocols of the engine's two sides: the client's (`Client`) and the endpoint's (`Upstream`).

They are independent of the version of HTTP. A header section is passed as a block: lines of bytes, each with its CRLF,
without the fields of the connection itself (framing, Connection, Host of a request). The block is what many messages
share and may be cached; fields added to a single message are passed apart from it.
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
"""The unknown length of a body."""


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
    """Both directions of a connection after a 101, or of one stream of it.

    Attributes:
        write: sends bytes to the peer.
        stalled: the peer does not read what was written before.
        ended: the peer's FIN has arrived already.
    """

    write: Callable[[bytes], None]
    stalled: bool
    ended: bool

    def attach(self, end: StreamEnd, high: int | None) -> bytes:
        """Deliver what arrives from now on to `end`; return what has arrived before.

        Args:
            high: unsent bytes at which `end` is paused; `None` for the connection's own limit.
        """

    def lost(self, error: Exception | None) -> None:
        """Report the end of the stream to the connection that it was part of."""

    def pause_reading(self) -> None:
        """Stop reading."""

    def resume_reading(self) -> None:
        """Resume reading."""

    def unsent(self) -> int:
        """Return how many written bytes the peer has not acknowledged."""

    def can_half_close(self) -> bool:
        """Return whether the connection can be half-closed."""

    def half_close(self) -> None:
        """Close the sending direction after what was written."""

    def close(self) -> None:
        """Close once everything is written."""

    def abort(self) -> None:
        """Close at once."""


class Client(Protocol):
    """The client's side of an exchange. It counts the bytes that it reads and writes in the exchange.

    Attributes:
        due: time of the exchange's next check; the exchange lowers it, its `check` raises it.
    """

    due: float

    @property
    def protocol(self) -> str:
        """The protocol of the current exchange, as `HTTP/1.1`."""

    @property
    def expects_continue(self) -> bool:
        """Whether it waits for 100 (Continue) before it sends the request's body (RFC 9110 10.1.1)."""

    @property
    def listener_id(self) -> str | None:
        """The id of the listener that accepted the client; `None` if it came by none."""

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The client's verified certificate, if any."""

    def origin(self, x: Exchange) -> Origin:
        """Return the client's address, and the forwarding fields for the service."""

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        """Send a whole response; Content-Length, if it has one, is in `head` or `added`.

        Args:
            head: status and header section.
            added: further fields, as lines.
        """

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        """Send the head of a response whose body follows; `length` in bytes, or `UNKNOWN`."""

    def send_interim(self, head: Head) -> None:
        """Send a 1xx response, if the client's protocol has them."""

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body."""

    def hold(self, owner: object) -> None:
        """Stop reading the request's body until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Resume reading the request's body, if no other owner holds it."""

    def switch(self, head: Head, added: bytes) -> ByteStream | None:
        """Accept the WebSocket; return its byte stream, or `None` if the connection is closed already."""

    def abort(self) -> None:
        """Close the connection at once, so that the client sees an incomplete response."""

    def exchange_done(self, x: Exchange) -> None:
        """Handle the end of the exchange; called once, in every case."""


class Upstream(Protocol):
    """The endpoint's side of an attempt.

    Attributes:
        head: the response's head, once it has arrived.
        body: the response's body: complete, or under way.
        complete: the whole response has arrived.
        error: why the attempt failed.
        request_sent: the whole request has been written.
        fresh: it has carried no exchange before this one.
        heard: at least one byte of this response has arrived.
        stalled: the endpoint does not read what is written to it.
    """

    head: ResponseHead | None
    body: bytes | Body
    complete: bool
    error: GatewayError | None
    request_sent: bool
    fresh: bool
    heard: bool

    @property
    def held(self) -> bool:
        """Whether its response is not read for now."""

    @property
    def stalled(self) -> bool:
        """See above."""

    def begin(self, x: Exchange) -> None:
        """Start to carry an exchange."""

    def send(
        self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, body: bytes | None
    ) -> None:
        """Send a whole request.

        Args:
            authority: host and port, for Host or `:authority`.
            path: with the query.
            block: the header section without Host.
            added: further fields, as lines.
            body: `None` for a request without one.
        """

    def send_head(self, method: bytes, authority: bytes, path: bytes, block: bytes, added: bytes, length: int) -> None:
        """Send the head of a request whose body follows; `length` in bytes, or `UNKNOWN`."""

    def write_body(self, data: bytes) -> None:
        """Send a piece of the body."""

    def end_body(self, trailers: list[Pair]) -> None:
        """Send the end of the body."""

    def switch(self) -> ByteStream | None:
        """Return the byte stream after a 101; `None` if the connection is closed already."""

    def progressed(self) -> bool:
        """Return whether any unsent bytes have been sent since the last call."""

    def finish(self) -> None:
        """End the exchange: return the connection to the pool if it can be reused, close it otherwise."""

    def hold(self, owner: object) -> None:
        """Stop reading the response's body until `owner` releases it."""

    def release(self, owner: object) -> None:
        """Resume reading the response's body, if no other owner holds it."""
