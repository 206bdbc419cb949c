"""The states of an HTTP/1.1 connection from a client, and their transitions.

A connection carries one exchange after the other (RFC 9112 9.3), so the state has two components: how much of the
current request has been read, and whether its exchange is in flight.

                        request not begun   head being read   body being read       request read
    no exchange         IDLE, PIPELINED     HEAD              DISCARDING            -
    exchange in flight  -                   -                 EXPECTING, BODY       ANSWERING, TUNNEL

NEW comes before these states; LINGERING, CLOSING and CLOSED come after them.

    NEW         no transport yet
    IDLE        waits for a request; at most an empty line of the next one has arrived (RFC 9112 2.2)
    HEAD        a part of a head has arrived
    PIPELINED   further requests have arrived (RFC 9112 9.3.2); they wait for their turn, or for the client to read
    EXPECTING   the client waits for 100 (Continue) before it sends the body (RFC 9110 10.1.1)
    BODY        the body is being passed on
    ANSWERING   nothing more is read for this request: it is complete, or the rest is not wanted
    DISCARDING  the response is sent; the rest of the body is read and dropped, so that the connection can be kept
    LINGERING   our FIN is sent; received bytes are dropped until the client closes too (RFC 9112 9.6)
    CLOSING     the transport is closing or aborting
    TUNNEL      a 101 was sent, and the WebSocket tunnel owns the transport
    CLOSED      no transport; an exchange in flight fails, that of a tunnel after it has closed the endpoint's side

Each state has its deadline; for a client that does not read, in any state, `timeouts.write` replaces it.

    IDLE                  timeouts.keep_alive
    HEAD                  timeouts.header, from the first byte
    EXPECTING             none, until the body is wanted
    BODY, DISCARDING      timeouts.body, from the last byte; none while reading is paused
    ANSWERING             none; after a FIN, PROBE_SECONDS until the client is probed; while a body is written,
                          timeouts.write for a client that acknowledges nothing
    LINGERING, CLOSING    timeouts.linger
    all others            none

Three flags are independent of the state: the client has sent its FIN (`_half_closed`: it may still wait for responses;
`_probed`: a probe was sent), it does not read (`_stalled`), and the connection is kept after this exchange (`_keep`).
`_serving` only prevents recursion: the loop that begins requests continues with PIPELINED ones.

`TRANSITIONS` is not checked at run time: each method names the state that it sets. The tests use a connection that
refuses any other transition, and cover each of these with random events.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """A state; `repr` of the connection shows its value."""

    NEW = "new"
    IDLE = "idle"
    HEAD = "head"
    PIPELINED = "pipelined"
    EXPECTING = "expecting"
    BODY = "body"
    ANSWERING = "answering"
    DISCARDING = "discarding"
    LINGERING = "lingering"
    CLOSING = "closing"
    TUNNEL = "tunnel"
    CLOSED = "closed"


# Module constants, since each access to an attribute of the class is a look-up. They are typed as `State` and not as
# the member: otherwise a type checker would assume that a method call cannot change the state.
NEW: Final[State] = State.NEW
IDLE: Final[State] = State.IDLE
HEAD: Final[State] = State.HEAD
PIPELINED: Final[State] = State.PIPELINED
EXPECTING: Final[State] = State.EXPECTING
BODY: Final[State] = State.BODY
ANSWERING: Final[State] = State.ANSWERING
DISCARDING: Final[State] = State.DISCARDING
LINGERING: Final[State] = State.LINGERING
CLOSING: Final[State] = State.CLOSING
TUNNEL: Final[State] = State.TUNNEL
CLOSED: Final[State] = State.CLOSED

_BEGUN = {EXPECTING, BODY, ANSWERING}  # a request has begun; one that is refused is ANSWERING
_BETWEEN = {IDLE, PIPELINED, LINGERING}  # after an exchange
_GONE = {CLOSING, CLOSED}  # by a deadline, drain, a failure or the client

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    NEW: frozenset({IDLE, ANSWERING}),
    IDLE: frozenset(_BEGUN | _GONE | {HEAD, PIPELINED}),
    HEAD: frozenset(_BEGUN | _GONE | {IDLE, PIPELINED}),
    PIPELINED: frozenset(_BEGUN | _GONE | {IDLE, HEAD}),
    EXPECTING: frozenset(_GONE | {BODY, ANSWERING, LINGERING}),
    BODY: frozenset(_GONE | {ANSWERING, DISCARDING, LINGERING}),
    ANSWERING: frozenset(_BETWEEN | _GONE | {TUNNEL}),
    DISCARDING: frozenset(_BETWEEN | _GONE),
    LINGERING: frozenset(_GONE),
    CLOSING: frozenset({CLOSED}),
    TUNNEL: frozenset(_GONE),
    CLOSED: frozenset(),
}
