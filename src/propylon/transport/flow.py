"""Flow control of one connection: backpressure on reading, and progress of writing.

The same for a connection from a client, to an endpoint, and for each side of a tunnel. Several holders may pause
reading: a full body buffer, a busy policy, the stalled other side of an exchange. It resumes when the last of them
releases it.
"""

from __future__ import annotations

from typing import Final, Protocol

NO_HOLDERS: Final[frozenset[object]] = frozenset()


class Line(Protocol):
    """The source of the bytes: a transport or a byte stream."""

    def pause_reading(self) -> None:
        """Pause reading."""

    def resume_reading(self) -> None:
        """Resume reading."""


class FlowControl:
    """The part of a connection that pauses reading and tracks unsent bytes."""

    __slots__ = ("_holders", "_unsent")

    def __init__(self) -> None:
        self._holders: frozenset[object] = NO_HOLDERS
        self._unsent = 0

    @property
    def held(self) -> bool:
        """Whether reading is paused."""
        return bool(self._holders)

    def hold(self, owner: object) -> None:
        """Pause reading until `owner` releases it."""
        if not self._holders and (line := self._line()) is not None:
            line.pause_reading()
        self._holders = self._holders | {owner}

    def release(self, owner: object) -> None:
        """Resume reading if there is no other holder."""
        if owner in self._holders:
            self._holders = self._holders - {owner}
            if not self._holders:
                self._released()

    def release_all(self) -> None:
        """Drop all holders, and resume reading."""
        if self._holders:
            self._holders = NO_HOLDERS
            self._released()

    def progressed(self) -> bool:
        """Return whether the number of unsent bytes has fallen since the last call."""
        before, self._unsent = self._unsent, self._count_unsent()
        return self._unsent < before

    def _released(self) -> None:
        """Resume reading, after the last holder has released it."""
        if (line := self._line()) is not None:
            line.resume_reading()

    def _line(self) -> Line | None:
        """Return the source of the bytes; None if it is closed."""
        raise NotImplementedError

    def _count_unsent(self) -> int:
        """Return the number of written bytes that the peer has not acknowledged."""
        raise NotImplementedError
