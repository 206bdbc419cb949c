"""The lists of a provider, taken one by one by a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from propylon.services.discovery import EndpointSpec, Provider
from propylon.services.discovery import ProviderContext as ProviderContext
from propylon.services.watch import Watch

from .deadline import PATIENCE, real_time, within

PLACE = ProviderContext("users", Path("/nonexistent"))


class Lists:
    """What a provider yields, in a task of its own; what it raises comes out of `next`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._lists: asyncio.Queue[list[EndpointSpec] | BaseException | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        lists = self._provider.watch()
        try:
            async for found in lists:
                self._lists.put_nowait(list(found))
        except Exception as error:
            self._lists.put_nowait(error)
        else:
            self._lists.put_nowait(None)
        finally:
            await lists.aclose()  # type: ignore[attr-defined]

    async def next(self, seconds: float = PATIENCE) -> list[EndpointSpec]:
        """The next list; raises what the provider raised."""
        async with within(seconds, "the provider's next list"):
            found = await self._lists.get()
        if isinstance(found, BaseException):
            raise found
        assert found is not None, "the provider has ended"
        return found

    async def until(self, *urls: str, seconds: float = PATIENCE) -> list[EndpointSpec]:
        """The first list that has exactly these URLs."""
        async with within(seconds, f"a list of {urls}"):
            while True:
                found = await self.next(seconds)
                if sorted(each.url for each in found) == sorted(urls):
                    return found

    async def nothing_for(self, seconds: float) -> None:
        """Nothing comes in this time."""
        await real_time(seconds)
        assert self._lists.empty(), self._lists.get_nowait()

    async def close(self) -> None:
        """End the provider."""
        self._task.cancel()
        await asyncio.wait((self._task,))


@asynccontextmanager
async def lists_of(provider: Provider) -> AsyncIterator[Lists]:
    """Run a provider for the time of a block."""
    lists = Lists(provider)
    try:
        yield lists
    finally:
        await lists.close()


@asynccontextmanager
async def watching(provider: Provider) -> AsyncIterator[tuple[Watch, list[tuple[EndpointSpec, ...]]]]:
    """Run a watch, whose retries come fast, for the time of a block; also give the lists that it applies."""
    applied: list[tuple[EndpointSpec, ...]] = []

    async def soon(seconds: float) -> None:
        await real_time(min(seconds, 0.05))

    watch = Watch(provider, applied.append, name="users", sleep=soon)
    watch.start()
    try:
        yield watch, applied
    finally:
        await watch.close()


def urls(found: Sequence[EndpointSpec] | None) -> list[str]:
    """The URLs of a list, in its order."""
    return [each.url for each in found or ()]
