"""The Protocol of a store: a key-value store with expiry.

Rules of the file: every operation is atomic, and is awaited, since a store may be in another process or on another
machine; values are bytes, independent of the implementation. Stores are bounded, so entries may be lost at any time.
"""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """A key-value store with expiry."""

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key; `None` if there is none, or it has expired."""

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Set the value of a key.

        Args:
            ttl: seconds until it expires; `None` for never.
        """

    async def delete(self, key: str) -> None:
        """Remove a key, if it is there."""

    async def add(self, key: str, amount: int = 1, ttl: float | None = None) -> int:
        """Add to a counter, which begins at 0, and return its new value.

        Args:
            ttl: seconds until a counter expires, from its first `add`; later ones do not extend it.

        Raises:
            ValueError: the value of the key is not a counter.
        """
