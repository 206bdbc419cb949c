"""The client side of an exchange, in memory."""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.forward import forward
from propylon.engine.pipeline import settled
from propylon.http.forwarded import Origin, origin
from propylon.http.request_head import RequestFields, RequestLine
from propylon.http.websocket import UPGRADE
from propylon.testing.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.engine.client_certificate import ClientCertificate
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Head
    from propylon.http.headers import Pair
    from propylon.inbound.intake import Intake
    from propylon.testing.messages import ServiceRequest

_PORTS = {"http": b"80", "https": b"443"}
_DEADLINE_SECONDS = 0.02  # maximum delay of a timeout


class MemoryClient(Flow):
    """The client side of one exchange (`Client`), and the source of its body."""

    expects_continue = False  # its body has arrived as far as it is given

    def __init__(
        self, address: str, scheme: str, listener_id: str | None = None, certificate: ClientCertificate | None = None
    ) -> None:
        super().__init__()
        self.listener_id = listener_id
        self.client_certificate = certificate
        self._address, self._scheme = address.encode("ascii"), scheme
        self._done = asyncio.Event()
        self.due = inf
        self.block = b""
        self.received = bytearray()
        self.complete = False
        self.sent: list[ServiceRequest] = []
        self.defect: Exception | None = None

    def begin(self, intake: Intake, method: str, target: str, headers: Iterable[Pair]) -> Exchange:
        """Make an exchange, as a listener's connection does. Raises `Refusal`."""
        rules = intake.snapshot.reader.rules
        line = RequestLine.of(method.encode("latin-1"), target.encode("latin-1"), rules)
        return intake.begin(self, line, RequestFields.of(headers, rules))

    async def carry(self, x: Exchange, pieces: Iterable[bytes]) -> None:
        """Run an exchange to its end. If cancelled, it ends as if the client had closed the connection."""
        watch = asyncio.create_task(self._watch_deadline(x))
        try:
            x.start(forward(x))
            if isinstance(x.body, Body):
                await self._feed(x, x.body, pieces)
            await self._done.wait()
        finally:
            watch.cancel()
            x.fail(GatewayError("relay.client_gone"))
        await settled()

    async def _feed(self, x: Exchange, body: Body, pieces: Iterable[bytes]) -> None:
        size = 0
        for piece in pieces:
            await self.flows()
            size += len(piece)
            if x.body_limit is not None and size > x.body_limit:
                x.fail(GatewayError("request.body_too_large", f"the body is larger than {x.body_limit} bytes"))
            if x.finished:
                return
            if piece:
                body.feed(piece)
            await asyncio.sleep(0)  # so that the pieces are not joined
        if not x.finished:
            body.end([])

    async def _watch_deadline(self, x: Exchange) -> None:
        while not x.finished:
            await asyncio.sleep(_DEADLINE_SECONDS)
            x.check(monotonic())

    @property
    def protocol(self) -> str:
        """The protocol version of the request."""
        return "HTTP/1.1"

    def origin(self, x: Exchange) -> Origin:
        """Return the client's identity, as a connection from its address would."""
        host = x.host.text if x.host is not None else b""
        scheme = self._scheme.encode("ascii")
        return origin(x.snapshot.forwarding, self._address, scheme, host, _PORTS[self._scheme], x.fields.all)

    def send(self, head: Head, added: bytes, body: bytes) -> None:
        """Record a complete response."""
        self._take(head, added)
        self.received += body
        self.complete = True

    def send_head(self, head: Head, added: bytes, length: int) -> None:
        """Record the head of a response."""
        self._take(head, added)

    def send_interim(self, head: Head) -> None:
        """Do nothing: services in memory send no 1xx response."""

    def write_body(self, data: bytes) -> None:
        """Record a piece of the body."""
        self.received += data

    def end_body(self, trailers: list[Pair]) -> None:
        """Record the end of the body."""
        self.complete = True

    def switch(self, head: Head, added: bytes) -> None:
        """Do nothing: services in memory send no 101."""

    def abort(self) -> None:
        """Record that the response is incomplete."""
        self.complete = False

    def _take(self, head: Head, added: bytes) -> None:
        """Record a header section as HTTP/1.1 would write it."""
        own = UPGRADE if head.status == 426 and not self.sent else b""
        self.block = head.block + added + own

    def exchange_done(self, x: Exchange) -> None:
        """Release the body's feeder, and wake `carry`."""
        self.release_all()
        self._done.set()
