"""Small HTTP servers of tests, on free loopback ports or Unix sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(
    handler: Handler, *, unix_path: str | None = None, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[str]:
    """A server that answers every request by `handler`; gives its base URL.

    Handlers that still run at the end are cancelled and their connections closed: the server is killed, not drained.
    """
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True, access_log=None)
    await runner.setup()
    site: web.BaseSite
    if unix_path is not None:
        site = web.UnixSite(runner, unix_path)
    else:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    try:
        yield "http://localhost" if unix_path else f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
