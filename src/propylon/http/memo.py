"""A bounded cache for the results of pure functions.

Traffic is repetitive: header sections hardly change on a connection, and an endpoint's responses differ in a field or
two. A look-up of a whole section costs a tenth of parsing it. Values are immutable, so exchanges can share them; keys
are the exact bytes, so there are no false hits, and CPython hashes them with a secret (SipHash), so clients cannot
choose keys that collide.

Only a key that is requested a second time is cached (the doorkeeper of TinyLFU, Einziger et al. 2017): traffic without
repetition costs no memory and evicts nothing. That check costs a third of parsing, so only one miss in four is sampled,
at random: every fourth would correlate with the order in which a client sends.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sized
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_ENTRIES = 8192
MAX_KEY_BYTES = 2048  # longer sections are rare, and a peer could exhaust memory with them
_DRAWS = 65536  # period of the random sequence
_SAMPLED = _DRAWS // 4
_SLOTS = 32768  # of the doorkeeper, a power of two; each key has two, so that alternating keys do not evict each other


class Memo(dict[Key, Value], Generic[Key, Value]):
    """`memo[key]` is `make(key)`, computed once while it is cached. Exceptions of `make` are not cached."""

    __slots__ = ("_draw", "_make", "_seen", "_size")

    def __init__(self, make: Callable[[Key], Value], size: Callable[[Key], int] | None = None) -> None:
        """`size` returns the bytes that a key holds; by default its length."""
        super().__init__()
        self._make = make
        self._size = size
        self._seen = array("q", bytes(8 * _SLOTS))
        self._draw = 0

    def __missing__(self, key: Key) -> Value:
        value = self._make(key)
        # A linear congruential generator of full period (Hull and Dobell, 1962).
        self._draw = draw = (self._draw * 21 + 12345) % _DRAWS
        if draw >= _SAMPLED:
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
