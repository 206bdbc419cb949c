"""The states of an HTTP/1.1 connection from a client, and which may follow which.

A connection carries one exchange after the other (RFC 9112 9.3), so what it may do next depends on two things: how much
of the request under way has been read, and whether its exchange is over. Together they are the state:

                        request not begun   head being read   body being read       request read
    no exchange         IDLE, PIPELINED     HEAD              DISCARDING            -
    exchange under way  -                   -                 EXPECTING, BODY       ANSWERING, TUNNEL

NEW is before all that; LINGERING, CLOSING and CLOSED are behind it.

    NEW         no transport yet
    IDLE        waits for a request; of the next one at most an empty line is there (RFC 9112 2.2)
    HEAD        a part of a head has arrived
    PIPELINED   further requests have arrived (RFC 9112 9.3.2); they wait for their turn, or for the client to read
    EXPECTING   the client waits for 100 (Continue) before it sends the body (RFC 9110 10.1.1)
    BODY        the body is on its way to whoever takes it
    ANSWERING   nothing more is read for this request: it is whole, or what is missing of it is not wanted any more
    DISCARDING  the answer is out; what is left of the body is read and dropped, so that the connection can be kept
    LINGERING   our FIN is sent; what still comes is dropped until the client closes too (RFC 9112 9.6)
    CLOSING     the transport was told to close, or to abort
    TUNNEL      a 101 was sent, and a WebSocket has the transport
    CLOSED      no transport any more; an exchange that is not over ends, and that of a tunnel tells its endpoint first

Each state has its deadline; for a client that does not read, in any state, `timeouts.write` takes its place.

    IDLE                  timeouts.keep_alive
    HEAD                  timeouts.header, from its first byte
    EXPECTING             none, until the body is wanted
    BODY, DISCARDING      timeouts.body, from the last byte; none while the body is held back
    ANSWERING             none; behind a FIN, until the client is probed
    LINGERING, CLOSING    timeouts.linger
    all others            none

Three facts are independent of the state, and so stand beside it: the client has sent its FIN (`_half_closed`: it may
still wait for answers; `_probed`: it was asked), it does not read (`_stalled`), and the connection is kept behind this
exchange (`_keep`). `_serving` is about the stack alone: the loop that begins requests goes on with what is PIPELINED.

`TRANSITIONS` is not asked while requests are served. Each method names the state that it sets; the tests run on a
connection that refuses any other step, and look for each of these by random events.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """What a connection is about; the value is what `repr` shows."""

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


# Names of the module, since an attribute of a class is looked up for each use. They are typed as `State` and not as
# the one member, for a type checker would hold a state for unchanged that a method has changed.
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

_BEGUN = {EXPECTING, BODY, ANSWERING}  # a request: its exchange is under way; one that is refused is ANSWERING
_BETWEEN = {IDLE, PIPELINED, LINGERING}  # what an exchange leaves behind that is over
_GONE = {CLOSING, CLOSED}  # from anywhere: a deadline, the end of the worker, a failure, the client

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
