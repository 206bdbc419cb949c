"""The running providers of services, across changes of the configuration."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from propylon.services.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.services.discovery import EndpointSpec
    from propylon.services.service import Service

FIRST_LIST_SECONDS: Final = 5.0
"""Seconds to wait for the first endpoints of a service before it starts without any."""

log = logging.getLogger("propylon.discovery")


class Search:
    """A running provider of a service, kept when the service is replaced."""

    def __init__(self, service: Service) -> None:
        assert service.provider is not None
        self.service = service
        self.watch = Watch(service.provider, self._apply, name=service.name)

    def fits(self, service: Service) -> bool:
        """Return whether its discovery settings are those of a service."""
        return bool(service.settings.discover == self.service.settings.discover)

    def serve(self, service: Service) -> None:
        """Apply the endpoints found to this service from now on."""
        self.service = service

    def _apply(self, found: tuple[EndpointSpec, ...]) -> None:
        if self.service.started:
            self.service.apply(found, cold=bool(self.service.endpoints))
        else:
            self.service.found = found


class Providers:
    """Runs a search for each service that has a provider."""

    def __init__(self) -> None:
        self._searches: dict[str, Search] = {}
        self._prepared: dict[str, Search] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def prepare(self, services: Iterable[Service]) -> None:
        """Start the providers of services that have none running.

        Waits for the first list of each provider, `FIRST_LIST_SECONDS` at most: after that a service starts with its
        previous endpoints, if any, and discovery continues.
        """
        self._close_prepared()
        for service in services:
            running = self._searches.get(service.name)
            if service.provider is not None and (running is None or not running.fits(service)):
                search = self._prepared[service.name] = Search(service)
                search.watch.start()
        searches = list(self._prepared.values())
        for search, found in zip(
            searches, await asyncio.gather(*(each.watch.first(FIRST_LIST_SECONDS) for each in searches)), strict=True
        ):
            if not found:
                name = search.service.name
                log.warning("%s: no endpoints found within %g s; the search goes on", name, FIRST_LIST_SECONDS)

    def enter(self, services: Iterable[Service]) -> None:
        """Replace the services; stop the providers of all others.

        A provider with unchanged settings continues; a new one has been running since `prepare`.
        """
        old, self._searches = self._searches, {}
        for service in services:
            if service.provider is None:
                continue
            running = old.get(service.name)
            if running is not None and running.fits(service):
                search = old.pop(service.name)
            else:
                prepared = self._prepared.pop(service.name, None)
                if prepared is None:  # `prepare` was not called, so there is no provider
                    continue
                search = prepared
            search.serve(service)
            self._searches[service.name] = search
        for search in old.values():
            self._close(search)
        self._close_prepared()

    async def close(self) -> None:
        """Stop all providers."""
        searches = [*self._searches.values(), *self._prepared.values()]
        self._searches, self._prepared = {}, {}
        await asyncio.gather(*self._closing, *(search.watch.close() for search in searches))

    def _close_prepared(self) -> None:
        prepared, self._prepared = self._prepared, {}
        for search in prepared.values():
            self._close(search)

    def _close(self, search: Search) -> None:
        task = asyncio.get_running_loop().create_task(search.watch.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
