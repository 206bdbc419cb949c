"""A bounded memory of what pure functions returned.

Clients and endpoints repeat themselves: the header section of a request hardly changes on a connection, and an
endpoint's answers differ in a field or two. Looking a whole section up costs a tenth of parsing it. What is
remembered is immutable, so sharing it between exchanges is safe; the key is the exact bytes, so it can never stand
for anything else, and CPython hashes it with a secret (SipHash), so nobody can choose keys that collide.

Only what is asked for a second time is kept (the doorkeeper of TinyLFU, Einziger et al. 2017): traffic that never
repeats itself costs no memory, and cannot drive out what does repeat. To look for that costs a third of parsing, so
only one miss in four is looked at. Which one is drawn: every fourth would follow the order in which a client sends.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sized
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_ENTRIES = 8192
MAX_KEY_BYTES = 2048  # longer sections are rare, and a peer could fill the memory with them
_DRAWS = 65536  # numbers drawn, each once before they begin anew
_LOOKED_AT = _DRAWS // 4
_SLOTS = 32768  # of the doorkeeper, a power of two: each key has two, or two keys in turn would keep each other out


class Memo(dict[Key, Value], Generic[Key, Value]):
    """`memo[key]` is `make(key)`, computed once while it is remembered. Errors of `make` are not remembered."""

    __slots__ = ("_draw", "_make", "_seen", "_size")

    def __init__(self, make: Callable[[Key], Value], size: Callable[[Key], int] | None = None) -> None:
        """`size` tells how many bytes a key holds; by default its length."""
        super().__init__()
        self._make = make
        self._size = size
        self._seen = array("q", bytes(8 * _SLOTS))
        self._draw = 0

    def __missing__(self, key: Key) -> Value:
        value = self._make(key)
        # A linear congruential generator of full period (Hull and Dobell, 1962).
        self._draw = draw = (self._draw * 21 + 12345) % _DRAWS
        if draw >= _LOOKED_AT:
            return value
        digest = hash(key)
        seen = self._seen
        one, other = digest & (_SLOTS - 1), digest >> 20 & (_SLOTS - 1)
        if seen[one] != digest and seen[other] != digest:
            seen[one] = seen[other] = digest
        elif self._bytes(key) <= MAX_KEY_BYTES:
            if len(self) >= MAX_ENTRIES:
                self.clear()
            self[key] = value
        return value

    def _bytes(self, key: Key) -> int:
        if self._size is not None:
            return self._size(key)
        return len(key) if isinstance(key, Sized) else 0
