"""The states of a connection to an endpoint, and their transitions.

A connection carries one exchange at a time, and is idle in its pool between two of them. The two directions of an
exchange are independent: an endpoint may respond before it has the complete request (RFC 9112 9.5). So during an
exchange, the state combines the progress of both:

                          no head yet    receiving body    response complete
    sending request       SENDING        EARLY             ANSWERED
    request sent          WAITING        RECEIVING         COMPLETE

Transitions go down for the request and right for the response, never back. Only from COMPLETE a connection becomes idle
again, and only if the endpoint keeps it and sent no further byte: after an incomplete request or response, the next
message could be misinterpreted (RFC 9112 9.3, 9.6). From every other state it can only be closed.

Bytes are part of a response only in these six states. Before a request (IDLE, BEGUN) they are unsolicited
(RFC 9112 9.2), as they are after a complete response: both close the connection.

A 101 to a request for it ends HTTP on the connection (RFC 9110 7.8): nothing is read in SWITCHING, and in SWITCHED the
transport belongs to the tunnel, which reports its end to the connection.

CLOSING: closed by the gateway, or by the endpoint while idle, and not yet confirmed by the transport; CLOSED: without a
transport. An exchange in flight then has failed, unless its response was complete, or its body ends with the connection
(RFC 9112 6.3).

Two properties are independent of the state: the holders of reading (`FlowControl`), and whether the endpoint is stalled
(`stalled`).
"""

from __future__ import annotations

from typing import Final


class State:
    """A state: one object for each, compared with `is`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


OPENING: Final = State("opening")  # no transport yet
IDLE: Final = State("idle")  # no exchange
BEGUN: Final = State("begun")  # an exchange, nothing sent yet
SENDING: Final = State("sending")
WAITING: Final = State("waiting")
EARLY: Final = State("early")
RECEIVING: Final = State("receiving")
ANSWERED: Final = State("answered")
COMPLETE: Final = State("complete")
SWITCHING: Final = State("switching")  # a 101 was received, the transport is not handed over yet
SWITCHED: Final = State("switched")
CLOSING: Final = State("closing")
CLOSED: Final = State("closed")

# Not checked at run time, since the look-up would cost more than the transition: methods name the state that they set.
# The tests drive a connection at random and check it against this table: none is missing, and each is seen.
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
