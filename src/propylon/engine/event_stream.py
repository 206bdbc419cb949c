"""An event stream on its way to the client (`text/event-stream`): the sink behind its body and its chunk policies.

What comes is passed on as it comes. Because this sink knows where lines and events end, the gateway can do three things
without harm: say something of its own (a comment, an error), hold back the beginning of an event, and end the stream
behind one. A stream that is encoded, or has a length, never comes here: it passes as any other body.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.http.sse import BOM, COMMENT, HEARTBEAT, EventBoundaries

if TYPE_CHECKING:
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.timing import Ending
    from propylon.http.headers import Pair

CLIENT_GONE = 499  # the status of failures that there is nobody to tell of
MAX_HELD_BYTES = 64 * 1024  # of an event under way, where only whole events are passed on


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    """What the gateway does with an event stream besides passing it on.

    Attributes:
        heartbeat: seconds without a byte after which the client gets a comment; `None` for never.
        error_event: tell a failure as an event; for that, only whole events are passed on.
        max_age: seconds after which the stream is ended behind an event; `None` for never.
    """

    heartbeat: float | None = None
    error_event: bool = False
    max_age: float | None = None


NO_RULES = StreamRules()


class EventStream:
    """The sink of one event stream.

    Attributes:
        deadline: when `check` has something to do (`time.monotonic`).
    """

    __slots__ = (
        "_boundaries", "_end_at", "_ended", "_ending", "_exchange", "_flowing", "_heartbeat", "_held", "_mark",
        "_passed_at", "_spoken", "_whole", "deadline",
    )  # fmt: skip

    def __init__(self, x: Exchange) -> None:
        """Stand between a body and the client of `x`, by the exchange's `stream_rules`."""
        rules = x.stream_rules
        self._exchange = x
        self._boundaries = EventBoundaries()
        self._heartbeat = inf if rules.heartbeat is None else rules.heartbeat
        self._whole = rules.error_event
        self._held = bytearray()
        self._mark: bytes | None = b""  # what may be a byte order mark in front of everything; None behind it
        self._spoken = self._flowing = self._ending = self._ended = False
        self._passed_at = monotonic()
        self._end_at = inf if rules.max_age is None else self._passed_at + rules.max_age
        self.deadline = inf
        x.last(self)
        self._rearm()

    @property
    def ended(self) -> bool:
        """Whether the client has been sent the end."""
        return self._ended

    # the body's side

    def write_body(self, data: bytes) -> None:
        """Pass a piece on, or hold back the event that it begins."""
        if self._mark is not None:
            data = self._behind_mark(self._mark + data)
        if self._ended or not data:
            return
        end = self._boundaries.feed(data)
        if self._ending and end:
            self._pass(self._held + data[:end])
            self._end()
        elif self._whole:
            self._pass_whole(data, end)
        else:
            self._pass(data)

    def end_body(self, trailers: list[Pair]) -> None:
        """Pass on what is held, though it is no whole event, and the end."""
        if self._ended:
            return
        self._ended = True
        if rest := (self._mark or b"") + self._held:
            self._pass(rest)
        self._exchange.client.end_body(trailers)

    def _behind_mark(self, start: bytes) -> bytes:
        """Hold back a byte order mark until a byte follows: it counts only in front of everything.

        Where the gateway has spoken first, it would spoil the first line, and is dropped.
        """
        if BOM.startswith(start):
            self._mark = start
            return b""
        self._mark = None
        return start.removeprefix(BOM) if self._spoken else start

    def _pass_whole(self, data: bytes, end: int) -> None:
        """Pass on the events that end in the first `end` bytes; hold what follows, unless it is too large."""
        if end:
            self._flowing = False
            self._pass(self._held + data[:end] if self._held else data[:end])
            self._held.clear()
            data = data[end:]
        if self._flowing:
            self._pass(data)
            return
        self._held += data
        if len(self._held) > MAX_HELD_BYTES:
            self._flowing = True
            self._pass(self._held)
            self._held.clear()

    def _pass(self, data: bytes | bytearray) -> None:
        if self._heartbeat < inf:
            self._passed_at = monotonic()
        self._exchange.client.write_body(bytes(data))

    # what the gateway says

    def comment(self) -> bool:
        """Send a line that clients ignore, if the client stands between two lines; tell whether it was sent."""
        return self._speak(COMMENT, self._boundaries.at_line_end)

    def tell(self, error: GatewayError) -> bool:
        """Send a failure as the last event, and the end; False if that is not wanted, or not possible any more."""
        if not self._whole or self._flowing or self._ended or error.status == CLIENT_GONE:
            return False
        import orjson

        data = orjson.dumps({"code": error.code, "request_id": self._exchange.request_id})
        self._ended = True
        self._pass(b"event: error\ndata: %b\n\n" % data)
        self._exchange.client.end_body([])
        return True

    def _speak(self, text: bytes, possible: bool) -> bool:
        """Send `text` if the client stands where it may, that is also in front of an event that is held."""
        if self._ended or not (possible or self._held) or self._held.startswith(BOM):
            return False
        self._spoken = True
        self._pass(text)
        return True

    def abort(self) -> None:
        """There is nothing but the client's connection."""

    # time

    def end_by(self, ending: Ending) -> None:
        """End the stream behind an event from a moment on, if it is not to be ended before."""
        self._end_at = min(self._end_at, ending.when)
        self._rearm()

    def check(self, now: float) -> None:
        """End a stream whose time is over; send a heartbeat into the silence of another."""
        if self._ended:
            return
        if self._end_at <= now:
            self._ending = True
            if self._boundaries.at_event_end:
                self._end()
                return
        if self._passed_at + self._heartbeat <= now:
            self._speak(HEARTBEAT, self._boundaries.at_event_end)
            self._passed_at = now  # also if it was not possible: an event is under way
        self._rearm()

    def _rearm(self) -> None:
        silent = self._passed_at + self._heartbeat
        self.deadline = silent if self._ending else min(silent, self._end_at)
        self._exchange.check_by(self.deadline)

    def _end(self) -> None:
        """End the response here, and give the endpoint up."""
        self._ended = True
        x = self._exchange
        x.client.end_body([])
        x.end_attempt()
        x.notify()
