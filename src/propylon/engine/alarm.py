"""A timer that notifies a waiting exchange."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


class Alarm:
    """Fires once, unless it is cancelled. `due` is set by the timer, not by the clock: a timer may fire a little early.

    Attributes:
        due: whether it has fired.
    """

    __slots__ = ("_exchange", "_timer", "due")

    def __init__(self, x: Exchange, seconds: float) -> None:
        self.due = False
        self._exchange = x
        self._timer = asyncio.get_running_loop().call_later(seconds, self._fire)

    def cancel(self) -> None:
        """Cancel the timer."""
        self._timer.cancel()

    def _fire(self) -> None:
        self.due = True
        self._exchange.notify()
