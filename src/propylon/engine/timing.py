"""How long an exchange may take, and how one that goes on for long is ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from propylon.engine.errors import GatewayError
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


class Lasting(Protocol):
    """What carries an exchange for long: an event stream, or the tunnel behind a 101.

    Attributes:
        deadline: when `check` has something to do (`time.monotonic`); whoever lowers it tells `Exchange.check_by`.
    """

    deadline: float

    @property
    def ended(self) -> bool:
        """Whether the client has been sent the end."""

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""

    def end_by(self, ending: Ending) -> None:
        """End in good order from a moment on, unless it ends before."""

    def abort(self) -> None:
        """The client's connection is cut: cut what else there is."""

    def tell(self, error: GatewayError) -> bool:
        """Say to the client why it ends, and end; `False` if that cannot be said."""

    def comment(self) -> bool:
        """Send what a client ignores, to see whether it is there; `False` if that is not possible now."""
