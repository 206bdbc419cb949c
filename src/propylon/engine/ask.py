"""Steps 4 and 5: choose an endpoint, send the request to it, and try another one if that comes to nothing.

Rules of the file: whether and when there is another try is decided in `retry.py`; the answer or the failure of the last
one is what counts.
"""

from __future__ import annotations

from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

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
    """Ask endpoints until one answers with something to pass on; return the attempt with the head of that answer.

    Args:
        lost: an endpoint that is not asked while there is another, as it has just gone.

    Raises:
        GatewayError: choose.*, connect.*, attempt.*, head.*, request.policy_failed, or what ended the exchange.
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
        x.attempt = made = Attempt(x, service, endpoint)
        failed = rivals = None
        try:
            if service.hedge_delay is None or (delay := hedge_after(x, service.hedge_delay, retry)) is None:
                # Here, and not in a coroutine of its own, which would have to be stepped too.
                while (upstream := made.upstream) is None or upstream.head is None or upstream.error is not None:
                    if not made.advance():
                        await x.pause()
            else:
                rivals = [endpoint]
                made = await race(x, made, delay, partial(_rival, x, service, tried, rivals), retry.statuses)
                upstream = made.upstream
                assert upstream is not None
            head = upstream.head
            assert head is not None
        except GatewayError as error:
            made.blame(error)
            failed, cause, pause = error, error.failure.cause, None
        else:
            is_probe = made.probe  # until the service learns of the answer
            made.outcome, made.head_at = head.status, monotonic()
            service.answered(made, head.status, made.head_at)
            if head.status not in retry.statuses:
                break
            cause, pause = STATUS, _seconds(head.first(b"retry-after"))
        tried += rivals or (endpoint,)
        wait = retry_in(x, made, retry, tried, cause, pause)
        if wait is None and failed is None:
            break
        _give_up(x, made)
        if failed is not None and wait is None:
            raise failed
        x.disarm()
        if wait:
            await _wait(x, wait)
    x.deadline = x.total_deadline = inf
    # A probe has gone where nobody chose to send it, and a 101 is sent already.
    if service.fields is not None and not is_probe and not x.status:
        x.extra_fields += service.fields(x, made.endpoint)
    return made


async def _enter(x: Exchange, service: Service) -> None:
    """Take a place in a service with a limit; leave that of another service, or of an earlier configuration."""
    x.leave_gate()
    gate = service.concurrency
    if gate is not None:
        await gate.enter(x)
        x.gate = gate


def _give_up(x: Exchange, made: Attempt) -> None:
    """Settle an attempt that has come to nothing; a body that is kept waits for the next one."""
    if x.replay is not None:
        x.replay.wait()
    made.settle()


def _rival(x: Exchange, service: Service, tried: list[Endpoint], rivals: list[Endpoint]) -> Attempt | None:
    """Begin an attempt at a second endpoint, if there is one that can answer now and the budget allows it.

    Args:
        tried: endpoints that have come to nothing.
        rivals: the endpoint that is asked already; the second one is added to it.
    """
    avoid = [*tried, *rivals]
    if not service.has_other(avoid):
        return None
    try:
        endpoint = service.choose(x, avoid)
    except GatewayError:  # the first one may still answer
        return None
    if endpoint in avoid or endpoint.pool.full:  # nobody stands in line for a second answer
        return None
    if not service.budget.withdraw(monotonic()):
        return None
    rivals.append(endpoint)
    return Attempt(x, service, endpoint)


def _keep_body(x: Exchange, service: Service, retry: RetrySettings) -> None:
    """Keep the body that is under way while it is sent, if the request may be sent again."""
    if x.method not in retry.methods or x.route.pipeline.on_request_chunk:
        return
    again = retry.attempts > 1 and (retry.same_endpoint or len(service.endpoints) > 1)
    if again or (x.route.fallback is not None and x.route.fallback.service is not None):
        x.replay = Replay(retry.body_buffer)


async def _wait(x: Exchange, seconds: float) -> None:
    """Let some time pass."""
    alarm = Alarm(x, seconds)
    try:
        while not alarm.due:
            await x.pause()
    finally:
        alarm.cancel()


def _seconds(retry_after: bytes | None) -> float | None:
    """Return what a Retry-After field says (RFC 9110 10.2.3); `None` for none, or a date."""
    if retry_after is not None and retry_after.isdigit() and len(retry_after) < 8:
        return float(retry_after)
    return None
