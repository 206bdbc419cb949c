"""Event streams: clients that read, leave and stall, and services that end, break off and die."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

import orjson

from bench.chaos.endings import CUT, INSIDE, WHOLE
from bench.chaos.events import EventReader
from bench.chaos.socket_roles import SLACK_SECONDS
from bench.chaos.wire import widen
from bench.soak.asks import pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.chaos.load import ChaosLoad
    from bench.soak.load import Role

NOTICE_SECONDS = 1.0  # within which a service is told that a client has gone
FAILED = "error relay.truncated"
LARGE = 30_000  # bytes of an event


@asynccontextmanager
async def opened(
    load: ChaosLoad, kind: str, path: str, words: str, last: int = 0, receive_buffer: int | None = None
) -> AsyncIterator[tuple[str, EventReader, float]]:
    """An event stream, its token, and when it began; an answer that is none has an ending already."""
    await load.turn()
    token, since = load.token(kind), monotonic()
    connection = await load.connect(receive_buffer)
    try:
        reader = await EventReader(connection).open(f"/events/{path}/{token}?{words}", last)
        yield token, reader, since
    finally:
        connection.reset()


async def follow(load: ChaosLoad, reader: EventReader, token: str, size: int, most: int, last: int = 0) -> int:
    """Read events, each of which must be the one behind the one before; return the number of the last one.

    A stream that tells its failure as an event has that for its ending.
    """
    while last < most and (event := await reader.event()) is not None:
        if event.get("event") == "error":
            failure = f"error {orjson.loads(event['data'])['code']}"
            if await reader.event() is not None or reader.how != WHOLE:
                load.ledger.violation(f"{token}: something behind the error event; {reader.how}")
            reader.how = failure
            break
        last += 1
        if event != {"id": str(last), "data": pattern(f"{token}-{last}".encode(), size).decode()}:
            load.ledger.violation(f"{token}: event {last} is not the one that was sent: {str(event)[:100]}")
    return last


async def listening(load: ChaosLoad) -> None:
    """Reads a stream to its end: every event, in order."""
    service = load.choose.choice(("steady", "steady", "shaky"))
    count, every = load.choose.choice(((5, 20), (300, 5), (40, 100), (3, 700)))
    size = load.choose.choice((30, 300, LARGE))
    words = f"count={count}&every={every}&size={size}"
    async with opened(load, "listens", service, words) as (token, reader, since):
        last = await follow(load, reader, token, size, count + 1)  # behind the last one may be a failure
        if reader.how == WHOLE and last != count:
            load.ledger.violation(f"{token}: {last} of {count} events, and the end")
        if every > 600 and reader.how == WHOLE and not reader.comments:
            load.ledger.violation(f"{token}: no heartbeat in a silence of {every} ms")
        excused = (FAILED, "error *") if load.ledger.in_outage(since, monotonic()) and service == "shaky" else ()
        load.endings.client(token, reader.how, WHOLE, *excused, since=since, service=service)
        load.endings.service(token, "done", since=since, service=service)


async def leaving(load: ChaosLoad) -> None:
    """Leaves in the middle: its service has to know soon."""
    path = load.choose.choice(("steady", "plain"))
    words = f"count=100000&every={load.choose.choice((10, 5000))}&size=30"
    async with opened(load, "leaves", path, words) as (token, reader, since):
        await follow(load, reader, token, 30, 1)
        way = load.choose.choice(("reset", "close"))
        reader.connection.reset() if way == "reset" else reader.connection.close()
        load.ledger.count(f"leaves an event stream by a {way}")
        load.endings.service(token, "gone", since=since, within=NOTICE_SECONDS + SLACK_SECONDS)


async def bereaved(load: ChaosLoad) -> None:
    """The service breaks off: whole events, then one that says so, or without the policy a cut."""
    path = load.choose.choice(("steady", "plain"))
    end = load.choose.choice(("rst", "fin", "half"))
    async with opened(load, "broken-off", path, f"count=5&every=5&size=300&end={end}") as (token, reader, since):
        last = await follow(load, reader, token, 300, 6)
        if last != 5:
            load.ledger.violation(f"{token}: {last} of 5 events before the stream broke off")
        allowed = FAILED if path == "steady" else INSIDE if end == "half" else CUT
        load.endings.client(token, reader.how, allowed, since=since)
        load.endings.service(token, "done", since=since)


async def stalled(load: ChaosLoad) -> None:
    """Reads nothing: it is cut, and what is there begins like what was sent."""
    words = f"count=100000&every=0&size={LARGE}"
    async with opened(load, "stalled-events", "steady", words, receive_buffer=16_384) as (token, reader, since):
        await asyncio.sleep(2 * load.write_seconds + SLACK_SECONDS)
        widen(reader.connection)
        await follow(load, reader, token, LARGE, 100_000)
        load.endings.client(token, reader.how, CUT, INSIDE, since=since)
        load.endings.service(token, "gone", since=since)


async def coming_back(load: ChaosLoad) -> None:
    """Its streams are ended behind an event when they are old, and it goes on with the next one."""
    last = 0
    for _ in range(2):
        words = "count=100000&every=20&size=30"
        async with opened(load, "comes-back", "aged", words, last) as (token, reader, since):
            reached = await follow(load, reader, token, 30, 100_000, last)
            if reached == last:
                load.ledger.violation(f"{token}: no event behind {last}")
            last = reached
            load.endings.client(token, reader.how, WHOLE, since=since)
            load.endings.service(token, "gone", since=since, within=NOTICE_SECONDS + SLACK_SECONDS)
        if load.stopping:
            return


STREAM_ROLES: dict[Role, int] = {listening: 5, leaving: 2, bereaved: 2, stalled: 1, coming_back: 1}
"""How many clients play each role at a time."""
