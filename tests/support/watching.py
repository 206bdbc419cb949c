"""A provider that is watched by a test: its lists one by one, and the error it ends with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from propylon.services.discovery import DiscoveryError, Found, Place, Provider

from .deadline import within

HERE = Place("users", Path())
NOW = 8.0  # seconds for a change to arrive, generous for a busy machine


class Watching:
    """What a provider has yielded and not yet been asked for."""

    def __init__(self, provider: Provider) -> None:
        self._lists: asyncio.Queue[Sequence[Found] | Exception] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(provider))

    async def next(self, seconds: float = NOW) -> list[Found]:
        """The next list."""
        async with within(seconds, "the provider yields a list"):
            item = await self._lists.get()
        if isinstance(item, Exception):
            raise item
        return list(item)

    async def urls(self, seconds: float = NOW) -> list[str]:
        """The URLs of the next list."""
        return [found.url for found in await self.next(seconds)]

    async def failed(self, seconds: float = NOW) -> str:
        """What the error says that it ends with; no list may come before."""
        async with within(seconds, "the provider ends with an error"):
            item = await self._lists.get()
        assert isinstance(item, DiscoveryError), item
        return str(item)

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not asked for."""
        return self._lists.empty()

    async def close(self) -> None:
        """End the provider as a watcher does: cancelled where it waits."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self, provider: Provider) -> None:
        iterator = provider.watch()
        try:
            async for found in iterator:
                self._lists.put_nowait(found)
        except Exception as error:
            self._lists.put_nowait(error)


@asynccontextmanager
async def watching(provider: Provider) -> AsyncIterator[Watching]:
    """Watch a provider until the end of the block; what it still does then is cancelled."""
    watched = Watching(provider)
    try:
        yield watched
    finally:
        await watched.close()
