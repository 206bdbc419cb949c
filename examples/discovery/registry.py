"""Finds endpoints where services register themselves: each has a file in a folder, and in it its URL."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from propylon.services.discovery import ProviderContext

FOLDER = os.environ.get("REGISTRY", "registered")
EVERY = 0.5  # seconds


def urls(folder: Path) -> list[str]:
    """Read who has registered; raise nothing for one that goes meanwhile."""
    found = []
    for file in folder.glob("*.url"):
        try:
            found.append(file.read_text("utf-8").strip())
        except FileNotFoundError:
            pass
    return found


async def registered(place: ProviderContext) -> AsyncIterator[list[str]]:
    """Tell again and again all endpoints that there are; the gateway finds out what has changed."""
    folder = place.base_dir / FOLDER
    while True:
        yield await asyncio.to_thread(urls, folder)
        await asyncio.sleep(EVERY)
