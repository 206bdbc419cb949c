"""Steps 4 and 5: choose an endpoint, send the request to it, and retry if that fails.

Rules of the file: `retry.py` decides whether and when to retry; the response or the failure of the last attempt is the
result.
"""

from __future__ import annotations

from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine import lines
from propylon.engine.alarm import Alarm
from propylon.engine.attempt import Attempt
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.hedge import hedge_after, race
from propylon.engine.replay import Replay
from propylon.engine.retry import STATUS, retry_in

if TYPE_CHECKING:
    from propylon.engine.backend import Endpoint, Service
    from propylon.engine.exchange import Exchange
    from propylon.engine.retry import RetrySettings


async def ask(x: Exchange, lost: Endpoint | None = None) -> Attempt:
    """Send the request to endpoints until one gives a response to pass on; return the attempt, with its head.

    Args:
        lost: an endpoint whose connection has just been lost: it is chosen only if there is no other.

    Raises:
        GatewayError: choose.*, connect.*, attempt.*, head.*, request.policy_failed, or the error of `x.fail()`.
    """
    service = x.service
    if service is None:
        raise GatewayError("choose.no_endpoint", log="the route has no service, and no policy answered")
    retry = x.route.retry or service.retry
    if retry.per_try is not None and (x.timeouts.response is None or retry.per_try < x.timeouts.response):
        x.set_timeouts(response=retry.per_try)
    if service.concurrency is not x.gate:
        await _enter(x, service)
    service.budget.deposit(x.started)
    if x.body and isinstance(x.body, Body) and x.replay is None:
        _keep_body(x, service, retry)
    tried: list[Endpoint] = []
    while True:
        avoid = tried if lost is None else [*tried, lost]
        endpoint = x.endpoint = x.pinned or service.only or service.choose(x, avoid)
        x.attempt = attempt = Attempt(x, service, endpoint)
        failed = raced = None
        try:
            if service.hedge_delay is None or (delay := hedge_after(x, service.hedge_delay, retry)) is None:
                # Inline: a coroutine of its own would have to be stepped too.
                while (upstream := attempt.upstream) is None or upstream.head is None or upstream.error is not None:
                    if not attempt.advance():
                        await x.pause()
            else:
                raced = [endpoint]
                attempt = await race(x, attempt, delay, partial(_start_hedge, x, service, tried, raced), retry.statuses)
                upstream = attempt.upstream
                assert upstream is not None
            head = upstream.head
            assert head is not None
        except GatewayError as error:
            attempt.blame(error)
            failed, cause, pause = error, error.failure.cause, None
        else:
            is_probe = attempt.probe  # `answered` resets it
            attempt.outcome, attempt.head_at = head.status, monotonic()
            service.answered(attempt, head.status, attempt.head_at)
            if head.status not in retry.statuses:
                break
            cause, pause = STATUS, _seconds(head.first(b"retry-after"))
        tried += raced or (endpoint,)
        wait = retry_in(x, attempt, retry, tried, cause, pause)
        if wait is None and failed is None:
            break
        _settle_failed(x, attempt)
        if failed is not None and wait is None:
            raise failed
        assert wait is not None
        lines.retried(x, attempt, failed, wait)
        x.disarm()
        if wait:
            await _wait(x, wait)
    x.deadline = x.total_deadline = inf
    if service.affinity is not None and not x.status:  # a 101 has been sent already
        assert head is not None
        service.affinity.responded(x, attempt.endpoint, head, is_probe)
    return attempt


async def _enter(x: Exchange, service: Service) -> None:
    """Enter a service's concurrency limit; leave that of another service, or of an earlier configuration."""
    x.leave_gate()
    gate = service.concurrency
    if gate is not None:
        await gate.enter(x)
        x.gate = gate


def _settle_failed(x: Exchange, attempt: Attempt) -> None:
    """Settle a failed attempt; a body kept for replay is held until the next one."""
    if x.replay is not None:
        x.replay.suspend()
    attempt.settle()


def _start_hedge(x: Exchange, service: Service, tried: list[Endpoint], raced: list[Endpoint]) -> Attempt | None:
    """Start an attempt at a second endpoint, if one is available now and the budget allows it.

    Args:
        tried: endpoints that have failed.
        raced: the endpoint of the first attempt; the second one is added to it.
    """
    avoid = [*tried, *raced]
    if not service.has_other(avoid):
        return None
    try:
        endpoint = service.choose(x, avoid)
    except GatewayError:  # the first attempt may still succeed
        return None
    if endpoint in avoid or endpoint.pool.full:  # a hedge does not queue for a connection
        return None
    if not service.budget.withdraw(monotonic()):
        return None
    raced.append(endpoint)
    lines.hedged(x, endpoint)
    return Attempt(x, service, endpoint)


def _keep_body(x: Exchange, service: Service, retry: RetrySettings) -> None:
    """Keep a body under way for replay while it is sent, if the request may be sent again."""
    if x.method not in retry.methods or x.route.pipeline.on_request_chunk:
        return
    again = retry.attempts > 1 and (retry.same_endpoint or len(service.endpoints) > 1)
    if again or (x.route.fallback is not None and x.route.fallback.service is not None):
        x.replay = Replay(retry.body_buffer)


async def _wait(x: Exchange, seconds: float) -> None:
    """Wait for some seconds."""
    alarm = Alarm(x, seconds)
    try:
        while not alarm.due:
            await x.pause()
    finally:
        alarm.cancel()


def _seconds(retry_after: bytes | None) -> float | None:
    """Return the seconds of a Retry-After field (RFC 9110 10.2.3); `None` for no field, or a date."""
    if retry_after is not None and retry_after.isdigit() and len(retry_after) < 8:
        return float(retry_after)
    return None
