"""Hedging: when an endpoint is slow to answer, a second one is asked as well, and the first answer wins.

Only requests that may be sent twice and have all arrived are hedged. The second request is paid from the retry budget,
and the one that loses is cancelled. J. Dean, L. Barroso, "The Tail at Scale", CACM 56(2), 2013.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.pipeline import run_all
from propylon.engine.request_out import send_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.attempt import Attempt
    from propylon.engine.exchange import Exchange
    from propylon.engine.retry import RetrySettings
    from propylon.engine.sides import Upstream
    from propylon.outbound.pool import Ticket
    from propylon.services.service import Service


def hedge_delay(x: Exchange, service: Service, retry: RetrySettings) -> float | None:
    """Return after how many seconds a second endpoint is to be asked; `None` if none is."""
    hedging = service.settings.hedging
    if hedging is None or x.chosen is not None or x.fields.websocket or x.method not in retry.methods:
        return None
    if isinstance(x.body, Body) or (x.body and x.route.pipeline.on_request_chunk):
        return None
    if hedging.delay is not None:
        return hedging.delay
    return service.latencies.value() if service.latencies is not None else None


class Leg:
    """One of the two requests under way.

    Attributes:
        attempt: what it is to its endpoint.
        upstream: its connection, once there is one.
        error: why it has come to nothing.
    """

    def __init__(self, x: Exchange, attempt: Attempt) -> None:
        self.attempt = attempt
        self.error: GatewayError | None = None
        self.upstream: Upstream | None = attempt.endpoint.pool.take()
        self._ticket: Ticket | None = None
        self._x = x
        self._sent = False

    @property
    def answered(self) -> bool:
        """Whether the head of its answer is there."""
        return self._sent and self.upstream is not None and self.upstream.head is not None

    async def advance(self) -> None:
        """Go on as far as is possible now; what goes wrong is kept in `error`."""
        if self.error is not None or self.answered:
            return
        try:
            if self.upstream is None and not self._connect():
                return
            if not self._sent:
                await self._send()
        except GatewayError as error:
            self._fail(error)
            return
        upstream = self.upstream
        if upstream is None or upstream.error is None:
            return
        if upstream.fresh or upstream.heard:
            self._fail(upstream.error)
        else:  # a kept connection that had been closed meanwhile (RFC 9112 9.3.1)
            self.drop()
            self._sent = False
            self.attempt.forget_changes()
            await self.advance()

    def drop(self) -> None:
        """Give up the connection, or the claim to one."""
        if self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self.attempt.endpoint.pool.withdraw(ticket)
        if self.upstream is not None:
            self.upstream.finish()
            self.upstream = None

    def lose(self) -> None:
        """Be cancelled, as the other one has answered; that it took so long is worth knowing."""
        if self._sent and self.error is None:
            now = monotonic()
            self.attempt.endpoint.vitals.record(now - self.attempt.began, now)
        self.drop()
        self.attempt.end()

    def _fail(self, error: GatewayError) -> None:
        self.error = error
        self.attempt.blame(error)

    def _connect(self) -> bool:
        if self._ticket is None:
            self._ticket = self.attempt.endpoint.pool.ask(self._x)
        ticket = self._ticket
        if ticket.error is not None:
            self._ticket = None
            raise ticket.error
        if ticket.connection is None:
            return False
        self._ticket, self.upstream = None, ticket.connection
        return True

    async def _send(self) -> None:
        x, upstream, attempt = self._x, self.upstream, self.attempt
        assert upstream is not None
        self._sent = True
        upstream.begin(x)
        x.attempts = attempt.number = x.attempts + 1
        headers = None
        if x.route.pipeline.on_attempt:
            await run_all(x, x.route.pipeline.on_attempt, attempt, code="request.policy_failed")
            headers = attempt.looked_at
        if upstream.error is None:
            attempt.sent = True
            attempt.began = monotonic()
            send_request(x, attempt.endpoint, upstream, headers)


async def first_answer_of_two(x: Exchange, first: Attempt, delay: float, second: Callable[[], Attempt | None]) -> Leg:
    """Send the request, and once more after `delay` seconds; return what answers first.

    Args:
        second: begins the attempt at another endpoint, if that is allowed.

    Raises:
        GatewayError: what the first one failed with if none answered, or what ended the exchange.
    """
    legs = [Leg(x, first)]
    due = False

    def ring() -> None:
        nonlocal due
        due = True
        x.notify()

    timer = asyncio.get_running_loop().call_later(delay, ring)
    try:
        while True:
            for leg in legs:
                await leg.advance()
            winner = next((leg for leg in legs if leg.answered), None)
            if winner is not None:
                return winner
            if all(leg.error is not None for leg in legs):
                assert legs[0].error is not None
                raise legs[0].error
            if due and len(legs) == 1:
                due = False
                other = second()
                if other is not None:
                    legs.append(Leg(x, other))
                    continue
            await x.pause()
    finally:
        timer.cancel()
        winner = next((leg for leg in legs if leg.answered), None)
        for leg in legs:
            if leg is not winner:
                leg.lose()
