"""A limit of concurrent requests: places, and a bounded line of those who wait for one. Every operation is O(1).

A place that becomes free goes to the first in line, so nobody who comes later can overtake. The limiter decides; who
calls it wakes whom it names, by `claim.exchange.notify()`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


class Claim:
    """An exchange's claim to a place.

    Attributes:
        exchange: whose it is.
        granted: whether it has its place.
    """

    __slots__ = ("exchange", "granted")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.granted = False


class Limiter:
    """So many places at a time, and so many exchanges that wait for one.

    Each True of `enter`, and each claim granted, is a place that is given back by exactly one `leave`, or by
    `withdraw`.

    Attributes:
        max: places. May be changed at any time, as by an adaptive limit: with fewer of them, nobody enters until
            enough have left; with more, call `admit` until it returns `None`.
        queue: claims that may wait.
        inflight: places in use.
    """

    __slots__ = ("_line", "inflight", "max", "queue")

    def __init__(self, max: int, queue: int = 0) -> None:  # noqa: A002, it is called so in the configuration
        self.max = max
        self.queue = queue
        self.inflight = 0
        self._line: OrderedDict[Claim, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Limiter {self.inflight} of {self.max} waiting={len(self._line)}>"

    @property
    def waiting(self) -> int:
        """Claims in line."""
        return len(self._line)

    def enter(self) -> bool:
        """Take a place if there is one, and nobody waits for it."""
        if self.inflight >= self.max or self._line:
            return False
        self.inflight += 1
        return True

    def wait(self, x: Exchange) -> Claim | None:
        """Stand in line after `enter` returned False. Returns `None` if the line is full."""
        if len(self._line) >= self.queue:
            return None
        claim = Claim(x)
        self._line[claim] = None
        return claim

    def leave(self) -> Claim | None:
        """Give a place back. Returns the claim that has got it: its exchange must be notified."""
        self.inflight -= 1
        return self.admit()

    def withdraw(self, claim: Claim) -> Claim | None:
        """Give a claim up, granted or not. Returns the claim that has got its place, as `leave` does."""
        if claim.granted:
            claim.granted = False
            return self.leave()
        self._line.pop(claim, None)
        return None

    def admit(self) -> Claim | None:
        """Grant the first in line a place, if there is one. Returns that claim: its exchange must be notified."""
        if not self._line or self.inflight >= self.max:
            return None
        claim, _ = self._line.popitem(last=False)
        claim.granted = True
        self.inflight += 1
        return claim
