"""Step 5: one try of an exchange at one endpoint, from an upstream to the response's head.

An attempt is a state machine, stepped by `advance`: by an exchange (`ask.py`), a race of two attempts (`hedge.py`), a
subrequest (`subrequest.py`). Each step makes all transitions that are possible now. The only coroutine it holds is that
of its policies:

    no upstream -> leased -> policies -> sent -> head
         ^                                |
         +----- once more, if a kept -----+
                 connection was closed

It owns its upstream. Every attempt is settled, in every case, so that the counts of endpoints, circuit breakers and
limits stay right.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine import lines
from propylon.engine.body import Body
from propylon.engine.pipeline import run_all
from propylon.engine.request_out import send_request
from propylon.engine.retry import may_repeat
from propylon.http.headers import Headers

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from propylon.engine.backend import Endpoint, Lease, Service
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Upstream


class Attempt:
    """One try of an exchange at one endpoint.

    Attributes:
        endpoint: where the request is sent.
        upstream: carries the request, until the attempt is settled; one set before the first `advance` is used.
        number: how many times the request has been sent, this one included; 0 before.
        since: when the endpoint was chosen (`time.monotonic`).
        began: when the request was sent; before that, when the endpoint was chosen.
        sent: whether any of the request was written.
        probe: whether it is the probe of the endpoint's half-open circuit.
        service_probe: whether it is the probe of the service's half-open circuit.
        extra: fields for this attempt alone, as lines, each with its CRLF; set by on_attempt policies.
        head_at: when the response's head arrived (`time.monotonic`); 0.0 before.
        outcome: the response's status, or without one the code of the failure; 0 for neither.
        previous: the attempt before this one, settled already.
        rows: consecutive failures that the response's head has ended, of the endpoint's ejection and circuit.
    """

    __slots__ = (
        "_exchange", "_headers", "_lease", "_policies", "_repeated", "_service", "began", "endpoint", "extra",
        "head_at", "number", "outcome", "previous", "probe", "rows", "sent", "service_probe", "since", "upstream",
    )  # fmt: skip

    def __init__(self, x: Exchange, service: Service | None, endpoint: Endpoint) -> None:
        """Start an attempt; it is counted for `service`, if there is one."""
        self._exchange: Exchange | None = x
        self._headers: Headers | None = None
        self._lease: Lease | None = None
        self._policies: Coroutine[None, None, None] | None = None
        self._repeated = False
        self._service = service
        self.endpoint = endpoint
        self.upstream: Upstream | None = None
        self.rows: tuple[int, int] | None = None
        self.previous = x.attempt
        self.extra = b""
        self.head_at = 0.0
        self.outcome: int | str = 0
        self.number = 0
        self.sent = self.probe = self.service_probe = False
        self.since = self.began = monotonic()
        if service is not None:
            endpoint.vitals.inflight += 1
            if service.breaks:
                service.begin(self, self.since)

    @property
    def headers(self) -> Headers:
        """The header section that is sent; a change is for this attempt only.

        Raises:
            RuntimeError: the attempt is settled, and no policy had read its headers before.
        """
        if self._headers is None:
            x = self._exchange
            if x is None:
                raise RuntimeError("the attempt is over: its headers are for policies of the attempt")
            request = x.changed_request
            self._headers = Headers(tuple(request.headers.raw) if request is not None else x.fields.visible)
        return self._headers

    # transitions

    def advance(self) -> bool:
        """Make all transitions that are possible now; return whether the response's head is there.

        Raises:
            GatewayError: connect.*, choose.queue_full, attempt.*, head.*, request.policy_failed, read.bad_target.
        """
        x = self._exchange
        assert x is not None
        while True:
            upstream = self.upstream
            if upstream is None:
                if self._lease is None:
                    upstream = self.endpoint.pool.take(x, self.since)
                if upstream is None and (upstream := self._leased()) is None:
                    return False
                self.upstream = upstream
            if not self.number:
                upstream.begin(x)
                x.attempts = self.number = x.attempts + 1
                if x.route.pipeline.on_attempt:
                    self._policies = run_all(x, x.route.pipeline.on_attempt, self, code="request.policy_failed")
                elif upstream.error is None:
                    self.sent = True
                    send_request(x, self.endpoint, upstream, None)
            if self._policies is not None and not self._prepared(self._policies, upstream):
                return False
            if upstream.error is None:
                return upstream.head is not None
            self._repeat(upstream, upstream.error)

    def _leased(self) -> Upstream | None:
        """Lease an upstream; return `None` while the lease is undecided."""
        lease = self._lease
        if lease is None:
            assert self._exchange is not None
            lease = self._lease = self.endpoint.pool.lease(self._exchange)
        if lease.error is not None:
            raise lease.error
        upstream = lease.upstream
        if upstream is not None:
            self._lease = None
            self.began = monotonic()
        return upstream

    def _prepared(self, policies: Coroutine[None, None, None], upstream: Upstream) -> bool:
        """Step the policies; after the last, send the request if the upstream is good. Return whether they are done."""
        try:
            policies.send(None)
        except StopIteration:
            self._policies = None
        else:
            return False
        if upstream.error is None:
            self.sent = True
            self.began = monotonic()
            assert self._exchange is not None
            send_request(self._exchange, self.endpoint, upstream, self._headers, self.extra)
        return True

    def _repeat(self, upstream: Upstream, error: GatewayError) -> None:
        """Send once more after a failure that is not the endpoint's; raise any other.

        An endpoint may close a keep-alive connection while a request is written to it. If no byte came back and the
        request may be sent twice, it is sent once more, on a new connection (RFC 9112 9.3.1).
        """
        x = self._exchange
        assert x is not None
        if x.attempt is self:  # in a race, the deadline is also the other attempt's
            x.disarm()
        if upstream.fresh or self._repeated or (self.sent and (upstream.heard or not may_repeat(x))):
            raise error
        lines.repeated(x, self.endpoint, error)
        self._repeated = True
        self.number = 0
        self._headers, self.extra = None, b""  # on_attempt policies run again
        if x.replay is not None:
            x.replay.suspend()
        self.upstream = None
        upstream.finish()
        self._lease = self.endpoint.pool.lease(x)

    # outcome

    def answered(self, status: int, now: float) -> None:
        """Record a response's head."""
        self.head_at = now
        self.outcome = status
        if self._service is not None:
            self._service.answered(self, status, now)

    def outrun(self, now: float) -> None:
        """Record that another endpoint's response was taken before this one responded."""
        if self._service is not None:
            self._service.outrun(self, now)

    def blame(self, error: GatewayError) -> None:
        """Record a failure; it counts against the endpoint only if the failure blames it."""
        if not self.outcome:
            self.outcome = error.code
        if self._service is None or not error.failure.blames_endpoint or self._refused_upload(error):
            return
        if error.code != "attempt.total_timeout" or not self._waits_for_request():
            self._service.failed(self, error.code, monotonic())

    def _refused_upload(self, error: GatewayError) -> bool:
        """Return whether the endpoint refused a request with a body, and lost the end of its response by closing.

        A close with bytes unread resets the connection (RFC 9112 9.6), as any client can bring about: by a large upload
        without credentials, say.
        """
        x, status = self._exchange, self.outcome
        if error.code != "relay.truncated" or x is None or not x.body:
            return False
        return isinstance(status, int) and 300 <= status < 500

    def _waits_for_request(self) -> bool:
        """Return whether the endpoint could not respond yet: a policy still runs, or the client is slow to send."""
        if self.upstream is None:
            return False
        if not self.sent:
            return True
        assert self._exchange is not None
        body = self._exchange.body
        return isinstance(body, Body) and not body.ended and not self.upstream.stalled

    def settle(self) -> None:
        """Release what it holds, and count it as ended. Further calls do nothing."""
        self._exchange = None  # which refers to the attempt: a cycle would wait for the garbage collector
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            if self._policies is not None:
                self._policies.close()
                self._policies = None
            upstream.finish()
        elif self._lease is not None:
            self._lease.withdraw()
            self._lease = None
        service, self._service = self._service, None
        if service is not None:
            self.endpoint.vitals.inflight -= 1
            if self.probe or self.service_probe:
                service.inconclusive(self, monotonic())
