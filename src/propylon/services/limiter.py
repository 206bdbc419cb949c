"""A limit of concurrent requests, with a bounded FIFO queue. All operations are O(1).

A free place goes to the first claim in the queue, so later ones cannot overtake. The limiter only decides; the caller
wakes the exchange of a granted claim by `claim.exchange.notify()`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


class Claim:
    """A queued exchange.

    Attributes:
        exchange: the exchange that waits.
        granted: whether it has been given a place.
    """

    __slots__ = ("exchange", "granted")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.granted = False


class Limiter:
    """A number of places, and a queue of exchanges that wait for one.

    Each True of `enter`, and each claim granted, is a place that is released by exactly one `leave` or `withdraw`.

    Attributes:
        max: places. May be changed at any time, as by an adaptive limit: after a decrease none is given until enough
            are released; after an increase, call `admit` until it returns `None`.
        queue: maximum number of waiting claims.
        inflight: places in use.
    """

    __slots__ = ("_claims", "inflight", "max", "queue")

    def __init__(self, max: int, queue: int = 0) -> None:  # noqa: A002, it is called so in the configuration
        self.max = max
        self.queue = queue
        self.inflight = 0
        self._claims: OrderedDict[Claim, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Limiter {self.inflight} of {self.max} waiting={len(self._claims)}>"

    @property
    def waiting(self) -> int:
        """Number of waiting claims."""
        return len(self._claims)

    def enter(self) -> bool:
        """Take a place if one is free and no claim waits."""
        if self.inflight >= self.max or self._claims:
            return False
        self.inflight += 1
        return True

    def wait(self, x: Exchange) -> Claim | None:
        """Queue an exchange after `enter` returned False. Returns `None` if the queue is full."""
        if len(self._claims) >= self.queue:
            return None
        claim = Claim(x)
        self._claims[claim] = None
        return claim

    def leave(self) -> Claim | None:
        """Release a place. Returns the claim that it was granted to: its exchange must be notified."""
        self.inflight -= 1
        return self.admit()

    def withdraw(self, claim: Claim) -> Claim | None:
        """Withdraw a claim, granted or not. Returns the claim that was granted its place, as `leave` does."""
        if claim.granted:
            claim.granted = False
            return self.leave()
        self._claims.pop(claim, None)
        return None

    def admit(self) -> Claim | None:
        """Grant a free place to the first claim. Returns that claim: its exchange must be notified."""
        if not self._claims or self.inflight >= self.max:
            return None
        claim, _ = self._claims.popitem(last=False)
        claim.granted = True
        self.inflight += 1
        return claim
