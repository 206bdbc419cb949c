"""A FastAPI service that is reached below a prefix, with its Swagger UI, links and redirects.

It learns the prefix from the server (uvicorn's root path), or from the gateway's field X-Forwarded-Prefix.
"""

import os
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

app = FastAPI(title="Items")


@app.get("/items/")
def items(request: Request) -> dict[str, Any]:
    """List the items; `/items` without the slash is redirected here by FastAPI itself."""
    return {"items": [1, 2], "first": str(request.url_for("item", number=1).path)}


@app.get("/items/{number}")
def item(number: int) -> dict[str, int]:
    """Show one item."""
    return {"number": number}


class ForwardedPrefix:
    """ASGI middleware that makes X-Forwarded-Prefix the root path, which comes before the path (ASGI 3, `root_path`).

    Use it only where nobody but the gateway reaches the service: the gateway removes the field of clients.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        prefix = dict(scope.get("headers", ())).get(b"x-forwarded-prefix", b"").decode("latin-1")
        if prefix and not scope.get("root_path"):
            scope = {**scope, "root_path": prefix, "path": prefix + scope["path"]}
        await self.app(scope, receive, send)


def main() -> None:
    """Serve on PORT of 127.0.0.1, 3001 unless told otherwise; ROOT_PATH is the prefix, if the service is told."""
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "3001"))))
    print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(ForwardedPrefix(app), root_path=os.environ.get("ROOT_PATH", ""), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
