"""The load of long-lived streams: WebSockets that echo and readers of events, C programs on the load's core."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench import measure
from bench.drive import held, pinned
from bench.errors import Unavailable
from bench.processes import Command, Running
from bench.tools import c_program

ECHO = "/service/echo"
EVENTS = "/service/events"
PUBLISH = "/service/publish"
# Beyond the seconds of load: handshakes before it, and what the programs themselves wait for a stalled peer.
PATIENCE_SECONDS = 40
CLOSED_LOOP = 0
HOLD = 0


@dataclass(frozen=True, slots=True)
class Talk:
    """What the WebSockets do: how many, bytes a message, messages a second in all, or as many as come back."""

    clients: int
    size: int
    rate: int = CLOSED_LOOP


def talk(program: Running, shape: Talk, seconds: int) -> measure.Echoes:
    """Have messages echoed through a gateway, or by the upstream itself when it is the program.

    Raises Unavailable("errors") when a message is lost or changed, or a WebSocket closed.
    """
    output = pinned(sockets(program, shape, seconds).arguments, seconds + PATIENCE_SECONDS)
    try:
        return measure.parse_echoes(output)
    except ValueError as error:
        raise Unavailable("errors", f"{output.strip()[-200:]}; {program.last_words()}") from error


def idle_sockets(program: Running, count: int, size: int, directory: Path) -> AbstractContextManager[None]:
    """Hold `count` WebSockets that have had one message echoed each."""
    return held(program, sockets(program, Talk(count, size), HOLD), directory)


def sockets(program: Running, shape: Talk, seconds: int) -> Command:
    numbers = (shape.clients, shape.size, seconds, shape.rate)
    return Command([c_program("sockets"), str(program.port), ECHO, *map(str, numbers)])


def idle_readers(program: Running, count: int, directory: Path) -> AbstractContextManager[None]:
    """Hold `count` event streams that have brought their first event."""
    return held(program, Command(readers(program, count)), directory)


def fan_out(program: Running, publisher: Running, count: int, events: int) -> float:
    """Publish events one by one to `count` readers; the median of the milliseconds until the last reader had one.

    Raises Unavailable("errors") when a reader misses an event.
    """
    output = pinned([*readers(program, count), str(publisher.port), PUBLISH, str(events)], PATIENCE_SECONDS + events)
    try:
        return measure.parse_fan_out(output)
    except ValueError as error:
        raise Unavailable("errors", f"{output.strip()[-200:]}; {program.last_words()}") from error


def readers(program: Running, count: int) -> list[str]:
    return [c_program("readers"), str(program.port), EVENTS, str(count)]
