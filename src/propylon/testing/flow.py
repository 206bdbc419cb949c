"""A source in memory that waits while somebody holds it."""

from __future__ import annotations

import asyncio


class Flow:
    """The `Source` of a body (`engine/body.py`): its feeder awaits `flows` before each piece."""

    def __init__(self) -> None:
        self._holders: set[int] = set()
        self._free = asyncio.Event()
        self._free.set()

    async def flows(self) -> None:
        """Wait until nobody holds the body."""
        await self._free.wait()

    def hold(self, owner: object) -> None:
        """Send no more until `owner` releases it."""
        self._holders.add(id(owner))
        self._free.clear()

    def release(self, owner: object) -> None:
        """Send again, if nobody else holds it."""
        self._holders.discard(id(owner))
        if not self._holders:
            self._free.set()

    def release_all(self) -> None:
        """Let the feeder see that it is over."""
        self._holders.clear()
        self._free.set()

    def body_wanted(self) -> None:
        """Bodies in memory come unasked."""
