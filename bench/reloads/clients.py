"""Who is connected through the reloads, and what each of them counts as a fault."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter

from websockets.asyncio.client import connect

MAX_FAULTS = 20
THINK_SECONDS = 0.01
CLOSE_EVERY = 10  # requests until a client comes with a new connection


@dataclass(slots=True)
class Ledger:
    """What clients have seen.

    Attributes:
        stopping: the run is over.
        counts: what went well.
        faults: what must not be.
        seconds: how long each request took, with when it began.
    """

    stopping: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: list[tuple[float, float]] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Remember a fault; only the first ones in words."""
        self.counts["faults"] += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)


async def asks(ledger: Ledger, port: int, name: str) -> None:
    """Ask again and again, on connections that are kept for some requests."""
    number = 0
    while not ledger.stopping:
        try:
            number = await _asks_once(ledger, port, name, number)
        except (OSError, asyncio.IncompleteReadError) as error:
            ledger.fault(f"{name}: request {number}: {error!r}")


async def _asks_once(ledger: Ledger, port: int, name: str, number: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(CLOSE_EVERY):
            number += 1
            path = f"/answers/{name}/{number}".encode()
            begun = perf_counter()
            writer.write(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            ledger.seconds.append((begun, perf_counter() - begun))
            if status != 200 or body != path:
                ledger.fault(f"{name}: {status} {body[:200]!r} for {path!r}")
            ledger.counts["answered"] += 1
            await asyncio.sleep(THINK_SECONDS)
            if ledger.stopping:
                break
    finally:
        writer.close()
    return number


async def listens(ledger: Ledger, port: int, name: str) -> None:
    """Take every event of one stream; none may be missing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        number = 0
        while not ledger.stopping:
            event = await reader.readuntil(b"\n\n")
            if b"data: %d\n\n" % number not in event:
                ledger.fault(f"{name}: {event!r} in place of event {number}")
                return
            number += 1
            ledger.counts["events"] += 1
    except (OSError, asyncio.IncompleteReadError) as error:
        ledger.fault(f"{name}: the stream broke off: {error!r}")
    finally:
        writer.close()


async def talks(ledger: Ledger, port: int, name: str) -> None:
    """Have every message of one WebSocket echoed."""
    number = 0
    try:
        async with connect(f"ws://127.0.0.1:{port}/sockets", proxy=None) as connection:
            while not ledger.stopping:
                number += 1
                await connection.send(str(number))
                async with asyncio.timeout(5):
                    if await connection.recv() != str(number):
                        ledger.fault(f"{name}: message {number} came back otherwise")
                ledger.counts["messages"] += 1
                await asyncio.sleep(0.05)
    except Exception as error:  # whatever ends it
        ledger.fault(f"{name}: the WebSocket broke off at message {number}: {error!r}")
