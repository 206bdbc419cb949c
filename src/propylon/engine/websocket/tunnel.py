"""The tunnel of a WebSocket: it carries an exchange in step 7 after a 101.

Each byte stream has an `End`, which passes its peer's frames on without holding them back (`http/frames.py`). The
tunnel sends frames of its own in between: pings to idle peers, and Close frames with the reason of its end. 1006 is
never sent: it is for a peer's own use when no Close frame arrives (RFC 6455 7.4.1), which happens only in the middle of
a frame that can no longer be completed.

How it ends:

* A peer's Close frame is passed on like any other frame, with code and reason, and so is the answer to it. Then both
  connections are closed.
* A peer is lost without one: the other side is closed with 1001 (client lost) or 1011 (endpoint lost).
* The gateway closes (`close`): both sides are sent a Close frame, and have a few seconds to answer.
"""

from __future__ import annotations

import os
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from propylon.engine.errors import GatewayError
from propylon.engine.websocket.end import End
from propylon.engine.websocket.settings import BACKPRESSURE, CLIENT_GONE, ENDPOINT_GONE, POLICY_FAILED, TOO_OLD
from propylon.http import websocket as ws
from propylon.http.frames import FrameReader
from propylon.http.permessage_deflate import InflatedSize, agreed
from propylon.http.websocket import Close, WebSocketError

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import ByteStream
    from propylon.engine.timing import Ending
    from propylon.engine.websocket.settings import TunnelSettings

CLOSE_SECONDS: Final = 5.0  # for a peer to read what was written, and to answer the Close frame
WATCHES: Final = 4  # in one `timeouts.write`, of peers that are not pinged
STEADY_SECONDS: Final = 10.0  # an endpoint lost earlier counts as a failed attempt, which bounds reconnecting
TOKEN_BYTES: Final = 8  # of the gateway's pings, so that a chain of gateways does not confuse their pongs

_FAILED = frozenset(("tunnel.policy_failed", "request.policy_timeout"))  # closed with 1011, without details


class Traffic(NamedTuple):
    """Counts of one side: data messages started, and bytes with framing."""

    messages: int
    bytes: int


