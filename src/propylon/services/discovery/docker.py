"""Endpoints from Docker: the containers of a service on one Docker Engine, by their labels.

    discover:
      docker: {network: backend}

A container belongs to the service named by its label `propylon.service`. Without that label but with
`propylon.enable=true`, its Docker Compose service is used, or else its own name. `propylon.enable=false` excludes it,
and with `require_label` only containers with `propylon.enable=true` are used. Further labels: `propylon.port`,
`propylon.weight`, `propylon.scheme`, `propylon.network`. A container must be running, and healthy if it has a health
check.

The containers are listed after each event that may change them, and at least every `refresh`.

Source: Docker Engine API, operations SystemPing, ContainerList and SystemEvents.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Bool, Duration, Int, Text
from propylon.http.host import HostError, parse_host
from propylon.services.discovery import DiscoveryError
from propylon.services.discovery._docker_containers import Selection, endpoints
from propylon.services.discovery._http import TlsConfig, require_aiohttp
from propylon.services.discovery._watch_stream import STEADY_S, JsonStream, LostError, WatchSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from propylon.services.discovery import EndpointSpec, ProviderContext

log = logging.getLogger("propylon.discovery")

DEBOUNCE_S: Final = 0.25
"""Seconds from the first event to the new list: a deployment starts and stops many containers."""
_VERSION: Final = re.compile(r"1\.([0-9]{1,4})")
_OLDEST: Final = 24
_MIN_REFRESH_S: Final = 1.0
_RUNNING: Final = {"status": ["running"], "health": ["healthy", "none"]}
_EVENTS: Final = {
    "type": ["container", "network"],
    "event": ["start", "die", "pause", "unpause", "rename", "health_status", "connect", "disconnect"],
}


class Engine(NamedTuple):
    """Address of the engine: a base URL, or the path of a Unix socket; `host` is its machine."""

    base: str
    unix_path: str | None
    host: str


class Config(BaseModel):
    """Address of the engine, and how to connect to its containers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: Text = Field(
        default="unix:/var/run/docker.sock",
        description="Address of the engine: `unix:/path/to.sock` or `tcp://host:port`.",
    )
    tls: TlsConfig | None = Field(default=None, description="TLS with an engine at `tcp://`; by default none.")
    service: Text | None = Field(default=None, description="Name of the service in labels; by default its own.")
    require_label: Bool = Field(default=False, description="Use only containers with the label `propylon.enable=true`.")
    port: Int | None = Field(
        default=None, ge=1, le=65535, description="Port in containers without `propylon.port`; "
        "by default the lowest TCP port that a container exposes.",
    )  # fmt: skip
    scheme: Literal["http", "https"] = Field(
        default="http", description="Scheme of containers without `propylon.scheme`."
    )
    network: Text | None = Field(
        default=None, description="Network to connect in; by default the first of each container by name."
    )
    published: Bool = Field(default=False, description="Connect to the ports published on the host.")
    host: Text | None = Field(
        default=None, description="Address of the engine's machine, for published ports and the host network; "
        "by default the host of `address`, or 127.0.0.1 for a Unix socket.",
    )  # fmt: skip
    refresh: Duration = Field(default=30.0, description="Time between two lists without events, at least 1s.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        engine = parse_address(self.address, self.tls is not None)
        if self.tls is not None and engine.unix_path is not None:
            raise ValueError("'tls' is of no use with a Unix socket: remove it, or write tcp://host:2376")
        if self.refresh < _MIN_REFRESH_S:
            raise ValueError(f"'refresh' is {_MIN_REFRESH_S:g}s at the least")
        return self


def parse_address(address: str, tls: bool) -> Engine:
    """Parse the address of an engine. Raises `ValueError`."""
    scheme, _, rest = address.partition(":")
    if scheme == "unix":
        path = "/" + rest.lstrip("/")
        if rest.startswith("/") and len(path) > 1:
            return Engine("http://localhost", path, "127.0.0.1")
    elif scheme == "tcp" and rest.startswith("//"):
        try:
            host, port = parse_host(rest[2:].encode())
        except HostError as error:
            raise ValueError(f"'address' {address}: {error.detail}") from None
        number = (port or (b"2376" if tls else b"2375")).decode()
        return Engine(f"{'https' if tls else 'http'}://{host.decode()}:{number}", None, host.decode().strip("[]"))
    raise ValueError(f"'address' {address}: write unix:/path/to.sock or tcp://host:port")


class Provider:
    """Discovery of the containers of one service."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        require_aiohttp()
        self._engine = parse_address(config.address, config.tls is not None)
        self._tls = config.tls or TlsConfig()
        self._refresh_s = config.refresh
        self._selection = Selection(
            config.service or context.service, config.require_label, config.port, config.scheme,
            config.network, config.published, config.host or self._engine.host,
        )  # fmt: skip
        self._problems: frozenset[str] = frozenset()

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the endpoints of the containers, initially and after each change."""
        loop = asyncio.get_running_loop()
        last: list[EndpointSpec] | None = None
        async with WatchSession(self._engine.base, self._tls, {}, self._engine.unix_path) as session:
            while True:
                begun = loop.time()
                try:
                    async with aclosing(self._follow(session)) as lists:
                        async for found in lists:
                            if found != last:
                                last = found
                                yield found
                except LostError:
                    if loop.time() - begun < STEADY_S:
                        raise

    async def _follow(self, session: WatchSession) -> AsyncGenerator[list[EndpointSpec]]:
        """Yield lists until the stream of events ends."""
        version, since = await _ping(session)
        yield await self._list(session, version)
        # Events since a time before the list, so that none is missed; duplicates have no effect.
        params = {"filters": orjson.dumps(_EVENTS).decode(), **since}
        async with session.ask(f"{version}/events", params=params) as response:
            stream = JsonStream(response)
            while True:
                await self._wait(stream)
                yield await self._list(session, version)

    async def _list(self, session: WatchSession, version: str) -> list[EndpointSpec]:
        containers = await session.ask_json(
            f"{version}/containers/json", params={"filters": orjson.dumps(_RUNNING).decode()}
        )
        try:
            found, problems = endpoints(containers, self._selection)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise DiscoveryError(
                f"{session.server} lists containers in a form that is not Docker's: {error!r}"
            ) from None
        for problem in problems:
            if problem not in self._problems:
                log.warning("%s: %s; it is left out", self._selection.service, problem)
        self._problems = frozenset(problems)
        if problems and not found:
            raise DiscoveryError(f"none of the service's containers can be used: {problems[0]}")
        return found

    async def _wait(self, stream: JsonStream) -> None:
        """Wait for an event and those that follow shortly, or for the refresh interval."""
        try:
            event = await stream.next(self._refresh_s)
            async with asyncio.timeout(DEBOUNCE_S):
                while event is not None:
                    event = await stream.next(DEBOUNCE_S)
        except TimeoutError:
            return
        raise LostError("the engine ended the stream of events")


async def _ping(session: WatchSession) -> tuple[str, dict[str, str]]:
    """Return the prefix of all paths, and the engine's time as a parameter of the events request.

    The engine's own API version is used: newer engines refuse old versions, and the fields read here have not changed.
    """
    async with session.ask("/_ping") as response:
        headers: Any = response.headers
    version = _VERSION.fullmatch(headers.get("Api-Version", ""))
    if version is None:
        raise DiscoveryError(f"{session.server} is no Docker Engine: it tells no version of its API")
    if int(version[1]) < _OLDEST:
        raise DiscoveryError(f"{session.server} speaks version {version[0]} of the API; 1.{_OLDEST} or newer is needed")
    try:
        since = {"since": str(int(parsedate_to_datetime(headers.get("Date", "")).timestamp()))}
    except ValueError:
        since = {}
    return f"/v{version[0]}", since
