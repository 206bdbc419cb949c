"""The Protocol of a store: values under keys, each for a time.

Rules of the file: every operation is atomic, and is awaited, since a store may be another process or another machine;
values are bytes, so that they mean the same everywhere. A store may lose entries at any time: it is bounded.
"""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Values under keys."""

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key; `None` if it has none, or its time is over."""

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Put a value in the place of what the key has.

        Args:
            ttl: seconds that it is kept for; `None` without end.
        """

    async def delete(self, key: str) -> None:
        """Remove a key, if it is there."""

    async def add(self, key: str, amount: int = 1, ttl: float | None = None) -> int:
        """Add to a counter, which begins at 0, and return its new value.

        Args:
            ttl: seconds that a counter is kept for from its first `add` on; later ones do not prolong it.

        Raises:
            ValueError: the key has a value that is no counter.
        """
