"""A chat room: everybody gets what anybody says. It also serves the page; the gateway stands in front of both.

The first message of a WebSocket is the name, every further one is something said. What is sent to all is JSON:
`{"who": ..., "said": ...}`, `{"who": ..., "joined": true}` or `{"who": ..., "left": true}`.
"""

import asyncio
import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

PAGE = (Path(__file__).parent / "page.html").read_bytes()
MAX_NAME = 20
POLICY_VIOLATION = 1008  # RFC 6455 7.4.1

members: dict[ServerConnection, str] = {}


def tell(**news: Any) -> None:
    """Send news to everybody who is there; who does not read is not waited for."""
    broadcast(members, json.dumps(news))


async def room(connection: ServerConnection) -> None:
    """Take part as long as the connection lasts."""
    try:
        name = str(await connection.recv()).strip()
        if not 0 < len(name) <= MAX_NAME or name in members.values():
            await connection.close(POLICY_VIOLATION, "choose another name")
            return
        members[connection] = name
        tell(who=name, joined=True)
        async for said in connection:
            tell(who=name, said=str(said))
    except ConnectionClosed:
        pass  # without a Close frame; the gateway has sent one with 1001, unless a frame was cut
    finally:
        if members.pop(connection, None) is not None:
            tell(who=name, left=True)


def page(_: ServerConnection, request: Request) -> Response | None:
    """Answer what is no WebSocket; None lets the handshake go on."""
    if "Upgrade" in request.headers:
        return None
    fields = Headers({"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(PAGE))})
    return Response(HTTPStatus.OK, "OK", fields, PAGE)


async def main() -> None:
    """Serve on PORT of 127.0.0.1, 3001 unless told otherwise, until the process is ended."""
    async with serve(room, "127.0.0.1", int(os.environ.get("PORT", "3001")), process_request=page) as server:
        print(f"serving on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
