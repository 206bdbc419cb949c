"""A proxy as one writes it with Starlette and httpx, served by uvicorn; arguments: port, upstream URL.

Run by the benchmark's own environment, which has these packages; the project's has not.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
METHODS = ["GET", "PUT", "POST"]
PORT, UPSTREAM = sys.argv[1:]


async def forward(request: Request) -> StreamingResponse:
    headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
    headers["x-request-id"] = uuid4().hex
    headers["x-forwarded-for"] = request.client.host if request.client else ""
    headers["x-forwarded-proto"] = request.url.scheme
    body = None if request.method == "GET" else request.stream()
    client: httpx.AsyncClient = request.app.state.client
    target = UPSTREAM + request.url.path + ("?" + request.url.query if request.url.query else "")
    answer = await client.send(client.build_request(request.method, target, headers=headers, content=body), stream=True)
    kept = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
    return StreamingResponse(
        answer.aiter_raw(), status_code=answer.status_code, headers=kept, background=BackgroundTask(answer.aclose)
    )


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=None, trust_env=False) as app.state.client:
        yield


app = Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)], lifespan=lifespan)
uvicorn.run(app, host="127.0.0.1", port=int(PORT), loop="uvloop", http="httptools", access_log=False, log_level="error")
