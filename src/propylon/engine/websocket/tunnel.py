"""A WebSocket on its way through the gateway: what carries an exchange in step 7 behind a 101.

Both byte streams are handed over to an `End` each, which passes on what its peer sends, frame by frame, without holding
it back (`http/frames.py`). A tunnel knows where frames end, so it can speak itself in between: it pings who has been
silent, and tells both sides by a Close frame why it ends. 1006 is never sent: it is what a peer notes for itself when
no Close frame came, and that happens only in the middle of a frame that can no longer become whole.

How it ends, whoever begins:

* A peer's Close frame is passed on like any other frame, code and reason included, and so is the answer to it. Both
  connections are closed then.
* A peer that goes away without one: the other side is told 1001 (the client has gone) or 1011 (the endpoint has).
* The gateway itself (`close`): both sides are told, and have a few seconds to answer.
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
from propylon.http.websocket import Close, WebSocketError

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import ByteStream
    from propylon.engine.timing import Ending
    from propylon.engine.websocket.settings import TunnelSettings

CLOSE_SECONDS: Final = 5.0  # for a peer to answer a Close frame, and to take what was written before it
STEADY_SECONDS: Final = 10.0  # an endpoint that is lost before counts as one more failed try, or it would be for ever
TOKEN_BYTES: Final = 8  # of the gateway's own pings: two gateways in a row must not take each other's pongs

_FAILED = frozenset(("tunnel.policy_failed", "request.policy_timeout"))  # of which no peer is told more than 1011


class Traffic(NamedTuple):
    """What has come from one side: data messages that have begun, and bytes with all their framing."""

    messages: int
    bytes: int


class Tunnel:
    """Two ends, and what is between them.

    Attributes:
        client: the end where the client is.
        endpoint: the end where the endpoint is.
        settings: how it is watched.
        deadline: when `check` has to look at it (`time.monotonic`).
        error: why it ended, unless a Close frame of a peer or of a policy ended it.
        wants_endpoint: the endpoint has gone, and another one is to take its place.
    """

    __slots__ = (
        "_close_at",
        "_closing",
        "_cut_at",
        "_exchange",
        "_extensions",
        "_ping_at",
        "_pinged",
        "_pong_at",
        "_reason",
        "_resumed_at",
        "_retry_at",
        "_token",
        "_tries",
        "client",
        "deadline",
        "endpoint",
        "error",
        "settings",
        "wants_endpoint",
    )  # fmt: skip

    def __init__(self, x: Exchange, settings: TunnelSettings, extensions: bytes) -> None:
        """`extensions` are those that client and endpoint have agreed on (RFC 6455 9.1)."""
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
        self._pinged: tuple[End, ...] = ()
        self._token = b""
        self._closing = self.wants_endpoint = False
        self._retry_at = inf
        self._resumed_at = -inf
        self._tries = 0
        self.error: GatewayError | None = None
        self.deadline = inf
        self._rearm()

    def _end(self, *, of_client: bool) -> End:
        reader = FrameReader(of_client, self._extensions, self.settings.limits)
        if not self._exchange.route.pipeline.on_message:
            return End(self, reader, masks=not of_client)
        # It imports the websockets library, and few routes look into messages.
        from propylon.engine.websocket.messages import InspectedEnd

        return InspectedEnd(self, reader, not of_client, self._exchange, self._extensions)

    @property
    def ended(self) -> bool:
        """Whether both connections are closed."""
        return self.client.gone and self.endpoint.gone

    @property
    def ending(self) -> bool:
        """Whether a side has closed, or was told to."""
        return self._cut_at < inf

    def begin(self, client: ByteStream | None, endpoint: ByteStream | None) -> None:
        """Carry what comes from the two streams; `None` is one whose connection is closed already."""
        self.client.take_over(client)
        self.endpoint.take_over(endpoint)
        self.client.begin()
        self.endpoint.begin()

    # what policies and the worker use

    @property
    def from_client(self) -> Traffic:
        """What has come from the client so far."""
        return Traffic(self.client.reader.messages, self.client.reader.bytes)

    @property
    def from_service(self) -> Traffic:
        """What has come from the service so far, whichever endpoint it was."""
        return Traffic(self.endpoint.reader.messages, self.endpoint.reader.bytes)

    def close(self, code: int, reason: str = "") -> None:
        """Close both sides; nothing happens if that has begun.

        Raises:
            ValueError: a code that no Close frame may have (RFC 6455 7.4), or a reason that UTF-8 cannot say.
        """
        if not ws.may_be_sent(code):
            raise ValueError(f"{code} is no code of a Close frame: it has 1000, 1001, ... or 3000 to 4999")
        reason.encode()
        self._close(Close(code, reason), Close(code, reason))

    def close_at(self, moment: float, close: Close) -> None:
        """Close both sides at `moment` (`time.monotonic`), if they are still open then."""
        if moment < self._close_at:
            self._close_at = moment
            self._reason = close
            self._rearm()

    def end_by(self, ending: Ending) -> None:
        """Close both sides as a gateway does that stops."""
        self.close_at(*ending)

    def tell(self, error: GatewayError) -> bool:
        """A tunnel that has failed has told both sides by itself, as far as they could still be told."""
        return False

    def comment(self) -> bool:
        """A tunnel pings."""
        return False

    def abort(self) -> None:
        """Cut both connections."""
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
        self._rearm()

    # what the ends tell

    def noticed(self, end: End) -> None:
        """A Close frame has come from `end`, or its last frame has ended."""
        other = end.other
        other.say_pending()
        if end.reader.close is None:
            return
        if not end.reader.muted:  # so it was passed on
            other.close_sent = True
        self._end_soon()

    def lost(self, end: End) -> None:
        """The connection of `end` has ended; the other side is told."""
        if end.gone:
            return
        end.leave()
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
            else:  # there is nobody left to find another endpoint for
                self._exchange.fail(error)
            return
        other.reader.mute()  # nobody is left to get it, so no policy need see it
        if other.reader.close is not None:
            other.say(other.reader.close)  # it waits for an answer that will not come
        elif not other.close_sent:
            if not self._closing and self.error is None:
                self.error = error
            other.say(CLIENT_GONE if end is self.client else ENDPOINT_GONE)
        self._end_soon()

    def broken(self, end: End, error: WebSocketError) -> None:
        """What `end` sent breaks the protocol or a limit: it is told which, and the other side that it is gone."""
        if self.error is None:
            code = "tunnel.client_broke" if end is self.client else "tunnel.endpoint_broke"
            self.error = GatewayError(code, log=f"{error.code} {error.detail}")
        told, gone = Close(error.code, error.detail), CLIENT_GONE if end is self.client else ENDPOINT_GONE
        self._close(*((told, gone) if end is self.client else (gone, told)))
        end.reader.ignore()
        end.other.say_pending()
        end.release_all()
        end.linger()

    def refuse(self, error: GatewayError) -> None:
        """A policy does not accept a message, or failed on it, or took too long over it."""
        self.error = self.error or error
        close = POLICY_FAILED if error.code in _FAILED else Close(ws.POLICY_VIOLATION, error.code)
        self._close(close, close)

    def stalled(self, end: End) -> None:
        """The peer of `end` does not take what is written to it."""
        if end.close_sent:  # nothing more of the other side goes there
            return
        end.other.hold(end)
        if self.settings.max_buffered is not None:
            self._give_up()
            return
        end.stall_at = monotonic() + self.settings.write
        self._rearm()

    # another endpoint

    def _may_reconnect(self) -> bool:
        """Say whether a client would not notice: nothing is half said to it, and nobody has begun to close."""
        return (
            self.settings.reconnect is not None
            and not self.ending
            and not self.client.gone
            and self.endpoint.between_messages
        )

    def retry(self, error: GatewayError) -> None:
        """Learn that the endpoint has gone, or that no other one could be had: try later, or give up."""
        reconnect = self.settings.reconnect
        self.wants_endpoint = False
        if error.code in _FAILED:  # of on_message perhaps, and then it would never end
            self.refuse(error)
            return
        if reconnect is None or self.ending or self.client.gone or self._tries >= reconnect.attempts:
            if self.error is None and not self._closing:
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
        """Go on with another endpoint; what the last one did not get of a message is lost."""
        self.wants_endpoint = False
        before = self.endpoint.reader
        self.client.skip_message()
        made = self.endpoint = self._end(of_client=False)
        made.reader.messages, made.reader.bytes = before.messages, before.bytes
        made.other, self.client.other = self.client, made
        made.take_over(stream)
        self._resumed_at = monotonic()
        self.error = None
        if self.client.stall_at < inf:
            self.endpoint.hold(self.client)
        self.client.release(self)
        made.begin()
        self._rearm()

    # ending

    def _close(self, to_client: Close, to_endpoint: Close) -> None:
        if self._closing:
            return
        self._closing = True
        self.client.say(to_client)
        self.endpoint.say(to_endpoint)
        self._end_soon()
        self._retry_at = inf
        if self.wants_endpoint:
            self._exchange.fail(GatewayError("tunnel.endpoint_lost"))

    def _end_soon(self) -> None:
        """Close what is said and answered; the rest has a few seconds.

        An end of which nothing is passed on any more is read, whoever holds it: its answer may come. One whose last
        frame is still under way waits for the other side, as ever.
        """
        self._cut_at = min(self._cut_at, monotonic() + CLOSE_SECONDS)
        for end in (self.client, self.endpoint):
            if end.other.close_sent or end.other.gone:
                end.release_all()
            if end.close_sent and end.reader.close is not None:
                end.finish()
        self._rearm()

    def _give_up(self) -> None:
        if self.error is None:
            self.error = GatewayError("tunnel.backpressure")
        self._close(BACKPRESSURE, BACKPRESSURE)

    # deadlines

    def _rearm(self) -> None:
        self.deadline = min(
            self._cut_at, self._close_at, self._retry_at, self._ping_at, self._pong_at,
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
                    self._give_up()

    def _check_pings(self, now: float) -> None:
        if self._ping_at > now or self.settings.ping is None:
            return
        if self.ending:
            self._ping_at = inf
            return
        if self._pong_at < inf:
            self._ping_at = self._pong_at  # one question at a time
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
            if not end.heard() and not end.held and not end.gone and end.stall_at == inf:
                code = "tunnel.client_silent" if end is self.client else "tunnel.endpoint_silent"
                self.error = self.error or GatewayError(code)
                end.abort()
        self._pinged = ()
