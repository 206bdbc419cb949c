"""Steps 4 and 5: choose an endpoint, send the request to it, and try another one if that comes to nothing.

Rules of the file: a request is sent again only if it may be (`_may_repeat`), there is somewhere else to send it, and
the service's budget allows it; the answer or the failure of the last try is the one that counts. Every attempt that was
begun is ended, whatever happens, so that the counts of endpoints, breakers and limits are right.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.engine.alarm import Alarm
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.hedge import first_answer_of_two, hedge_after
from propylon.engine.replay import Replay
from propylon.engine.request_out import new_connection, send_attempt, send_request
from propylon.http.headers import Headers

if TYPE_CHECKING:
    from collections.abc import Collection

    from propylon.engine.backend import Endpoint, Service
    from propylon.engine.exchange import Exchange
    from propylon.engine.retry import RetrySettings
    from propylon.engine.sides import Upstream

STATUS: Final = "status"
"""The cause of a retry whose reason is the status of an answer."""

UNSEEN: Final = frozenset(("connect", "busy"))
"""Causes for which no endpoint has seen anything of the request."""


class Attempt:
    """One try of an exchange at one endpoint.

    Attributes:
        endpoint: where it goes.
        number: 1 for the first time that the request is sent.
        since: when the endpoint was chosen (`time.monotonic`).
        began: when the request was sent; before that, when the endpoint was chosen.
        sent: whether any of the request was written.
        probe: whether the endpoint's circuit is half open and this try decides.
        service_probe: the same of the service's circuit.
        rows: failures in a row that the head of its answer has put an end to, of the endpoint's ejection and circuit.
    """

    __slots__ = (
        "_exchange", "_headers", "_service", "began", "endpoint", "number", "probe", "rows", "sent",
        "service_probe", "since",
    )  # fmt: skip

    def __init__(self, x: Exchange, service: Service, endpoint: Endpoint) -> None:
        self._exchange = x
        self._headers: Headers | None = None
        self._service: Service | None = service
        self.endpoint = endpoint
        self.number = 0
        self.sent = self.probe = self.service_probe = False
        self.rows: tuple[int, int] | None = None
        self.since = self.began = monotonic()
        endpoint.vitals.inflight += 1
        if service.breaks:
            service.begin(self, self.since)

    @property
    def headers(self) -> Headers:
        """What is sent; a change counts for this try only."""
        if self._headers is None:
            request = self._exchange.changed_request
            raw = tuple(request.headers.raw) if request is not None else self._exchange.fields.visible
            self._headers = Headers(raw)
        return self._headers

    @property
    def looked_at(self) -> Headers | None:
        """The same, if any policy has looked at it for this try: only then it may have changed."""
        return self._headers

    def forget_changes(self) -> None:
        """Forget what policies changed: the request is sent once more, and they are asked anew."""
        self._headers = None

    def answered(self, status: int, now: float) -> None:
        """Learn that the head of an answer has come."""
        if self._service is not None:
            self._service.answered(self, status, now)

    def outrun(self, now: float) -> None:
        """Learn that another endpoint's answer is taken, before this one's has come."""
        if self._service is not None:
            self._service.outrun(self, now)

    def blame(self, error: GatewayError) -> None:
        """Learn that the try has failed, whoever is to blame."""
        if self._service is None or not error.failure.blames_endpoint:
            return
        if error.code != "attempt.total_timeout" or not self._waits_for_others():
            self._service.failed(self, monotonic())

    def _waits_for_others(self) -> bool:
        """Tell whether the endpoint could not answer yet: a policy works on the try, or the client is slow to send."""
        x = self._exchange
        if x.upstream is None:
            return False
        if not self.sent:
            return True
        return isinstance(x.body, Body) and not x.body.ended and not x.upstream.stalled

    def end(self) -> None:
        """Learn that the try is over, whatever became of it. Further calls do nothing."""
        service, self._service = self._service, None
        if service is not None:
            self.endpoint.vitals.inflight -= 1
            if self.probe or self.service_probe:
                service.inconclusive(self, monotonic())


async def attempt(x: Exchange, lost: Endpoint | None = None) -> Upstream:
    """Ask endpoints until one answers with something to pass on; return with the head of that answer.

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
    if service.concurrency is not None and x.admitted is not service:
        await service.concurrency.enter(x)
        x.admitted = service
    service.budget.deposit(x.started)
    if x.body and isinstance(x.body, Body) and x.replay is None:
        _keep_body(x, service, retry)
    tried: list[Endpoint] = []
    while True:
        avoid = tried if lost is None else [*tried, lost]
        endpoint = x.endpoint = x.pinned or service.only or service.choose(x, avoid)
        x.attempt = made = Attempt(x, service, endpoint)
        tried.append(endpoint)
        try:
            if service.hedge_delay is not None:
                upstream = await _hedged(x, service, retry, tried)
                made = x.attempt
            else:
                sent = _send_at_once(x, made)
                while sent is not None and sent.head is None and sent.error is None:
                    await x.pause()  # here, and not in `_try`: a coroutine less to create and to step through
                upstream = sent if sent is not None and sent.error is None else await _try(x, made, retry)
        except GatewayError as error:
            made.blame(error)
            wait = _retry_in(x, service, retry, tried, error.failure.cause)
            if wait is None:
                give_up(x)
                raise
        else:
            head = upstream.head
            assert head is not None
            is_probe = made.probe  # until the service learns of the answer
            service.answered(made, head.status, monotonic())
            if head.status not in retry.statuses:
                break
            wait = _retry_in(x, service, retry, tried, STATUS, _seconds(head.first(b"retry-after")))
            if wait is None:
                break
        give_up(x)
        x.disarm()
        if wait:
            await _wait(x, wait)
    x.deadline = x.total_deadline = inf
    # A probe has gone where nobody chose to send it, and a 101 is sent already.
    if service.fields is not None and x.endpoint is not None and not is_probe and not x.status:
        x.extra_fields += service.fields(x, x.endpoint)
    return upstream


