"""Timeouts of an exchange, and the Protocol of long-lived responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from propylon.engine.errors import GatewayError
    from propylon.http.websocket import Close


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts of an exchange in seconds; `None` for none.

    Attributes:
        connect: to connect, TLS included.
        response: from the request's last byte to the response's head.
        idle: between two reads or writes of a body.
        event_stream: between two reads of an event stream, which may be idle for long.
        total: from the request to the response's head, over all attempts.
        expect: for a 100 (Continue) of the service, before the client is asked for its body; `None` for no wait.
        policy: for one async policy in one phase.
    """

    connect: float | None = 5.0
    response: float | None = 60.0
    idle: float | None = 60.0
    event_stream: float | None = None
    total: float | None = None
    expect: float | None = 1.0
    policy: float | None = 30.0


class Ending(NamedTuple):
    """How long-lived responses are ended when the gateway stops.

    Attributes:
        when: time (`time.monotonic`) from which an event stream ends after its next event.
        close: the Close frame for both sides of a WebSocket at that time.
    """

    when: float
    close: Close


class Lasting(Protocol):
    """A long-lived response: an event stream, or the tunnel after a 101.

    Attributes:
        deadline: when `check` must be called (`time.monotonic`); lowering it requires `Exchange.check_by`.
    """

    deadline: float

    @property
    def ended(self) -> bool:
        """Whether the client has been sent the end."""

    def check(self, now: float) -> None:
        """Act on deadlines that have passed."""

    def end_by(self, ending: Ending) -> None:
        """End gracefully, by `ending` or earlier."""

    def abort(self) -> None:
        """Close the other connections at once: the client's is closed."""

    def send_error(self, error: GatewayError) -> bool:
        """Send the client the failure, and end; return `False` if that is not possible."""

    def comment(self) -> bool:
        """Send bytes that a client ignores, to probe the connection; return `False` if that is not possible now."""
