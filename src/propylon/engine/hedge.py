"""Hedging: if an endpoint is slow to respond, a second one gets the request too, and the first response is used.

Only requests that may be sent twice and have completely arrived are hedged. A hedge is charged to the retry budget; the
losing attempt is cancelled. J. Dean, L. Barroso, "The Tail at Scale", CACM 56(2), 2013.
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
    """Return the seconds before a hedge; `None` for no hedge."""
    if x.pinned is not None or x.fields.websocket or x.method not in retry.methods:
        return None
    if isinstance(x.body, Body) or (x.body and x.route.pipeline.on_request_chunk):
        return None
    return delay.value()


class Leg:
    """One of the two attempts in flight. Neither waits for the other, or for the policies of the other.

    Attributes:
        attempt: the attempt.
        answered: whether its response's head is there.
        error: its failure.
        over: whether it is decided: answered, failed or cancelled.
    """

    __slots__ = ("answered", "attempt", "error", "over")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.answered = self.over = False
        self.error: GatewayError | None = None

    def advance(self) -> None:
        """Advance the attempt; keep its failure in `error`."""
        if self.over:
            return
        try:
            self.answered = self.over = self.attempt.advance()
        except GatewayError as error:
            self.fail(error)

    def fail(self, error: GatewayError) -> None:
        """Record a failure."""
        self.over = True
        self.error = error
        self.attempt.blame(error)

    def cancel(self) -> None:
        """Settle the attempt, as the other's response is used; record its latency so far."""
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
        """The status of its response."""
        upstream = self.attempt.upstream
        return upstream.head.status if upstream is not None and upstream.head is not None else None


async def race(
    x: Exchange, first: Attempt, delay: float, start_hedge: Callable[[], Attempt | None], unwanted: Collection[int]
) -> Attempt:
    """Send the request, and again after `delay` seconds; return the attempt with the first response.

    Args:
        start_hedge: starts the attempt at another endpoint, if that is allowed.
        unwanted: statuses of responses that are not used while the other attempt may still succeed.

    Raises:
        GatewayError: the failure of the first attempt if both failed, or the one that ended the exchange.
    """
    x.attempt = None  # undecided until the end of the race
    legs = [Leg(first)]
    winner = None
    alarm = Alarm(x, delay)
    try:
        while True:
            for leg in legs:
                leg.advance()
            winner = _find_winner(legs, unwanted)
            if winner is not None:
                x.endpoint = winner.attempt.endpoint
                return winner.attempt
            if all(leg.over for leg in legs):
                raise next(leg.error for leg in legs if leg.error is not None)
            if alarm.due and len(legs) == 1:
                alarm.due = False
                other = start_hedge()
                if other is not None:
                    legs.append(Leg(other))
                    continue
            await x.pause()
    except GatewayError as error:
        for leg in legs:
            if leg.attempt.sent and not leg.over:  # it has not responded in time
                leg.fail(error)
        raise
    finally:
        alarm.cancel()
        previous = first.previous
        for leg in sorted(legs, key=lambda leg: leg is winner):
            if leg is not winner:
                leg.cancel()
            leg.attempt.previous, previous = previous, leg.attempt
        x.attempt = previous


def _find_winner(legs: Sequence[Leg], unwanted: Collection[int]) -> Leg | None:
    """Return the leg whose response is used; one with an unwanted status is cancelled while the other is undecided."""
    for leg in legs:
        if leg.answered:
            if leg.status not in unwanted or all(each.over for each in legs):
                return leg
            leg.cancel()
    return None
