"""A bounded memory of what pure functions of bytes returned.

Clients and endpoints repeat themselves: the header section of a request hardly changes on a connection, and an
endpoint's answers differ in a field or two. Looking a whole section up costs a tenth of parsing it. What is
remembered is immutable, so sharing it between exchanges is safe; the key is the exact bytes, so it can never
stand for anything else. Keys that a peer chooses are hashed with CPython's keyed SipHash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

MAX_ENTRIES = 1024
MAX_KEY_BYTES = 4096  # longer sections are rare, and a peer could fill the memory with them


class Memo(dict[bytes, Value], Generic[Value]):
    """`memo[key]` is `make(key)`, computed once while it is remembered. Errors of `make` are not remembered."""

    def __init__(self, make: Callable[[bytes], Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: bytes) -> Value:
        value = self._make(key)
        if len(key) <= MAX_KEY_BYTES:
            if len(self) >= MAX_ENTRIES:
                self.clear()
            self[key] = value
        return value
