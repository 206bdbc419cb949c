"""A bound on lines of the log that any client can cause, in constant memory: a port on the internet is scanned all day.

Of each kind, `LINES` are written within `SECONDS`; what is left out is counted, and told once that time is over. Kinds
are codes of the table of failures and a few words of the engine, so their number is bounded.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LINES: Final = 10
SECONDS: Final = 10.0


class LineLimit:
    """Which lines are written.

    Attributes:
        clock: returns seconds, as `time.monotonic`.
        due: when `ended` has something to return (`time.monotonic`); `inf` while nothing was left out.
    """

    __slots__ = ("_kinds", "clock", "due")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._kinds: dict[str, list[float]] = {}  # of each kind: the end of its time, and the number of its lines
        self.due = inf

    def admits(self, kind: str) -> bool:
        """Count a line, and return whether it is to be written."""
        now = self.clock()
        state = self._kinds.get(kind)
        if state is None or (state[0] <= now and state[1] <= LINES):
            state = self._kinds[kind] = [now + SECONDS, 0]
        state[1] += 1
        if state[1] <= LINES:
            return True
        self.due = min(self.due, state[0])
        return False

    def ended(self, now: float) -> list[tuple[str, int]]:
        """Return the kinds whose time is over, each with the number of lines left out; their count begins anew."""
        if now < self.due:
            return []
        over = [kind for kind, (until, lines) in self._kinds.items() if until <= now and lines > LINES]
        found = [(kind, int(self._kinds.pop(kind)[1]) - LINES) for kind in over]
        self.due = min((until for until, lines in self._kinds.values() if lines > LINES), default=inf)
        return found
