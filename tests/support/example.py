"""Runs an example as its README says: its service and its gateway as processes, on ports that are free."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .process import Process, running, started

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, slots=True)
class Example:
    """What runs, and where the gateway listens."""

    gateway: Process
    service: Process
    port: int

    @property
    def address(self) -> str:
        """host:port of the gateway."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def example(name: str, **environment: str) -> AsyncIterator[Example]:
    """The example in the folder `name`; `environment` is for both."""
    folder = EXAMPLES / name
    for_service = {"PORT": "0", **environment}
    async with started(sys.executable, "service.py", folder=folder, environment=for_service) as service:
        address = f"http://127.0.0.1:{await service.port()}"
        settings = {"LISTEN": "127.0.0.1:0", name.upper(): address, **environment}
        async with running(folder, "gateway.yaml", settings) as gateway:
            yield Example(gateway, service, await gateway.port())
