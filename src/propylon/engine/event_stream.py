"""An event stream on its way to the client (`text/event-stream`): the sink of its body, after its chunk policies.

Bytes are passed on as they arrive. As this sink finds the ends of lines and events, the gateway can insert a comment or
an error, hold back an incomplete event, and end the stream after an event. A stream with a content coding or a length
is passed on like any other body.
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

CLIENT_GONE = 499  # the status of failures by a client's disconnect
MAX_HELD_BYTES = 64 * 1024  # of an incomplete event, if only whole events are passed on


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    """Rules for an event stream.

    Attributes:
        heartbeat: idle seconds after which the client is sent a comment; `None` for never.
        error_event: report a failure as an event; then only whole events are passed on.
        max_age: seconds after which the stream is ended, after an event; `None` for never.
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
        "_bom",
        "_boundaries",
        "_end_at",
        "_ended",
        "_ending",
        "_exchange",
        "_flowing",
        "_heartbeat",
        "_held",
        "_inserted",
        "_passed_at",
        "_whole_events",
        "deadline",
    )  # fmt: skip

    def __init__(self, x: Exchange) -> None:
        """Make the sink for the client of `x`, by the exchange's `stream_rules`."""
        rules = x.stream_rules
        self._exchange = x
        self._boundaries = EventBoundaries()
        self._heartbeat = inf if rules.heartbeat is None else rules.heartbeat
        self._whole_events = rules.error_event
        self._held = bytearray()
        self._bom: bytes | None = b""  # possible start of a byte order mark; None after it
        self._inserted = self._flowing = self._ending = self._ended = False
        self._passed_at = monotonic()
        self._end_at = inf if rules.max_age is None else self._passed_at + rules.max_age
        self.deadline = inf
        x.set_lasting(self)
        self._rearm()

    @property
    def ended(self) -> bool:
        """Whether the client has been sent the end."""
        return self._ended

    # the sink

    def write_body(self, data: bytes) -> None:
        """Pass a piece on, or hold back an incomplete event."""
        if self._bom is not None:
            data = self._strip_bom(self._bom + data)
        if self._ended or not data:
            return
        end = self._boundaries.feed(data)
        if self._ending and end:
            self._pass(self._held + data[:end])
            self._end()
        elif self._whole_events:
            self._pass_events(data, end)
        else:
            self._pass(data)

    def end_body(self, trailers: list[Pair]) -> None:
        """Pass on what is held, even an incomplete event, and the end."""
        if self._ended:
            return
        self._ended = True
        if rest := (self._bom or b"") + self._held:
            self._pass(rest)
        self._exchange.client.end_body(trailers)

    def _strip_bom(self, start: bytes) -> bytes:
        """Hold back a byte order mark until a byte follows: it is one only at the start of the stream.

        It is dropped if the gateway has inserted a comment before, as it would be part of the first line.
        """
        if BOM.startswith(start):
            self._bom = start
            return b""
        self._bom = None
        return start.removeprefix(BOM) if self._inserted else start

    def _pass_events(self, data: bytes, end: int) -> None:
        """Pass on the events that end in the first `end` bytes; hold the rest, unless it is too large."""
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

    # inserted by the gateway

    def comment(self) -> bool:
        """Send a comment, which clients ignore, if the last line is complete; return whether it was sent."""
        return self._insert(COMMENT, self._boundaries.at_line_end)

    def send_error(self, error: GatewayError) -> bool:
        """Send a failure as the last event, and the end; return `False` if it is disabled, or too late for it."""
        if not self._whole_events or self._flowing or self._ended or error.status == CLIENT_GONE:
            return False
        import orjson

        data = orjson.dumps({"code": error.code, "request_id": self._exchange.request_id})
        self._ended = True
        self._pass(b"event: error\ndata: %b\n\n" % data)
        self._exchange.client.end_body([])
        return True

    def _insert(self, text: bytes, possible: bool) -> bool:
        """Send `text` if `possible`, or if an event is held back; return whether it was sent."""
        if self._ended or not (possible or self._held) or self._held.startswith(BOM):
            return False
        self._inserted = True
        self._pass(text)
        return True

    def abort(self) -> None:
        """Do nothing: the client's connection is all there is."""

    # deadlines

    def end_by(self, ending: Ending) -> None:
        """End the stream after an event, from `ending.when` on or earlier."""
        self._end_at = min(self._end_at, ending.when)
        self._rearm()

    def check(self, now: float) -> None:
        """End the stream at its end time; send a heartbeat if it is idle."""
        if self._ended:
            return
        if self._end_at <= now:
            self._ending = True
            if self._boundaries.at_event_end:
                self._end()
                return
        if self._passed_at + self._heartbeat <= now:
            self._insert(HEARTBEAT, self._boundaries.at_event_end)
            self._passed_at = now  # also if none was sent, as an event is incomplete
        self._rearm()

    def _rearm(self) -> None:
        silent = self._passed_at + self._heartbeat
        self.deadline = silent if self._ending else min(silent, self._end_at)
        self._exchange.check_by(self.deadline)

    def _end(self) -> None:
        """End the response, and settle the attempt."""
        self._ended = True
        x = self._exchange
        x.client.end_body([])
        x.end_attempt()
        x.notify()
