"""Request bodies of an HTTP/1.1 connection: reading, 100 (Continue), refusal, discarding (RFC 9112 6, 9.3).

A body received completely with its head is `bytes` and needs no state. For any other there is a `BodyReader` in the
states EXPECTING, BODY and DISCARDING only.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.http.body_reader import BodyReader
from propylon.http.refusal import Refusal
from propylon.inbound.http1_lifetime import Lifetime
from propylon.inbound.http1_state import ANSWERING, BODY, DISCARDING, EXPECTING
from propylon.inbound.http1_writer import CONTINUE

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.http.request_head import RequestFields
    from propylon.inbound.intake import Intake

CUT_OFF: Final = "the connection was closed before the body was complete"


class RequestBodies(Lifetime):
    """The part of a connection that reads bodies, and their source (`BodySource`)."""

    __slots__ = ("_body",)

    def __init__(self, intake: Intake) -> None:
        super().__init__(intake)
        self._body: Body | None = None

    def _begin_body(self, x: Exchange, fields: RequestFields) -> None:
        """Begin the body with the bytes received with the head."""
        reader = BodyReader(fields.length, "read.bad_chunk")
        pieces = reader.feed(self._buffer)
        if reader.done:
            self._state = ANSWERING
            x.bytes_in += len(self._buffer) - len(reader.rest)
            self._buffer = reader.rest
            x.body = b"".join(pieces)
            return
        x.bytes_in += len(self._buffer)
        expects = fields.expects_continue and self._minor == 1 and not reader.size
        self._state = EXPECTING if expects else BODY
        self._buffer = b""
        self._reader = reader
        self._body = x.body = Body(self, fields.length)
        for piece in pieces:
            self._body.feed(piece)
        if self._half_closed:
            self._stop_reading()
            x.refusal = GatewayError("read.unexpected_eof", CUT_OFF)

    def _feed(self, data: bytes) -> None:
        """Handle more bytes of the body."""
        reader, body, x = self._reader, self._body, self.exchange
        assert reader is not None
        assert body is not None
        assert x is not None
        try:
            pieces = reader.feed(data)
        except Refusal as refusal:
            self._fail_body(GatewayError(refusal.code, refusal.detail))
            return
        x.bytes_in += len(data) - len(reader.rest)
        if x.body_limit is not None and reader.size > x.body_limit:
            self._fail_body(GatewayError("request.body_too_large", f"the body is larger than {x.body_limit} bytes"))
            return
        for piece in pieces:
            body.feed(piece)
        if self._reader is None:  # this has ended the exchange and the connection
            return
        if not reader.done:
            self._rearm_body()
        elif self.exchange is None:
            self._end_discarding(reader)
        else:
            self._end_body(body, reader)

    def _end_body(self, body: Body, reader: BodyReader) -> None:
        self._state = ANSWERING
        self._reader = self._body = None
        self.deadline = inf
        if reader.rest:
            self._buffer_pipelined(reader.rest)
        body.end(reader.trailers)

    def _abandon_body(self) -> None:
        """After an exchange that did not read the whole body: discard the rest of it, or close."""
        if self._body is not None:
            self._body.detach()
            self._body = None
        self.release_all()
        if not self._keep or self._intake.draining:
            self._linger()
        else:
            self._state = DISCARDING
            self._rearm()

    def _discard(self, data: bytes) -> None:
        """Drop more bytes of an abandoned body."""
        reader = self._reader
        assert reader is not None
        reader.feed(data)  # with a Content-Length no byte can be malformed
        if reader.done:
            self._end_discarding(reader)
        else:
            self._rearm_body()

    def _end_discarding(self, reader: BodyReader) -> None:
        self._reader = None
        self._buffer = reader.rest
        self._next()

    def _rearm_body(self) -> None:
        if not self._stalled and not self._holders:
            self.deadline = monotonic() + self._snapshot.client_timeouts.body

    def _fail_body(self, error: GatewayError) -> None:
        x = self.exchange
        self._stop_reading()
        if x is not None:
            x.fail(error)

    def _stop_reading(self) -> None:
        """Read nothing more from this client: what follows cannot be trusted, or is not wanted."""
        self._state = ANSWERING
        self._keep = False
        self._reader = self._body = None
        self._buffer = b""
        self.deadline = inf

    def body_wanted(self) -> None:
        """Send 100 (Continue) if the client expects it; from now on the body's deadline applies."""
        if self._state is EXPECTING and self._transport is not None:
            self._state = BODY
            self._transport.write(CONTINUE)
        if self._reader is not None:
            self._rearm()

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 (Continue)."""
        return self._state is EXPECTING

    def hold(self, owner: object) -> None:
        """Pause reading until `owner` releases it, without a deadline for the client."""
        super().hold(owner)
        if self._reader is not None and not self._stalled:
            self.deadline = inf

    def _released(self) -> None:
        """Resume reading."""
        if self._transport is not None:
            self._transport.resume_reading()
            if self._reader is not None:
                self.deadline = monotonic() + self._snapshot.client_timeouts.body

    def _buffer_pipelined(self, data: bytes) -> None:
        """Buffer pipelined bytes up to a limit, then apply backpressure."""
        self._buffer += data
        if len(self._buffer) > self._snapshot.limits.pipeline_buffer:
            self.hold(self)

    def _next(self) -> None:
        """After a request: serve the next one, become idle, or close."""
        raise NotImplementedError
