"""Clients that keep their connections and send requests on schedule, whatever comes back.

Arguments: the port, the path, connections, requests a second, seconds. A request goes out on a connection that is free;
if none is, it waits for one. A latency counts from when the request was due, so that neither that wait nor one for the
processor is forgotten. Prints {"p50", "p99"} in milliseconds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import deque
from typing import cast

import uvloop

END = b"Hello World!"
STALLED_SECONDS = 10


class Client(asyncio.Protocol):
    """One connection, and when the request under way was due."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answer = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its class.
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, due: float) -> None:
        self.due = due
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if END not in self.answer:
            return
        if not self.answer.startswith(b"HTTP/1.1 200 "):
            self.load.fail(repr(self.answer[:60]))
        self.answer = b""
        self.load.answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.fail("a connection was closed")


class Load:
    """The connections that are free, the requests that wait for one, and what the others took."""

    def __init__(self, request: bytes, total: int) -> None:
        self.request = request
        self.total = total
        self.free: deque[Client] = deque()
        self.waiting: deque[float] = deque()
        self.found: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask(self, due: float) -> None:
        if self.free:
            self.free.popleft().ask(due)
        else:
            self.waiting.append(due)

    def answered(self, client: Client) -> None:
        self.found.append(1e3 * (time.perf_counter() - client.due))
        if self.waiting:
            client.ask(self.waiting.popleft())
        else:
            self.free.append(client)
        if len(self.found) == self.total and not self.done.done():
            self.done.set_result(None)

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(reason))


async def latencies(port: int, path: str, connections: int, rate: int, seconds: int) -> list[float]:
    load = Load(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode(), rate * seconds)
    for _ in range(connections):
        _, client = await asyncio.get_running_loop().create_connection(lambda: Client(load), "127.0.0.1", port)
        load.free.append(client)
    start = time.perf_counter()
    for number in range(load.total):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        load.ask(due)
    async with asyncio.timeout(STALLED_SECONDS):
        await load.done
    return sorted(load.found)


def main() -> None:
    port, path, connections, rate, seconds = sys.argv[1:]
    gc.disable()
    found = uvloop.run(latencies(int(port), path, int(connections), int(rate), int(seconds)))
    print(json.dumps({"p50": found[len(found) // 2], "p99": found[len(found) * 99 // 100]}))


main()
