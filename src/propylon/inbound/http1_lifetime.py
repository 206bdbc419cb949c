"""Lifetime of an HTTP/1.1 connection: deadlines, keep-alive and closing (RFC 9112 9).

A deadline is a number; `Connections.sweep` compares all of them, and calls `check` when one has passed. Which deadline
a state has is in `http1_state.py`.
"""

from __future__ import annotations

import socket
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.http.websocket import UPGRADE
from propylon.inbound.http1_state import (
    ANSWERING,
    BODY,
    CLOSING,
    DISCARDING,
    EXPECTING,
    HEAD,
    IDLE,
    LINGERING,
    NEW,
    TUNNEL,
    State,
)
from propylon.inbound.http1_writer import CONTINUE, ResponseWriter

if TYPE_CHECKING:
    from propylon.engine.sides import Head
    from propylon.engine.snapshot import Snapshot
    from propylon.engine.timing import Ending
    from propylon.http.body_reader import BodyReader
    from propylon.inbound.intake import Intake

MAX_DISCARD_BYTES: Final = 256 * 1024  # largest rest of a body that is discarded to keep the connection
PROBE_SECONDS: Final = 0.5  # after a client's FIN: time for a quick response before the client is probed
PROBE_AGAIN_SECONDS: Final = 15.0  # until a half-closed client that has passed a probe is probed again
DRAIN_LINGER_SECONDS: Final = 1.0  # limit of `timeouts.linger` while draining
STALL_CHECKS: Final = 4  # of a client that does not read, in one `timeouts.write`; progress restarts the time