def _send_at_once(x: Exchange, made: Attempt) -> Upstream | None:
    """Send the request if a connection rests and no policy looks at the attempt; return `None` if it is not so."""
    upstream = made.endpoint.pool.take() if not x.route.pipeline.on_attempt else None
    if upstream is None:
        return None
    x.upstream = upstream
    upstream.begin(x)
    x.attempts = made.number = x.attempts + 1
    if upstream.error is None:
        made.sent = True
        send_request(x, made.endpoint, upstream, None)
    return upstream


async def _try(x: Exchange, made: Attempt, retry: RetrySettings) -> Upstream:
    """Send the request to an endpoint and wait for the head of its answer.

    An endpoint may close a kept connection in the very moment a request is written to it. That is nobody's failure:
    if no byte came back and the request may be sent twice, it is sent once more, on a new connection
    (RFC 9112 9.3.1).
    """
    upstream = x.upstream or made.endpoint.pool.take()  # the first one is of `_send_at_once`
    repeated = False
    while True:
        if upstream is None:
            upstream = await new_connection(x, made.endpoint)
        if upstream is not x.upstream:
            x.upstream = upstream
            await send_attempt(x, made, upstream)
        while upstream.head is None and upstream.error is None:
            await x.pause()
        if upstream.error is None:
            return upstream
        x.disarm()
        if upstream.fresh or repeated or (made.sent and (upstream.heard or not _may_repeat(x, retry))):
            raise upstream.error
        repeated = True
        if x.replay is not None:
            x.replay.wait()
        upstream.finish()
        upstream = x.upstream = None
        made.forget_changes()


async def _hedged(x: Exchange, service: Service, retry: RetrySettings, tried: list[Endpoint]) -> Upstream:
    """Do what `_try` does, and ask a second endpoint if the first one is slow and the request allows it."""
    first = x.attempt
    assert first is not None
    delay = hedge_after(x, service.hedge_delay, retry) if service.hedge_delay is not None else None
    if delay is None:
        return await _try(x, first, retry)

    def second() -> Attempt | None:
        if not service.has_other(tried):
            return None
        try:
            endpoint = service.choose(x, tried)
        except GatewayError:  # the first one may still answer
            return None
        if endpoint in tried or endpoint.pool.full:  # nobody stands in line for a second answer
            return None
        if not service.budget.withdraw(monotonic()):
            return None
        tried.append(endpoint)
        return Attempt(x, service, endpoint)

    leg = await first_answer_of_two(x, first, delay, second, retry.statuses)
    x.attempt, x.endpoint, x.upstream = leg.attempt, leg.attempt.endpoint, leg.upstream
    assert leg.upstream is not None
    return leg.upstream


def _keep_body(x: Exchange, service: Service, retry: RetrySettings) -> None:
    """Keep the body that is under way while it is sent, if the request may be sent again."""
    if x.method not in retry.methods or x.route.pipeline.on_request_chunk:
        return
    again = retry.attempts > 1 and (retry.same_endpoint or len(service.endpoints) > 1)
    if again or (x.route.fallback is not None and x.route.fallback.service is not None):
        x.replay = Replay(retry.body_buffer)


def may_go_elsewhere(x: Exchange) -> bool:
    """Say whether another service may have the request: nothing of it was sent, or it may be sent twice."""
    service = x.service
    assert service is not None
    return not x.attempts or _may_repeat(x, x.route.retry or service.retry)


def _may_repeat(x: Exchange, retry: RetrySettings) -> bool:
    """Say whether a request that was sent may be sent a second time, and still can be."""
    if x.method not in retry.methods:
        return False
    if isinstance(x.body, Body):
        return x.replay is not None and x.replay.whole
    return not (x.body and x.route.pipeline.on_request_chunk)  # a hook must not see the same body twice


def _retry_in(
    x: Exchange,
    service: Service,
    retry: RetrySettings,
    tried: Collection[Endpoint],
    cause: str,
    pause: float | None = None,
) -> float | None:
    """Return in how many seconds the request is to be tried again; `None` if it is not.

    Args:
        cause: why the last try came to nothing, as the table of failures calls it, or `STATUS`.
        pause: what the endpoint asked for by Retry-After.
    """
    made = x.attempt
    if len(tried) >= retry.attempts or x.pinned is not None or made is None:
        return None
    if cause not in retry.on and cause != STATUS:
        return None
    if made.sent and not _may_repeat(x, retry):
        return None
    wait = retry.delay(len(tried) - 1, service.random)
    if service.has_other(tried):
        if cause in UNSEEN:  # nobody has had anything to do for it, who would need the rest
            wait = 0.0
    else:
        if not retry.same_endpoint or (pause is not None and pause > retry.backoff_max):
            return None
        wait = max(wait, pause or 0.0)
    now = monotonic()
    if now + wait >= x.total_deadline or not service.budget.withdraw(now):
        return None
    return wait


def give_up(x: Exchange) -> None:
    """End the attempt under way; its connection is closed unless it is clean."""
    if x.replay is not None:
        x.replay.wait()
    if x.upstream is not None:
        x.upstream.finish()
        x.upstream = None
    if x.attempt is not None:
        x.attempt.end()
        x.attempt = None


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