class Tunnel:
    """Two ends, with the events and deadlines of both.

    Attributes:
        client: the end of the client.
        endpoint: the end of the endpoint.
        settings: its settings.
        deadline: when `check` must be called (`time.monotonic`).
        error: why it failed; `None` if a peer or a policy closed it.
        closing: the gateway has closed both sides.
        wants_endpoint: the endpoint is lost, and another one is to be connected.
    """

    __slots__ = (
        "_close_at", "_cut_at", "_exchange", "_extensions", "_ping_at", "_pinged", "_pong_at", "_reason", "_resumed_at",
        "_retry_at", "_token", "_tries", "_watch_at", "client", "closing", "deadline", "endpoint", "error", "settings",
        "wants_endpoint",
    )  # fmt: skip

    def __init__(self, x: Exchange, settings: TunnelSettings, extensions: bytes) -> None:
        """`extensions` are those negotiated by client and endpoint (RFC 6455 9.1)."""
        self._exchange = x
        self.settings = settings
        self._extensions = extensions
        self.client, self.endpoint = self._end(of_client=True), self._end(of_client=False)
        self.client.other, self.endpoint.other = self.endpoint, self.client
        now = monotonic()
        self._ping_at = inf if settings.ping is None else now + settings.ping
        self._close_at = inf if settings.max_age is None else now + settings.max_age
        self._reason = TOO_OLD
        self._cut_at = self._pong_at = inf
        self._watch_at = inf if settings.ping is not None else now + settings.write / WATCHES
        self._pinged: tuple[End, ...] = ()
        self._token = b""
        self.closing = self.wants_endpoint = False
        self._retry_at = inf
        self._resumed_at = -inf
        self._tries = 0
        self.error: GatewayError | None = None
        self.deadline = inf
        self._rearm()

    def _end(self, *, of_client: bool) -> End:
        limits, parameters = self.settings.limits, agreed(self._extensions)
        if not self._exchange.route.pipeline.on_message:
            meter = None
            if limits.message is not None and parameters is not None:
                meter = InflatedSize(limits.message, parameters, "client" if of_client else "server")
            return End(self, FrameReader(of_client, self._extensions, limits, meter), masks=not of_client)
        # It imports the websockets library, and few routes have on_message hooks.
        from propylon.engine.websocket.messages import InspectedEnd

        reader = FrameReader(of_client, self._extensions, limits)
        return InspectedEnd(self, reader, not of_client, self._exchange, parameters)

    @property
    def ended(self) -> bool:
        """Whether both connections are closed."""
        return self.client.gone and self.endpoint.gone

    @property
    def ending(self) -> bool:
        """Whether a Close frame was sent or received, or a connection was lost."""
        return self._cut_at < inf

    def begin(self, client: ByteStream | None, endpoint: ByteStream | None) -> None:
        """Start to relay between two streams; `None` for one whose connection is closed already."""
        self.client.attach(client)
        self.endpoint.attach(endpoint)
        self.client.begin()
        self.endpoint.begin()

    # for policies and the worker

    @property
    def from_client(self) -> Traffic:
        """What the client has sent so far."""
        return Traffic(self.client.reader.messages, self.client.reader.bytes)

    @property
    def from_service(self) -> Traffic:
        """What the service has sent so far, over all its endpoints."""
        return Traffic(self.endpoint.reader.messages, self.endpoint.reader.bytes)

    def close(self, code: int, reason: str = "") -> None:
        """Close both sides; does nothing if the gateway has closed them before.

        Raises:
            ValueError: a code that no Close frame may have (RFC 6455 7.4), or a reason that UTF-8 cannot encode.
        """
        if not ws.may_be_sent(code):
            raise ValueError(f"{code} is no code of a Close frame: it has 1000, 1001, ... or 3000 to 4999")
        reason.encode()
        self._close(Close(code, reason), Close(code, reason))

    def close_at(self, moment: float, close: Close) -> None:
        """Close both sides at `moment` (`time.monotonic`) or earlier."""
        if moment < self._close_at:
            self._close_at = moment
            self._reason = close
            self._rearm()

    def end_by(self, ending: Ending) -> None:
        """Close both sides by `ending`."""
        self.close_at(*ending)

    def send_error(self, error: GatewayError) -> bool:
        """Return `False`: a failed tunnel has sent its Close frames itself."""
        return False

    def comment(self) -> bool:
        """Return `False`: a tunnel sends pings itself."""
        return False

    def abort(self) -> None:
        """Close both connections at once."""
        self.client.abort()
        self.endpoint.abort()

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""
        if self._cut_at <= now:
            self._cut_at = now + CLOSE_SECONDS
            self.abort()
        elif self._close_at <= now:
            self._close_at = inf
            self._close(self._reason, self._reason)
        elif self._retry_at <= now:
            self._retry_at = inf
            self.wants_endpoint = True
            self._exchange.notify()
        else:
            self._check_stalls(now)
            self._check_pongs(now)
            self._check_pings(now)
            self._check_vanished(now)
        self._rearm()

    # events of the ends

    def close_event(self, end: End) -> None:
        """Handle a Close frame of `end`, or the end of its last frame."""
        other = end.other
        other.send_pending_close()
        if end.reader.close is None:
            return
        if not end.reader.muted:  # so it was passed on
            other.close_sent = True
        self._end_soon()

    def lost(self, end: End) -> None:
        """Handle the loss of the connection of `end`: reconnect, or close the other side."""
        if end.gone:
            return
        end.detach()
        other = end.other
        if end is self.endpoint and self._may_reconnect():
            if monotonic() >= self._resumed_at + STEADY_SECONDS:
                self._tries = 0
            self.retry(GatewayError("tunnel.endpoint_lost"))
            other.release(end)
            return
        error = GatewayError("tunnel.client_lost" if end is self.client else "tunnel.endpoint_lost")
        if other.gone:
            if self.ending:
                self._exchange.notify()
            else:  # no client to reconnect for
                self._exchange.fail(error)
            return
        other.reader.mute()  # it cannot be delivered, so no hook runs on it
        if other.reader.close is not None:
            other.send_close(other.reader.close)  # it waits for an answer, which will not arrive
        elif not other.close_sent:
            if not self.closing and self.error is None:
                self.error = error
            other.send_close(CLIENT_GONE if end is self.client else ENDPOINT_GONE)
        self._end_soon()

    def protocol_error(self, end: End, error: WebSocketError) -> None:
        """Handle a violation of the protocol or a limit: close `end` with the reason, and the other side as lost."""
        if self.error is None:
            code = "tunnel.client_broke" if end is self.client else "tunnel.endpoint_broke"
            self.error = GatewayError(code, log=f"{error.code} {error.detail}")
        violation, gone = Close(error.code, error.detail), CLIENT_GONE if end is self.client else ENDPOINT_GONE
        self._close(*((violation, gone) if end is self.client else (gone, violation)))
        end.reader.ignore()
        end.other.send_pending_close()
        end.release_all()
        end.linger()

    def refuse(self, error: GatewayError) -> None:
        """Close both sides: a policy refused a message, failed or timed out."""
        self.error = self.error or error
        close = POLICY_FAILED if error.code in _FAILED else Close(ws.POLICY_VIOLATION, error.code)
        self._close(close, close)

    def stalled(self, end: End) -> None:
        """Handle backpressure: the peer of `end` does not read."""
        if end.close_sent:  # nothing more is written to it
            return
        end.other.hold(end)
        if self.settings.max_buffered is not None:
            self._close_stalled()
            return
        end.stall_at = monotonic() + self.settings.write
        self._rearm()

    # reconnecting

    def _may_reconnect(self) -> bool:
        """Return whether a reconnect is transparent to the client: no incomplete message, and no close under way."""
        return (
            self.settings.reconnect is not None
            and not self.ending
            and not self.client.gone
            and self.endpoint.between_messages
        )

    def retry(self, error: GatewayError) -> None:
        """Handle a lost endpoint, or a failed reconnect: schedule the next attempt, or close."""
        reconnect = self.settings.reconnect
        self.wants_endpoint = False
        if error.code in _FAILED:  # by an on_message hook perhaps, which would fail again each time
            self.refuse(error)
            return
        if reconnect is None or self.ending or self.client.gone or self._tries >= reconnect.attempts:
            if self.error is None and not self.closing:
                self.error = error
            self._close(ENDPOINT_GONE, ENDPOINT_GONE)
            return
        self.client.hold(self)
        pause = reconnect.interval * reconnect.decay ** (self._tries - 1) if self._tries else 0.0
        self._tries += 1
        self._retry_at = monotonic() + pause if pause else inf
        self.wants_endpoint = not pause
        self._rearm()
        self._exchange.notify()

    def replace_endpoint(self, stream: ByteStream | None) -> None:
        """Continue with another endpoint; the rest of an incomplete message is dropped."""
        self.wants_endpoint = False
        before = self.endpoint.reader
        self.client.skip_message()
        made = self.endpoint = self._end(of_client=False)
        made.reader.messages, made.reader.bytes = before.messages, before.bytes
        made.other, self.client.other = self.client, made
        made.attach(stream)
        self._resumed_at = monotonic()
        self.error = None
        if self.client.stall_at < inf:
            self.endpoint.hold(self.client)
        self.client.release(self)
        made.begin()
        self._rearm()

    # ending

    def _close(self, to_client: Close, to_endpoint: Close) -> None:
        if self.closing:
            return
        self.closing = True
        self.client.send_close(to_client)
        self.endpoint.send_close(to_endpoint)
        self._end_soon()
        self._retry_at = inf
        if self.wants_endpoint:
            self._exchange.fail(GatewayError("tunnel.endpoint_lost"))

    def _end_soon(self) -> None:
        """Close the ends with a complete closing handshake; set the deadline of the rest.

        An end of which nothing more is passed on is released from all holds, so that its answer is read. One with an
        incomplete last frame is still subject to backpressure.
        """
        self._cut_at = min(self._cut_at, monotonic() + CLOSE_SECONDS)
        for end in (self.client, self.endpoint):
            if end.other.close_sent or end.other.gone:
                end.release_all()
            if end.close_sent and end.reader.close is not None:
                end.finish()
        self._rearm()

    def _close_stalled(self) -> None:
        if self.error is None:
            self.error = GatewayError("tunnel.backpressure")
        self._close(BACKPRESSURE, BACKPRESSURE)

    # deadlines

    def _rearm(self) -> None:
        self.deadline = min(
            self._cut_at, self._close_at, self._retry_at, self._ping_at, self._pong_at, self._watch_at,
            self.client.stall_at, self.endpoint.stall_at,
        )  # fmt: skip
        self._exchange.check_by(self.deadline)

    def _check_stalls(self, now: float) -> None:
        for end in (self.client, self.endpoint):
            if end.stall_at <= now:
                if end.progressed():  # slow, but it reads
                    end.stall_at = now + self.settings.write
                else:
                    end.stall_at = inf
                    self._close_stalled()

    def _check_pings(self, now: float) -> None:
        if self._ping_at > now or self.settings.ping is None:
            return
        if self.ending:
            self._ping_at = inf
            return
        if self._pong_at < inf:
            self._ping_at = self._pong_at  # one ping at a time
            return
        self._token = self._token or os.urandom(TOKEN_BYTES)
        ends = (self.client, self.endpoint)
        self._pinged = tuple(end for end in ends if end.silent() and end.ping(self._token))
        self._pong_at = now + self.settings.pong_timeout if self._pinged else inf
        self._ping_at = now + self.settings.ping

    def _check_pongs(self, now: float) -> None:
        if self._pong_at > now:
            return
        self._pong_at = inf
        for end in self._pinged:
            if not end.active() and not end.held and not end.gone and end.stall_at == inf:
                self._abort_silent(end)
        self._pinged = ()

    def _check_vanished(self, now: float) -> None:
        """Without pings: abort a peer that acknowledges nothing of what is sent to it."""
        if self._watch_at > now:
            return
        self._watch_at = now + self.settings.write / WATCHES
        for end in (self.client, self.endpoint):
            if not end.gone and end.stall_at == inf and end.deaf_for(now) >= self.settings.write:
                self._abort_silent(end)

    def _abort_silent(self, end: End) -> None:
        code = "tunnel.client_silent" if end is self.client else "tunnel.endpoint_silent"
        self.error = self.error or GatewayError(code)
        end.abort()
