"""A stand-in for the Docker Engine: its HTTP API over a Unix socket or loopback TCP, as far as discovery uses it.

Written after "Docker Engine API" (moby, api/docs/v1.50.yaml):

- "Versioning": paths begin with `/v1.N`; a version that is too new is refused with 400 and a message.
- SystemPing: `GET /_ping` answers `OK` with the header `Api-Version`.
- ContainerList: `GET /containers/json` with `filters`, JSON of lists of strings; several values of one filter are
  alternatives, several filters must all hold: `status`, `health` (`none` for containers without a health check).
- SystemEvents: `GET /events` with `filters` (`type`, `event`; `health_status` also stands for `health_status: healthy`)
  and `since`, in Unix seconds: what happened from then on is sent first. JSON objects follow each other in one chunked
  response, whose head is sent before there is an event.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from .web import served

VERSION = "1.50"


class Engine:
    """The engine and its containers.

    Attributes:
        requests: paths and queries that were asked for, in order.
        cut: pieces of this many bytes are written of each event; 0 writes it whole.
        between: what stands between two events.
        api_version: the value of the header, None to leave it out.
    """

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.cut = 0
        self.between = ""
        self.api_version: str | None = VERSION
        self._events: list[dict[str, Any]] = []
        self._streams: set[asyncio.Queue[dict[str, Any] | None]] = set()

    @property
    def lists(self) -> int:
        """How often the containers were listed."""
        return sum("/containers/json" in request for request in self.requests)

    def run(self, name: str, address: str = "172.17.0.2", *, quiet: bool = False, **more: Any) -> dict[str, Any]:
        """Start a container with one exposed port; keys of `more` replace parts of what is listed for it.

        Args:
            name, address: its name, and its address in the network `bridge`.
            quiet: no event tells of it.
            more: as in the answer of ContainerList.
        """
        made = container(name, address, **more)
        self.containers[name] = made
        if not quiet:
            self.tell("container", "start", name)
        return made

    def stop(self, name: str) -> None:
        """Let a container end."""
        del self.containers[name]
        self.tell("container", "die", name)

    def health(self, name: str, health: str) -> None:
        """Let the health check of a container come to another result."""
        self.containers[name]["health"] = health
        self.tell("container", f"health_status: {health}", name)

    def tell(self, kind: str, action: str, name: str) -> None:
        """Send an event."""
        now = time.time()
        event = {
            "Type": kind, "Action": action, "Actor": {"ID": name * 8, "Attributes": {"name": name}}, "scope": "local",
            "time": int(now), "timeNano": int(now * 1e9),
        }  # fmt: skip
        self._events.append(event)
        for stream in self._streams:
            stream.put_nowait(event)

    def end_streams(self) -> None:
        """End all streams of events, as an engine that shuts down."""
        for stream in self._streams:
            stream.put_nowait(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if request.path == "/_ping":
            return web.Response(text="OK", headers={"Api-Version": self.api_version} if self.api_version else None)
        _, version, path = request.path.split("/", 2)
        if int(version.removeprefix("v1.")) > int(VERSION.removeprefix("1.")):
            text = f"client version {version[1:]} is too new. Maximum supported API version is {VERSION}"
            return web.json_response({"message": text}, status=400)
        filters = json.loads(request.query.get("filters", "{}"))
        if path == "containers/json":
            return web.json_response([listed(each) for each in self.containers.values() if matches(each, filters)])
        if path == "events":
            return await self._stream(request, filters)
        return web.json_response({"message": "page not found"}, status=404)

    async def _stream(self, request: web.Request, filters: dict[str, list[str]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._streams.add(queue)
        if "since" in request.query:
            for event in self._events:
                if event["time"] >= int(request.query["since"]):
                    queue.put_nowait(event)
        try:
            while (event := await queue.get()) is not None:
                if _wanted(event, filters):
                    await self._write(response, (json.dumps(event) + self.between).encode())
        finally:
            self._streams.discard(queue)
        return response

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        size = self.cut or len(data)
        for start in range(0, len(data), size):
            await response.write(data[start : start + size])
            await asyncio.sleep(0)


def container(name: str, address: str = "172.17.0.2", **more: Any) -> dict[str, Any]:
    """A container as ContainerList shows it; `health` and `status` are for the filters and are not shown."""
    return {
        "Id": f"{name}-" + "0" * 60, "Names": [f"/{name}"], "Image": "users:1", "State": "running",
        "Status": "Up 2 minutes",
        "Labels": {"propylon.service": "users"}, "Ports": [{"PrivatePort": 8080, "Type": "tcp"}],
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": address, "GlobalIPv6Address": ""}}},
        "health": "none", "status": "running", **more,
    }  # fmt: skip


def listed(made: dict[str, Any]) -> dict[str, Any]:
    """What ContainerList shows of a container."""
    return {key: value for key, value in made.items() if key not in ("health", "status")}


def matches(made: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    """Whether the filters of ContainerList let it through."""
    return all(made[name] in values for name, values in filters.items())


def _wanted(event: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    action = event["Action"].partition(":")[0]
    return all(action in values if name == "event" else event["Type"] in values for name, values in filters.items())


@asynccontextmanager
async def engine(**where: Any) -> AsyncIterator[tuple[Engine, str]]:
    """A running engine and its base URL; the parameters are those of `served`."""
    made = Engine()
    async with served(made.answer, **where) as base:
        yield made, base
