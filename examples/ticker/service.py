"""A price that changes each second, as Server-Sent Events; and the page that shows it.

Every event has a number. A client that comes back says in Last-Event-ID which one it had last, and goes on behind it.
"""

import asyncio
import json
import math
import os
from itertools import count
from pathlib import Path

PAGE = (Path(__file__).parent / "page.html").read_bytes()
EVERY = float(os.environ.get("EVERY", "1"))  # seconds
Fields = dict[str, str]


def tick(number: int) -> bytes:
    """Write one event; everything a price needs follows from its number."""
    price = json.dumps({"price": round(100 + 5 * math.sin(number / 5), 2)})
    return f"id: {number}\nevent: tick\ndata: {price}\n\n".encode()


async def ticks(writer: asyncio.StreamWriter, fields: Fields) -> None:
    """Send events until the client has gone."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n")
    writer.write(b"transfer-encoding: chunked\r\n\r\n")
    last = fields.get("last-event-id", "0")
    for number in count(int(last) + 1 if last.isdecimal() else 1):
        event = tick(number)
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(EVERY)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection; the gateway has checked them all."""
    try:
        while True:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            if line.startswith("GET /ticks"):
                await ticks(writer, fields)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n")
            writer.write(b"content-length: %d\r\n\r\n%b" % (len(PAGE), PAGE))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the gateway has closed: its client has gone, or the connection was not needed any more
    finally:
        writer.close()


async def main() -> None:
    """Serve on PORT of 127.0.0.1, 3002 unless told otherwise, until the process is ended."""
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ.get("PORT", "3002")))
    print(f"serving on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
