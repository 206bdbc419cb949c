"""Clients that do one request each and then hold their connection, saying nothing.

Arguments: the port, the path, how many. Prints `ready` when all of them have their answer, and holds until it is
ended. Few connect at a time, so that the gateway opens few connections of its own.
"""

from __future__ import annotations

import asyncio
import sys

AT_A_TIME = 50


async def client(port: int, path: str, gate: asyncio.Semaphore) -> asyncio.StreamWriter:
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0] + b" ":
            raise SystemExit(head.decode("latin-1"))
        if b"chunked" in head.lower():
            await reader.readuntil(b"0\r\n\r\n")
        else:
            await reader.readexactly(12)
        return writer


async def hold(port: int, path: str, count: int) -> None:
    gate = asyncio.Semaphore(AT_A_TIME)
    clients = await asyncio.gather(*(client(port, path, gate) for _ in range(count)))
    print("ready", flush=True)
    await asyncio.Event().wait()
    del clients


asyncio.run(hold(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
