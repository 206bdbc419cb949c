"""How long an exchange may take, and how one that goes on for long is ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from propylon.http.websocket import Close


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long an exchange waits for its endpoint, in seconds; `None` waits for ever.

    Attributes:
        connect: to connect, TLS included.
        response: from the request's last byte to the response's head.
        idle: between two reads or writes of a body.
        event_stream: the same of an event stream, which may rest for long.
        total: for the exchange as a whole, up to the response's head.
        policy: for one async policy in one phase.
    """

    connect: float | None = 5.0
    response: float | None = 60.0
    idle: float | None = 60.0
    event_stream: float | None = None
    total: float | None = None
    policy: float | None = 30.0


class Ending(NamedTuple):
    """How a gateway that stops ends what would go on for long.

    Attributes:
        when: the moment (`time.monotonic`) from which on an event stream ends behind its next event.
        close: what both sides of a WebSocket are told then.
    """

    when: float
    close: Close
