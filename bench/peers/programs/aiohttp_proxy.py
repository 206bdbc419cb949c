"""A proxy as one writes it with aiohttp's server and client; arguments: port, upstream URL.

Run by the benchmark's own environment, which has aiohttp; the project's has not.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
PORT, UPSTREAM = sys.argv[1:]
SESSION = web.AppKey("session", ClientSession)


async def forward(request: web.Request) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    headers["X-Request-ID"] = uuid4().hex
    headers["X-Forwarded-For"] = request.remote or ""
    headers["X-Forwarded-Proto"] = request.scheme
    body = request.content if request.body_exists else None
    target = UPSTREAM + request.raw_path
    async with request.app[SESSION].request(request.method, target, headers=headers, data=body) as answer:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def session(app: web.Application) -> AsyncIterator[None]:
    connector = TCPConnector(limit=0)
    timeout = ClientTimeout(total=None)
    async with ClientSession(connector=connector, auto_decompress=False, timeout=timeout) as app[SESSION]:
        yield


def main() -> None:
    uvloop.install()
    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=int(PORT), access_log=None, print=None)


main()
