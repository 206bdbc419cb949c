"""Policies in Python. Run it in this folder, beside any service on port 3000, for example:

    python3 -m http.server 3000 --bind 127.0.0.1 &
    ../../.venv/bin/propylon run gateway:gateway &
    curl -i http://127.0.0.1:8080/users/
    curl -i -H 'x-api-key: s3cret' http://127.0.0.1:8080/users/
    curl -i http://127.0.0.1:8080/upper/

`python gateway.py` runs it too.
"""

import asyncio
import os
import time
from collections import defaultdict

from propylon import Exchange, Gateway, GatewayError, Response

SERVICE = os.environ.get("SERVICE", "http://127.0.0.1:3000")
KEYS = {"s3cret": "ada"}


def require_key(exchange: Exchange) -> Response | None:
    """A function is an on_request policy. What it returns is the answer; None lets the request pass."""
    user = KEYS.get(exchange.request.headers.get("x-api-key", "") or "")
    if user is None:
        return Response(401, json={"error": "missing or unknown key"})
    exchange.state["user"] = user  # for the policies behind this one
    exchange.request.headers.remove("x-api-key")  # the service does not get it
    exchange.request.headers.set("x-user", user)
    return None


class Quota:
    """Counts requests of a user in this process, and answers 429 when there are too many."""

    def __init__(self, requests: int, seconds: float) -> None:
        self.requests = requests
        self.seconds = seconds
        self._seen: defaultdict[tuple[str, int], int] = defaultdict(int)

    def on_request(self, exchange: Exchange) -> Response | None:
        """Count."""
        window = int(time.monotonic() / self.seconds)
        key = (exchange.state.get("user", exchange.request.client), window)
        if len(self._seen) > 10_000:
            self._seen.clear()
        self._seen[key] += 1
        if self._seen[key] > self.requests:
            return Response(429, json={"error": "slow down"}, headers={"retry-after": str(int(self.seconds))})
        return None


async def look_up(exchange: Exchange) -> None:
    """An async policy runs as a Task of its own: every asyncio library works in it."""
    async with asyncio.timeout(0.5):
        await asyncio.sleep(0)  # here stands a query of a database
    exchange.request.headers.set("x-plan", "free")


class Upper:
    """Changes a body while it streams: at no time is it held as a whole."""

    def on_response_chunk(self, exchange: Exchange, data: bytes) -> bytes:
        """Change one piece; the last call has no data."""
        return data.upper()


class Sorry:
    """Replaces what the gateway says of its own failures."""

    def on_error(self, exchange: Exchange, error: GatewayError) -> Response | None:
        """Answer for a service that cannot be reached."""
        if error.status in (502, 503, 504):
            return Response(error.status, json={"sorry": "please come back later", "code": error.code})
        return None


class AccessLog:
    """Prints a line for each exchange."""

    def on_done(self, exchange: Exchange) -> None:
        """Print it; on_done is called whatever happened."""
        print(exchange.request.client, exchange.request.method, exchange.request.path, exchange.status, flush=True)


gateway = Gateway(listen="127.0.0.1:8080", policies=[AccessLog(), Sorry()])
gateway.service("files", [SERVICE])
gateway.route("/users/*", service="files", strip="/users", policies=[require_key, Quota(5, seconds=10), look_up])
gateway.route("/upper/*", service="files", strip="/upper", policies=[Upper()])


@gateway.policy
def no_robots(exchange: Exchange) -> Response | None:
    """A policy for every route, as a decorator."""
    if "robot" in (exchange.request.headers.get("user-agent") or "").lower():
        return Response(403, body="people only\n")
    return None


if __name__ == "__main__":
    gateway.run()
