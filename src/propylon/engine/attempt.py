"""Step 5: one try of an exchange at one endpoint, from an upstream to the head of its answer.

An attempt is a small state machine that whoever waits for it steps by `advance`: the exchange, a race of two attempts
(`hedge.py`), a request of the gateway's own (`subrequest.py`). It goes on as far as is possible now, and keeps no
coroutine but that of its policies:

    no upstream -> leased -> policies -> sent -> head
         ^                                |
         +----- once more, if a kept -----+
                 connection had closed

It owns its upstream, and every attempt that was begun is settled, whatever happens, so that the counts of endpoints,
breakers and limits are right.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

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
        endpoint: where it goes.
        upstream: what carries it, until it is settled; one that is there before the first `advance` is used.
        number: 1 for the first time that the request is sent; 0 before.
        since: when the endpoint was chosen (`time.monotonic`).
        began: when the request was sent; before that, when the endpoint was chosen.
        sent: whether any of the request was written.
        probe: whether the endpoint's circuit is half open and this try decides.
        service_probe: the same of the service's circuit.
        extra: fields for this endpoint alone, as lines, each with its CRLF; for policies of the attempt.
        head_at: when the head of its answer came (`time.monotonic`); 0.0 before.
        outcome: the status of its answer, the code of its failure if there is none, or 0 for neither.
        previous: the attempt before this one, settled already.
        rows: failures in a row that the head of its answer has put an end to, of the endpoint's ejection and circuit.
    """

    __slots__ = (
        "_exchange", "_headers", "_lease", "_policies", "_repeated", "_service", "began", "endpoint", "extra",
        "head_at", "number", "outcome", "previous", "probe", "rows", "sent", "service_probe", "since", "upstream",
    )  # fmt: skip

    def __init__(self, x: Exchange, service: Service | None, endpoint: Endpoint) -> None:
        """Begin a try; it is counted for `service`, if there is one."""
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
        """What is sent; a change counts for this try only.

        Raises:
            RuntimeError: the attempt is settled, and no policy had looked at what it sent.
        """
        if self._headers is None:
            x = self._exchange
            if x is None:
                raise RuntimeError("the attempt is over: its headers are for policies of the attempt")
            request = x.changed_request
            self._headers = Headers(tuple(request.headers.raw) if request is not None else x.fields.visible)
        return self._headers

    @property
    def looked_at(self) -> Headers | None:
        """The same, if any policy has looked at it for this try: only then it may have changed."""
        return self._headers

    # carrying it out

    def advance(self) -> bool:
        """Go on as far as is possible now; tell whether the head of the answer is there.

        Raises:
            GatewayError: connect.*, choose.queue_full, attempt.*, head.*, request.policy_failed, read.bad_target.
        """
        while True:
            upstream = self.upstream
            if upstream is None:
                if self._lease is None:
                    upstream = self.endpoint.pool.take()
                if upstream is None and (upstream := self._leased()) is None:
                    return False
                self.upstream = upstream
            if not self.number:
                x = self._exchange
                assert x is not None
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
        """Lease an upstream; return `None` while the lease is open."""
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
        """Go on with the policies; when they are done, send the request unless the upstream has failed before."""
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
        """Begin anew after a failure that is no failure of the endpoint; raise any other.

        An endpoint may close a kept connection in the very moment a request is written to it. If no byte came back and
        the request may be sent twice, it is sent once more, on a new connection (RFC 9112 9.3.1).
        """
        x = self._exchange
        assert x is not None
        if x.attempt is self:  # in a race, the deadline is that of the other one too
            x.disarm()
        if upstream.fresh or self._repeated or (self.sent and (upstream.heard or not may_repeat(x))):
            raise error
        self._repeated = True
        self.number = 0
        self._headers, self.extra = None, b""  # policies are asked anew
        if x.replay is not None:
            x.replay.wait()
        self.upstream = None
        upstream.finish()
        self._lease = self.endpoint.pool.lease(x)

    # how it ends

    def answered(self, status: int, now: float) -> None:
        """Learn that the head of an answer has come."""
        self.head_at = now
        self.outcome = status
        if self._service is not None:
            self._service.answered(self, status, now)

    def outrun(self, now: float) -> None:
        """Learn that another endpoint's answer is taken, before this one's has come."""
        if self._service is not None:
            self._service.outrun(self, now)

    def blame(self, error: GatewayError) -> None:
        """Learn that the try has failed, whoever is to blame."""
        if not self.outcome:
            self.outcome = error.code
        if self._service is None or not error.failure.blames_endpoint:
            return
        if error.code != "attempt.total_timeout" or not self._waits_for_others():
            self._service.failed(self, monotonic())

    def _waits_for_others(self) -> bool:
        """Tell whether the endpoint could not answer yet: a policy works on the try, or the client is slow to send."""
        if self.upstream is None:
            return False
        if not self.sent:
            return True
        assert self._exchange is not None
        body = self._exchange.body
        return isinstance(body, Body) and not body.ended and not self.upstream.stalled

    def settle(self) -> None:
        """Give back what it holds, and count it as over, whatever became of it. Further calls do nothing."""
        self._exchange = None  # which keeps the attempt: a circle would have to wait for the collector
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
