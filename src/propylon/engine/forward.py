"""The path of a request through the gateway: read it top-down. The other modules of `engine/` are its parts.

    1 admit     refuse a bad request; answer OPTIONS that is for the gateway
    2 match     router -> route, or 404 / 405
    3 request   the route's on_request policies, in list order; a Response ends the path here
    4 choose    service -> endpoint (balancing, breaker, health); no endpoint -> 503
    5 attempt   pooled or new connection, on_attempt policies, head and body out; a retry goes back to 4
    6 head      response head in, on_response policies, head out
    7 relay     body both ways, bounded by backpressure; or a tunnel after a 101
    8 settle    connection back to the pool or closed; attempt, concurrency limit and deferred actions ended
    9 done      on_done policies. Always runs, once, in every case

`propylon explain` prints the same steps with what would happen. `stepped.py` describes how this coroutine is stepped
without a Task. The service records the outcome of an attempt at the response's head or the failure, not in step 8. Only
step 3 and the other `on_*` hooks run third-party code.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING

from propylon.engine import lines
from propylon.engine.admit import answer_options
from propylon.engine.ask import ask
from propylon.engine.body import Body
from propylon.engine.content import prepare_bodies
from propylon.engine.errors import GatewayError
from propylon.engine.event_stream import EventStream
from propylon.engine.pipeline import first_answer, run_done
from propylon.engine.response import Response
from propylon.engine.response_out import added_fields, answer, answer_failure
from propylon.engine.retry import may_use_other_service
from propylon.engine.websocket.upgrade import check_handshake, limit_offer, tunnel

if TYPE_CHECKING:
    from propylon.engine.attempt import Attempt
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Upstream
    from propylon.engine.timing import Timeouts
    from propylon.http.response_head import ResponseHead

SERVICE_FAILED = frozenset(("choose", "connect", "attempt", "head"))
"""Prefixes of the codes of failures for which the fallback is used."""


async def forward(x: Exchange) -> None:
    """Carry one exchange from its request's head to the last byte of its response."""
    try:
        try:
            # 1 admit
            if x.refusal is not None:
                raise x.refusal
            if x.fields.websocket:
                check_handshake(x.method, x.fields)
            if x.method == b"OPTIONS" and (response := answer_options(x)) is not None:
                await answer(x, response)
                return
            # 2 match
            route = x.snapshot.match(x)
            # 3 request
            response = await first_answer(x, route.pipeline.on_request) if route.pipeline.on_request else None
            if response is not None:
                await answer(x, response)
                return
            if x.fields.websocket:
                limit_offer(x)
            elif route.pipeline.reads_bodies:
                prepare_bodies(x)
            # 4 choose, 5 attempt
            timeouts = x.timeouts
            try:
                attempt = await ask(x)
            except GatewayError as error:
                if (substitute := await fall_back(x, error, timeouts)) is None:
                    return
                attempt = substitute
            # 6 head
            upstream = attempt.upstream
            assert upstream is not None
            head = upstream.head
            assert head is not None
            if head.refers and route.public_urls is not None:
                head = route.public_urls.head(x, attempt, head)
            if head.status == 101:
                await tunnel(x, upstream)
            elif route.pipeline.changes_responses or x.method != x.client_method:
                x.arm_relay(upstream)
                await answer(x, Response.of_service(head, upstream.body))
            else:
                pass_head(x, upstream, head)
            # 7 relay
            while attempt.upstream is upstream and not (
                upstream.complete and (x.transform is None or x.transform.ended)
            ):
                if upstream.error is not None:
                    raise upstream.error
                await x.pause()
        except GatewayError as error:
            if x.attempt is not None:
                x.attempt.blame(error)
            await answer_failure(x, error)
        except (Exception, CancelledError):
            lines.defect(x, "an exchange failed by a defect of the gateway")
            await answer_failure(x, GatewayError("gateway.failed"))
    finally:
        # 8 settle
        x.settle()
        # 9 done
        if x.route.pipeline.on_done:
            run_done(x, x.route.pipeline.on_done)


async def fall_back(x: Exchange, failure: GatewayError, timeouts: Timeouts) -> Attempt | None:
    """Use the route's fallback: send its response, or return the answered attempt of its service.

    Args:
        failure: the failure of the service.
        timeouts: those of the exchange before `per_try` of the first service's retries changed them.

    Raises:
        GatewayError: `failure`, if it is not one of the service, the request can't be sent again or no time is left;
            or the failure of the other service.
    """
    fallback = x.route.fallback
    if fallback is None or failure.code.partition(".")[0] not in SERVICE_FAILED:
        raise failure
    x.disarm()
    lines.fell_back(x, failure)
    x.leave_gate(failure)  # the fallback's outcome must not count for this service
    if fallback.respond is not None:
        await answer(x, fallback.respond(x))
        return None
    if not may_use_other_service(x) or failure.code == "attempt.total_timeout":
        raise failure
    x.service, x.pinned, x.timeouts = fallback.service, None, timeouts
    return await ask(x)


def pass_head(x: Exchange, upstream: Upstream, head: ResponseHead) -> None:
    """Pass the response on as received: no policy reads it."""
    x.status = head.status
    body = upstream.body
    added = added_fields(x, head.has_date)
    if isinstance(body, Body):
        x.client.send_head(head, added, head.length)
        body.pipe(EventStream(x) if head.event_stream and not head.encoded and head.length < 0 else x.client)
        x.arm_relay(upstream)
    elif head.chunked and head.has_body(x.method):
        # All of it has arrived, so its length is known now.
        x.client.send(head, b"%bcontent-length: %d\r\n" % (added, len(body)), body)
    else:
        x.client.send(head, added, body)
