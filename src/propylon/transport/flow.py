"""Flow control of one connection: who holds its reading back, and whether its peer takes what is written.

The same for a connection of a client, of an endpoint, and for each side of a tunnel. Several may hold the reading back:
a body that holds enough, a policy that is busy, the other side of an exchange that is full. It goes on when the last of
them releases it.
"""

from __future__ import annotations

from typing import Final, Protocol

NOBODY: Final[frozenset[object]] = frozenset()


class Line(Protocol):
    """What is read: a transport, or a byte stream."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read again."""


class FlowControl:
    """The part of a connection that holds reading back and follows what is unsent."""

    __slots__ = ("_holders", "_unsent")

    def __init__(self) -> None:
        self._holders: frozenset[object] = NOBODY
        self._unsent = 0

    @property
    def held(self) -> bool:
        """Whether the peer is not read for now."""
        return bool(self._holders)

    def hold(self, owner: object) -> None:
        """Do not read until `owner` releases it."""
        if not self._holders and (line := self._line()) is not None:
            line.pause_reading()
        self._holders = self._holders | {owner}

    def release(self, owner: object) -> None:
        """Read again, if nobody else holds it."""
        if owner in self._holders:
            self._holders = self._holders - {owner}
            if not self._holders:
                self._released()

    def release_all(self) -> None:
        """Read again, whoever holds it."""
        if self._holders:
            self._holders = NOBODY
            self._released()

    def progressed(self) -> bool:
        """Tell whether any of what is unsent has left since this was asked last."""
        before, self._unsent = self._unsent, self._count_unsent()
        return self._unsent < before

    def _released(self) -> None:
        """Read again: the last holder is gone."""
        if (line := self._line()) is not None:
            line.resume_reading()

    def _line(self) -> Line | None:
        """Return what is read, unless it is closed."""
        raise NotImplementedError

    def _count_unsent(self) -> int:
        """Return how many bytes written the peer has not taken."""
        raise NotImplementedError
