"""A store in the memory of one worker.

Rules of the file: entries and bytes are bounded; a full store evicts the entry written least recently. Expired entries
are removed on access or by eviction, so no timer is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ENTRIES: Final = 100_000
MAX_BYTES: Final = 64 * 1024 * 1024
ENTRY_BYTES: Final = 200
"""Overhead of an entry in CPython, without key and value."""


class _Entry(NamedTuple):
    value: bytes
    expires: float


class MemoryStore:
    """A store in memory (`Store`)."""

    __slots__ = ("__weakref__", "_bytes", "_clock", "_entries", "_max_bytes", "_max_entries")

    def __init__(
        self, clock: Callable[[], float], *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
    ) -> None:
        """`clock` returns monotonic seconds."""
        self._clock = clock
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # O(1) access to the first key, unlike a dict
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<MemoryStore {len(self._entries)} entries, {self._bytes} bytes>"

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key; `None` if there is none, or it has expired."""
        entry = self._entry(key)
        return None if entry is None else entry.value

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Set the value of a key; a value larger than the store is not kept."""
        self._put(key, _Entry(value, inf if ttl is None else self._clock() + ttl))

    async def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        self._remove(key)

    async def add(self, key: str, amount: int = 1, ttl: float | None = None) -> int:
        """Add to a counter. Raises `ValueError` if the value is not a counter."""
        entry = self._entry(key)
        if entry is None:
            count, expires = amount, inf if ttl is None else self._clock() + ttl
        else:
            count, expires = int(entry.value) + amount, entry.expires
        self._put(key, _Entry(b"%d" % count, expires))
        return count

    def _entry(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= self._clock():
            self._remove(key)
            return None
        return entry

    def _put(self, key: str, entry: _Entry) -> None:
        self._remove(key)
        size = _size(key, entry)
        if size > self._max_bytes:
            return
        while self._entries and (len(self._entries) >= self._max_entries or self._bytes + size > self._max_bytes):
            self._remove(next(iter(self._entries)))
        self._entries[key] = entry
        self._bytes += size

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry)


def _size(key: str, entry: _Entry) -> int:
    return len(key) + len(entry.value) + ENTRY_BYTES
