"""Hedging: when an endpoint is slow to answer, a second one is asked as well, and the first answer wins.

Only requests that may be sent twice and have all arrived are hedged. The second request is paid from the retry budget,
and the one that loses is cancelled. J. Dean, L. Barroso, "The Tail at Scale", CACM 56(2), 2013.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.alarm import Alarm
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.engine.attempt import Attempt
    from propylon.engine.backend import HedgeDelay
    from propylon.engine.exchange import Exchange
    from propylon.engine.retry import RetrySettings


def hedge_after(x: Exchange, delay: HedgeDelay, retry: RetrySettings) -> float | None:
    """Return after how many seconds a second endpoint is to be asked; `None` if none is."""
    if x.pinned is not None or x.fields.websocket or x.method not in retry.methods:
        return None
    if isinstance(x.body, Body) or (x.body and x.route.pipeline.on_request_chunk):
        return None
    return delay.value()


class Leg:
    """One of the two attempts under way. Neither waits for the other, or for a policy of the other's.

    Attributes:
        attempt: the attempt.
        answered: whether the head of its answer is there.
        error: why it has come to nothing.
        over: whether nothing more comes of it.
    """

    __slots__ = ("answered", "attempt", "error", "over")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.answered = self.over = False
        self.error: GatewayError | None = None

    def advance(self) -> None:
        """Go on as far as is possible now; what goes wrong is kept in `error`."""
        if self.over:
            return
        try:
            self.answered = self.over = self.attempt.advance()
        except GatewayError as error:
            self.fail(error)

    def fail(self, error: GatewayError) -> None:
        """Learn that it has come to nothing."""
        self.over = True
        self.error = error
        self.attempt.blame(error)

    def lose(self) -> None:
        """Be given up, as the other one's answer is taken; that it took so long is worth knowing."""
        now = monotonic()
        head = self.status
        if self.answered and head is not None:
            self.attempt.answered(head, now)
        elif self.attempt.sent and self.error is None:
            self.attempt.outrun(now)
        self.answered, self.over = False, True
        self.attempt.settle()

    @property
    def status(self) -> int | None:
        """The status of its answer."""
        upstream = self.attempt.upstream
        return upstream.head.status if upstream is not None and upstream.head is not None else None


async def race(
    x: Exchange, first: Attempt, delay: float, rival: Callable[[], Attempt | None], unwanted: Collection[int]
) -> Attempt:
    """Send the request, and once more after `delay` seconds; return the attempt that is answered first.

    Args:
        rival: begins the attempt at another endpoint, if that is allowed.
        unwanted: statuses of answers that are not taken while the other one may still answer.

    Raises:
        GatewayError: what the first one failed with if none answered, or what ended the exchange.
    """
    x.attempt = None  # which of them is the exchange's is still to be seen
    legs = [Leg(first)]
    winner = None
    alarm = Alarm(x, delay)
    try:
        while True:
            for leg in legs:
                leg.advance()
            winner = _taken(legs, unwanted)
            if winner is not None:
                x.endpoint = winner.attempt.endpoint
                return winner.attempt
            if all(leg.over for leg in legs):
                raise next(leg.error for leg in legs if leg.error is not None)
            if alarm.due and len(legs) == 1:
                alarm.due = False
                other = rival()
                if other is not None:
                    legs.append(Leg(other))
                    continue
            await x.pause()
    except GatewayError as error:
        for leg in legs:
            if leg.attempt.sent and not leg.over:  # nobody who was asked has answered in time
                leg.fail(error)
        raise
    finally:
        alarm.cancel()
        previous = first.previous
        for leg in sorted(legs, key=lambda leg: leg is winner):
            if leg is not winner:
                leg.lose()
            leg.attempt.previous, previous = previous, leg.attempt
        x.attempt = previous


def _taken(legs: Sequence[Leg], unwanted: Collection[int]) -> Leg | None:
    """Return the one whose answer is taken; one with an unwanted answer loses, if there is still another."""
    for leg in legs:
        if leg.answered:
            if leg.status not in unwanted or all(each.over for each in legs):
                return leg
            leg.lose()
    return None
