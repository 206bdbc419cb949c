"""Deadlines: a test that waits for something says what, and for how long; nothing in these tests waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

PATIENCE = 3.0  # seconds a test waits for what must happen "at once", generous for a busy machine


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Fail with a sentence when the block takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


async def settle(turns: int = 20) -> None:
    """Let everything that is ready in this event loop run: enough turns for a few socket round trips on loopback."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(ready: Callable[[], bool], what: str = "what must happen soon", seconds: float = PATIENCE) -> None:
    """Wait until `ready()`, looked at in each turn of the event loop."""
    async with within(seconds, what):
        while not ready():
            await settle(1)


async def never() -> None:
    """Wait until the Task is cancelled."""
    await asyncio.get_running_loop().create_future()


async def real_time(seconds: float) -> None:
    """Let real time pass, where time itself is what is tested, or where another process tells nobody what it does."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()
