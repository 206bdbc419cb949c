"""Which endpoint a session belongs to, remembered while the session is used.

Rules of the file: reading and writing take no time, as a balancer has none; so a table that is shared by workers or
gateways has a copy in each of them, and passes on what is bound. Tables are bounded: entries may be lost at any time.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SESSIONS: Final = 100_000
"""Sessions of one table, about 20 MB."""


class Sessions(Protocol):
    """A table of sessions and their endpoints."""

    def find(self, session: bytes) -> str | None:
        """Return the endpoint of a session, which counts as used; `None` for an unknown one."""

    def bind(self, session: bytes, endpoint: str) -> None:
        """Set the endpoint of a session."""


class MemorySessions:
    """A table in the memory of one worker (`Sessions`): a full one forgets the session used least recently.

    A session's name may be a credential and may be long, so only a digest of it is kept.
    """

    __slots__ = ("_clock", "_entries", "_idle", "_max_entries")

    def __init__(self, clock: Callable[[], float], idle: float, max_entries: int = MAX_SESSIONS) -> None:
        """Create an empty table.

        Args:
            clock: monotonic seconds.
            idle: seconds after its last use that a session is forgotten.
        """
        self._clock = clock
        self._idle = idle
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # with the time of the last use, in order

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, session: bytes) -> str | None:
        """Return the endpoint of a session, which counts as used; `None` for an unknown one."""
        key = _digest(session)
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        now = self._clock()
        endpoint, used = entry
        if now - used >= self._idle:
            return None
        self._entries[key] = endpoint, now
        return endpoint

    def bind(self, session: bytes, endpoint: str) -> None:
        """Set the endpoint of a session."""
        key, now = _digest(session), self._clock()
        self._entries.pop(key, None)
        self._entries[key] = endpoint, now
        while len(self._entries) > self._max_entries or next(iter(self._entries.values()))[1] <= now - self._idle:
            self._entries.popitem(last=False)


def _digest(session: bytes) -> bytes:
    return blake2b(session, digest_size=16).digest()
