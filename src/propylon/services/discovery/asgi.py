"""An ASGI application that runs in the gateway's process, as the only endpoint of a service.

    routes:
      - {path: /*, target: "asgi:main:app"}      # short for a service with this provider

    services:
      api:
        discover:
          asgi: {app: "main:app", root_path: /api}
        host: preserve

The application is served by uvicorn over a private Unix socket, so HTTP, WebSockets and lifespan are as with uvicorn
itself, and a later move to a process of its own changes one line. It shares the event loop with the gateway: what
blocks it blocks both. Its lifespan starts before the configuration takes effect; if that fails, the service has no
endpoint, and it is started again after a delay. It is started anew when its code beside the configuration changes; the
old one serves its requests to their end. `pip install 'propylon[asgi]'` installs uvicorn.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.reference import import_object
from propylon.config.schema.matching import PythonReference
from propylon.config.types import Bool, short_form
from propylon.services.discovery import DiscoveryError, EndpointSpec, ProviderContext

KEEP_ALIVE_S: Final = 3600
"""Seconds that idle connections are kept: more than the gateway keeps them."""
BACKLOG: Final = 4096


class Config(BaseModel):
    """The application."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    app: PythonReference = Field(
        description="`module:name` of the application; in a Python program also the application itself."
    )
    factory: Bool = Field(default=False, description="Call it, without arguments, to get the application.")
    root_path: Annotated[str, Field(pattern=r"^(/.*[^/])?$")] = Field(
        default="", description="The prefix that was stripped before; `root_path` of the ASGI scope."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"app": data}


class Provider:
    """Runs the application."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        """Import the application.

        Raises:
            ImportError, AttributeError: the module, or the name in it, does not exist.
            TypeError: it is not callable.
        """
        self._app: Any = import_object(config.app) if isinstance(config.app, str) else config.app
        if not callable(self._app):
            raise TypeError(f"{config.app} cannot be called: name an ASGI application")
        self._config = config
        self._service = context.service

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the endpoint once the application has started."""
        with tempfile.TemporaryDirectory(prefix="propylon-asgi-", ignore_cleanup_errors=True) as folder:
            path = str(Path(folder) / "app.sock")
            server = _Server(self._app, self._config)
            task = asyncio.get_running_loop().create_task(server.run_at(path), name=f"application {self._service}")
            try:
                await server.begun(task)
                yield [EndpointSpec(f"unix:{path}")]
                await asyncio.shield(task)
                raise DiscoveryError("the application has ended")
            finally:
                await server.end(task)


class _Server(uvicorn.Server):
    """uvicorn without its effects on the process: signals, log settings, exit."""

    def __init__(self, app: Any, config: Config) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                factory=config.factory,
                root_path=config.root_path,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                forwarded_allow_ips="*",  # only the gateway reaches the socket
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        self._running = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the gateway."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and report it."""
        await super().startup(sockets)
        self._running.set()

    async def run_at(self, path: str) -> None:
        """Serve the application at a Unix socket until `end`.

        Raises:
            DiscoveryError: it did not start.
        """
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen(BACKLOG)
            try:
                await self.serve([listening])
            except SystemExit:  # uvicorn's end of a failed lifespan; its log has the traceback
                raise DiscoveryError(
                    "the application did not start; the lines of uvicorn before this say why"
                ) from None

    async def begun(self, task: asyncio.Task[None]) -> None:
        """Wait until the application has started. Raises what `run_at` raises."""
        waiting = asyncio.ensure_future(self._running.wait())
        try:
            await asyncio.wait((waiting, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if task.done():
            await task

    async def end(self, task: asyncio.Task[None]) -> None:
        """End the application after its requests; wait for that, but let it go on if the wait is cancelled."""
        self.should_exit = True
        if not self._running.is_set():
            task.cancel()  # it may wait for something in its lifespan
        await asyncio.wait((task,))
