"""The providers at work: which one finds the endpoints of which service, across changes of the configuration."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from propylon.services.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.services.discovery import Found
    from propylon.services.service import Service

FIRST_LIST_SECONDS = 5.0
"""How long a gateway that starts waits for the endpoints of its services before it listens."""

log = logging.getLogger("propylon.discovery")


class Providers:
    """Runs a `Watch` for each service that has a provider.

    A service that takes the place of another with the same provider goes on with its watch; if the provider is another
    one, the endpoints found so far stay until the new one has found some.
    """

    def __init__(self) -> None:
        self._watches: dict[str, tuple[Any, Watch]] = {}
        self._services: dict[str, Service] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._running = False

    def enter(self, services: Iterable[Service]) -> None:
        """Find the endpoints of these services, and no longer those of others."""
        self._services = {service.name: service for service in services if service.provider is not None}
        for name, (settings, watch) in list(self._watches.items()):
            service = self._services.get(name)
            if service is None or service.settings.discover != settings:
                del self._watches[name]
                self._close(watch)
        for name, service in self._services.items():
            if name not in self._watches:
                assert service.provider is not None
                watch = Watch(service.provider, partial(self._found, name), name=name)
                self._watches[name] = service.settings.discover, watch
                if self._running:
                    watch.start()

    async def start(self) -> None:
        """Begin to look; wait for the first lists, `FIRST_LIST_SECONDS` at the most."""
        self._running = True
        for _, watch in self._watches.values():
            watch.start()
        waits = [watch.first(FIRST_LIST_SECONDS) for _, watch in self._watches.values()]
        for name, found in zip(list(self._watches), await asyncio.gather(*waits), strict=True):
            if not found:
                log.warning("%s: no endpoints found within %g s; the search goes on", name, FIRST_LIST_SECONDS)

    async def close(self) -> None:
        """End all searches."""
        self._running = False
        watches = [watch for _, watch in self._watches.values()]
        self._watches.clear()
        await asyncio.gather(*self._closing, *(watch.close() for watch in watches))

    def _close(self, watch: Watch) -> None:
        if self._running:
            task = asyncio.get_running_loop().create_task(watch.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _found(self, name: str, found: tuple[Found, ...]) -> None:
        service = self._services.get(name)
        if service is not None:
            service.apply(found, cold=bool(service.endpoints))
