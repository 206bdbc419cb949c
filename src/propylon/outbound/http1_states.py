"""The states of a connection to an endpoint, and which of them may follow each other.

A connection carries one exchange at a time, and rests in its pool between two of them. The two directions of an
exchange move by themselves: an endpoint may answer before it has the whole request (RFC 9112 9.5). So while one is
under way, a state says how far both have come:

                          no head yet    body under way    whole response
    request under way     SENDING        EARLY             ANSWERED
    whole request sent    WAITING        RECEIVING         COMPLETE

The request moves down, the response to the right, and nothing moves back. Only from COMPLETE a connection comes to
rest again, and only if the endpoint keeps it and sent not one byte more: with half a request or half a response on the
line, the next message could be read in two ways (RFC 9112 9.3, 9.6). From every other state it can only be closed.

A byte is an answer only in these six states. Before a request (IDLE, BEGUN) it answers nothing that was asked
(RFC 9112 9.2), behind a whole response it belongs to none: both close the connection.

A 101 to a request that asked for it ends HTTP on the connection (RFC 9110 7.8): nothing is read in SWITCHING, and in
SWITCHED the transport belongs to the tunnel, whose end the connection is told.

CLOSING is closed by the gateway, or by the endpoint while it rested, and the transport has still to confirm it; CLOSED
has no transport any more. An exchange that is under way then has failed, unless its response was complete, or the end
of the connection is the end of its body (RFC 9112 6.3).

Two things are no states, as they go with any: who holds the reading back (`FlowControl`), and whether the endpoint
takes what is written (`stalled`).
"""

from __future__ import annotations

from typing import Final


class State:
    """A state; there is one object for each, compared by `is`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


OPENING: Final = State("opening")  # there is no transport yet
IDLE: Final = State("idle")  # no exchange
BEGUN: Final = State("begun")  # it has an exchange, and nothing of it is sent
SENDING: Final = State("sending")
WAITING: Final = State("waiting")
EARLY: Final = State("early")
RECEIVING: Final = State("receiving")
ANSWERED: Final = State("answered")
COMPLETE: Final = State("complete")
SWITCHING: Final = State("switching")  # a 101 has come, nobody has taken the transport yet
SWITCHED: Final = State("switched")
CLOSING: Final = State("closing")
CLOSED: Final = State("closed")

# The methods of the connection name the state they set: a look-up at each step would cost more than the step. The tests
# drive a connection at random and hold it to this table: no transition is missing here, and none is never seen.
TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    OPENING: frozenset({IDLE}),
    IDLE: frozenset({BEGUN, CLOSING, CLOSED}),
    BEGUN: frozenset({SENDING, WAITING, CLOSING, CLOSED}),
    SENDING: frozenset({WAITING, EARLY, ANSWERED, CLOSING, CLOSED}),
    WAITING: frozenset({RECEIVING, COMPLETE, SWITCHING, CLOSING, CLOSED}),
    EARLY: frozenset({RECEIVING, ANSWERED, CLOSING, CLOSED}),
    RECEIVING: frozenset({COMPLETE, CLOSING, CLOSED}),
    ANSWERED: frozenset({COMPLETE, CLOSING, CLOSED}),
    COMPLETE: frozenset({IDLE, CLOSING, CLOSED}),
    SWITCHING: frozenset({SWITCHED, CLOSING, CLOSED}),
    SWITCHED: frozenset({CLOSING, CLOSED}),
    CLOSING: frozenset({CLOSED}),
    CLOSED: frozenset(),
}