class Lifetime(ResponseWriter):
    """The part of a connection that handles deadlines and closing.

    Attributes:
        due: when `check` is due for its exchange.
    """

    __slots__ = (
        "_acknowledged", "_buffer", "_half_closed", "_intake", "_probed", "_progress_at", "_reader", "_state",
        "due",
    )  # fmt: skip

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake
        self._state: State = NEW
        self._buffer = b""  # received and not parsed yet
        self._reader: BodyReader | None = None  # in EXPECTING, BODY and DISCARDING
        self._half_closed = self._probed = False
        self._progress_at = 0.0
        self._acknowledged = 0  # bytes of the response, at `_progress_at`
        self.due = inf

    @property
    def _snapshot(self) -> Snapshot:
        return self.exchange.snapshot if self.exchange is not None else self._intake.snapshot

    # deadlines

    def _rearm(self) -> None:
        """Set the deadline of the current state."""
        timeouts, state = self._snapshot.client_timeouts, self._state
        if self._stalled:
            left = self._progress_at + timeouts.write - monotonic()
            seconds = min(left, timeouts.write / STALL_CHECKS)
        elif state is IDLE:
            seconds = timeouts.keep_alive
        elif state is HEAD:
            seconds = timeouts.header
        elif self._reader is not None:
            seconds = inf if self._holders else timeouts.body
        elif state is LINGERING or state is CLOSING:
            seconds = min(timeouts.linger, DRAIN_LINGER_SECONDS) if self._intake.draining else timeouts.linger
        else:
            seconds = PROBE_SECONDS if state is ANSWERING and self._half_closed else inf
        self.deadline = monotonic() + seconds

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""
        x = self.exchange
        self.due = inf
        if x is not None:
            x.check(now)
        if self.deadline > now:
            return
        self.deadline = inf
        state = self._state
        if self._stalled:
            self._check_stall(now)
        elif state is IDLE or state is DISCARDING:
            self._close()
        elif state is LINGERING or state is CLOSING:
            self.abort()
        elif state is HEAD:
            self._refuse(GatewayError("read.head_timeout", "the request's head did not arrive in time"))
        elif state is BODY or state is EXPECTING:
            self._fail_body(GatewayError("read.body_timeout", "the request's body did not arrive in time"))
        elif state is ANSWERING:
            self._check_client(now)

    def _check_stall(self, now: float) -> None:
        """Abort if the client has read nothing for `timeouts.write`."""
        if self.progressed():  # slow, but reading
            self._progress_at = now
        if now < self._progress_at + self._snapshot.client_timeouts.write:
            self._rearm()
            return
        self._give_up()

    def _watch(self) -> None:
        """Watch that the client acknowledges what is sent, however little: it may have vanished without a FIN."""
        x, seconds = self.exchange, self._snapshot.client_timeouts.write
        if x is not None and self._state is ANSWERING and seconds < inf:
            self._progress_at = monotonic()
            self._acknowledged = x.bytes_out  # or less: then the first check may see no progress, and the next ones do
            self.deadline = self._progress_at + seconds / STALL_CHECKS

    def _check_client(self, now: float) -> None:
        """Abort if nothing was acknowledged for `timeouts.write`; probe a half-closed client.

        If all was acknowledged, the next write watches again: a quiet stream costs nothing.
        """
        x, unsent, write = self.exchange, self._count_unsent(), self._snapshot.client_timeouts.write
        if x is not None and unsent:
            before, self._acknowledged = self._acknowledged, x.bytes_out - unsent
            if self._acknowledged > before:
                self._progress_at = now
            elif now >= self._progress_at + write:
                self._give_up()
                return
            self.deadline = min(self._progress_at + write, now + write / STALL_CHECKS)
        else:
            self._progress_at = now
        if self._half_closed:
            self._probe(now)

    def _give_up(self) -> None:
        """Abort: the client reads nothing."""
        if self.exchange is not None:
            self.exchange.fail(GatewayError("relay.client_stalled"))
        self.abort()

    def _probe(self, now: float) -> None:
        """Detect whether a half-closed client still waits or is gone.

        A FIN ends only the client's direction. An interim response is harmless to a client that waits (RFC 9110 15.2),
        and so is a comment in an event stream; the system of a client that is gone answers with a reset, which sets the
        socket's error.
        """
        x, transport = self.exchange, self._transport
        if x is None or transport is None:
            return
        stream = x.lasting
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
            transport.write(CONTINUE)

    # keeping

    def _connection_fields(self, head: Head) -> bytes:
        """Decide whether the connection is kept, and return the fields for that (RFC 9112 9.3)."""
        x = self.exchange
        if self._buffer and x is not None and x.fields.websocket:
            self._keep = False  # after a failed handshake come frames, not a request
        if self._keep and self._reader is not None and not self._may_discard():
            self._keep = False
        if self._intake.draining:
            self._keep = False
        fields = b"connection: close\r\n" if not self._keep else b"" if self._minor else b"connection: keep-alive\r\n"
        if head.status == 426 and x is not None and x.upstream is None:  # sent by the gateway itself (RFC 9110 15.5.22)
            return UPGRADE + fields
        return fields

    def _may_discard(self) -> bool:
        """Return whether the rest of an unread body is small, certain to arrive, and was not refused."""
        x, reader = self.exchange, self._reader
        if reader is None or self._state is EXPECTING or (x is not None and x.error is not None):
            return False
        return 0 <= reader.left <= MAX_DISCARD_BYTES

    def _become_idle(self) -> None:
        """Wait for the next request (IDLE)."""
        self._state = IDLE
        if self._stalled:
            self._rearm()
        else:
            self.deadline = monotonic() + self._intake.snapshot.client_timeouts.keep_alive

    # ending

    def _linger(self) -> None:
        """Half-close, so that unread bytes do not cause a reset that destroys the response (RFC 9112 9.6)."""
        transport = self._transport
        if transport is None or self._half_closed or not transport.can_write_eof():
            self._close()
            return
        self._state = LINGERING
        self._reader = None
        self._buffer = b""
        self._rearm()
        self.release_all()
        transport.write_eof()

    def _close(self) -> None:
        """Close once everything is written; a client that does not read is aborted at the deadline."""
        self._state = CLOSING
        self._reader = None
        self._rearm()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Abort the connection, so that the client detects an incomplete response; of a tunnel, both sides."""
        if self._transport is not None:
            if self._state is not TUNNEL:  # a tunnel stays one until both sides are closed
                self._state = CLOSING
                self._reader = None
            self._transport.abort()
        if self.exchange is not None and self.exchange.lasting is not None:
            self.exchange.lasting.abort()

    def drain(self, ending: Ending | None) -> None:
        """Close if idle; otherwise after the response, and end a long-lived exchange by `ending`, if given."""
        if self.exchange is not None:
            self._keep = False
            if ending is not None:
                self.exchange.end_by(ending)
        elif self._state is LINGERING or self._state is CLOSING:
            due = self.deadline
            self._rearm()  # the limit is shorter while draining
            self.deadline = min(due, self.deadline)
        elif self._state is DISCARDING:
            self._keep = False
        else:
            self._close()

    # implemented by the connection

    def _refuse(self, error: GatewayError) -> None:
        """Answer an invalid request; then close."""
        raise NotImplementedError

    def _fail_body(self, error: GatewayError) -> None:
        """Fail the exchange: its body is invalid, late or not wanted."""
        raise NotImplementedError
