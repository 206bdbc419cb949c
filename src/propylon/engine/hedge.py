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
from propylon.engine.request_out import new_connection, send_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.engine.attempt import Attempt
    from propylon.engine.backend import HedgeDelay
    from propylon.engine.exchange import Exchange
    from propylon.engine.retry import RetrySettings
    from propylon.engine.sides import Upstream


def hedge_after(x: Exchange, delay: HedgeDelay, retry: RetrySettings) -> float | None:
    """Return after how many seconds a second endpoint is to be asked; `None` if none is."""
    if x.pinned is not None or x.fields.websocket or x.method not in retry.methods:
        return None
    if isinstance(x.body, Body) or (x.body and x.route.pipeline.on_request_chunk):
        return None
    return delay.value()


class Leg:
    """One of the two requests under way: a coroutine that is stepped whenever the exchange is, so neither waits for
    the other, or for a policy of the other's.

    Attributes:
        attempt: what it is to its endpoint.
        upstream: its connection, once there is one.
        answered: whether the head of its answer is there.
        error: why it has come to nothing.
        over: whether nothing more comes of it.
    """

    def __init__(self, x: Exchange, attempt: Attempt) -> None:
        self.attempt = attempt
        self.answered = self.over = False
        self.error: GatewayError | None = None
        self.upstream: Upstream | None = attempt.endpoint.pool.take()
        self._x = x
        self._way = self._ask()

    def advance(self) -> None:
        """Go on as far as is possible now; what goes wrong is kept in `error`."""
        if self.over:
            return
        try:
            self._way.send(None)
        except StopIteration:
            self.answered = self.over = True
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
        if self.answered and self.upstream is not None and self.upstream.head is not None:
            self.attempt.answered(self.upstream.head.status, now)
        elif self.attempt.sent and self.error is None:
            self.attempt.outrun(now)
        self.answered, self.over = False, True
        self._way.close()
        self._drop()
        self.attempt.end()

    def _drop(self) -> None:
        if self.upstream is not None:
            self.upstream.finish()
            self.upstream = None

    async def _ask(self) -> None:
        x, repeated = self._x, False
        while True:
            if self.upstream is None:
                self.upstream = await new_connection(x, self.attempt.endpoint)
            upstream = self.upstream
            await send_attempt(x, self.attempt, upstream)
            while upstream.head is None and upstream.error is None:
                await x.pause()
            if upstream.error is None:
                return
            if upstream.fresh or upstream.heard or repeated:
                raise upstream.error
            repeated = True  # a kept connection that had been closed meanwhile (RFC 9112 9.3.1)
            self._drop()
            self.attempt.forget_changes()


async def first_answer_of_two(
    x: Exchange, first: Attempt, delay: float, second: Callable[[], Attempt | None], unwanted: Collection[int]
) -> Leg:
    """Send the request, and once more after `delay` seconds; return what answers first.

    Args:
        second: begins the attempt at another endpoint, if that is allowed.
        unwanted: statuses of answers that are not taken while the other one may still answer.

    Raises:
        GatewayError: what the first one failed with if none answered, or what ended the exchange.
    """
    legs = [Leg(x, first)]
    winner = None
    alarm = Alarm(x, delay)
    try:
        while True:
            for leg in legs:
                leg.advance()
            winner = _taken(legs, unwanted)
            if winner is not None:
                return winner
            if all(leg.over for leg in legs):
                raise next(leg.error for leg in legs if leg.error is not None)
            if alarm.due and len(legs) == 1:
                alarm.due = False
                other = second()
                if other is not None:
                    legs.append(Leg(x, other))
                    continue
            await x.pause()
    except GatewayError as error:
        for leg in legs:
            if leg.attempt.sent and not leg.over:  # nobody who was asked has answered in time
                leg.fail(error)
        raise
    finally:
        alarm.cancel()
        for leg in legs:
            if leg is not winner:
                leg.lose()


def _taken(legs: Sequence[Leg], unwanted: Collection[int]) -> Leg | None:
    """Return the one whose answer is taken; one with an unwanted answer loses, if there is still another."""
    for leg in legs:
        if leg.answered:
            head = leg.upstream.head if leg.upstream is not None else None
            if head is None or head.status not in unwanted or all(each.over for each in legs):
                return leg
            leg.lose()
    return None
