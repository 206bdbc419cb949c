"""An alarm: tells an exchange that waits that some time is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


class Alarm:
    """Goes off once, unless it is cancelled. The clock is not asked: a timer may go off a little before its time.

    Attributes:
        due: whether it has gone off.
    """

    __slots__ = ("_exchange", "_timer", "due")

    def __init__(self, x: Exchange, seconds: float) -> None:
        self.due = False
        self._exchange = x
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def cancel(self) -> None:
        """Go off no more."""
        self._timer.cancel()

    def _ring(self) -> None:
        self.due = True
        self._exchange.notify()
