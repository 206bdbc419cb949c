"""Flow control of a body in memory."""

from __future__ import annotations

import asyncio


class Flow:
    """The `Source` of a body (`engine/body.py`): its feeder awaits `flows` before each piece."""

    def __init__(self) -> None:
        self._holders: set[int] = set()
        self._free = asyncio.Event()
        self._free.set()

    @property
    def held(self) -> bool:
        """Whether there is a holder."""
        return bool(self._holders)

    async def flows(self) -> None:
        """Wait until there is no holder."""
        await self._free.wait()

    def hold(self, owner: object) -> None:
        """Pause until `owner` releases it."""
        self._holders.add(id(owner))
        self._free.clear()

    def release(self, owner: object) -> None:
        """Resume if there is no other holder."""
        self._holders.discard(id(owner))
        if not self._holders:
            self._free.set()

    def release_all(self) -> None:
        """Drop all holders, and resume."""
        self._holders.clear()
        self._free.set()

    def body_wanted(self) -> None:
        """Do nothing: bodies in memory need no 100 (Continue)."""
