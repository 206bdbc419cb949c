"""A provider that is watched by a test, with patience for servers that are real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from propylon.services.discovery import DiscoveryError, EndpointSpec, Provider

from .lists import PLACE as HERE
from .lists import Lists

__all__ = ["HERE", "NOW", "Observed", "observed"]

NOW = 8.0  # seconds for a change to arrive, generous for a busy machine


class Observed(Lists):
    """What a provider has yielded and not yet been asked for."""

    async def next(self, seconds: float = NOW) -> list[EndpointSpec]:
        return await super().next(seconds)

    async def urls(self, seconds: float = NOW) -> list[str]:
        """The URLs of the next list."""
        return [found.url for found in await self.next(seconds)]

    async def failed(self, seconds: float = NOW) -> str:
        """What the error says that it ends with; no list may come before."""
        with pytest.raises(DiscoveryError) as caught:
            await self.next(seconds)
        return str(caught.value)

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not asked for."""
        return self._lists.empty()


@asynccontextmanager
async def observed(provider: Provider) -> AsyncIterator[Observed]:
    """Run a provider until the end of the block; what it still does then is cancelled."""
    watched = Observed(provider)
    try:
        yield watched
    finally:
        await watched.close()
