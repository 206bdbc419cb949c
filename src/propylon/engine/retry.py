"""Whether and when an exchange is retried: decisions, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.engine.body import Body

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from propylon.engine.attempt import Attempt
    from propylon.engine.backend import Endpoint
    from propylon.engine.exchange import Exchange

STATUS: Final = "status"
"""The cause of a retry because of the status of a response."""

UNSEEN: Final = frozenset(("connect", "busy"))
"""Causes with which no endpoint has received any of the request."""

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""Methods that may be sent twice (RFC 9110 9.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """When an exchange is retried.

    Attributes:
        attempts: tries in all; 1 for no retries.
        on: causes, as the table of failures has them (`failures.py`).
        statuses: of responses that are not passed on while a retry is allowed.
        methods: of requests that may be sent twice. A request of which nothing was sent may always be retried.
        same_endpoint: whether an endpoint that failed may be tried again when there is no other.
        backoff: upper bound of the first wait in seconds; it doubles with every further one.
        backoff_max: upper bound of every wait in seconds, and the longest Retry-After that is honoured.
        per_try: seconds for the head of each response, if that is less than the exchange's own timeout.
        body_buffer: bytes of a request body that are kept for a retry; larger ones are sent once.
    """

    attempts: int = 3
    on: frozenset[str] = frozenset(("connect", "busy", "reset"))
    statuses: frozenset[int] = frozenset()
    methods: frozenset[bytes] = IDEMPOTENT
    same_endpoint: bool = False
    backoff: float = 0.025
    backoff_max: float = 0.25
    per_try: float | None = None
    body_buffer: int = 64 * 1024

    def delay(self, retries: int, random: Callable[[], float]) -> float:
        """Return how many seconds to wait before the retry that follows `retries` earlier ones.

        "Full jitter": a random part of an exponentially growing time, so that requests that failed together are not
        retried together (M. Brooker, "Exponential Backoff And Jitter", 2015).
        """
        return random() * min(self.backoff_max, self.backoff * 2.0**retries)


def may_use_other_service(x: Exchange) -> bool:
    """Return whether another service may get the request: nothing of it was sent, or it may be sent twice."""
    return not x.attempts or may_repeat(x)


def may_repeat(x: Exchange) -> bool:
    """Return whether a request that was sent may be sent a second time, and its body is still there."""
    service = x.service
    assert service is not None
    if x.method not in (x.route.retry or service.retry).methods:
        return False
    if isinstance(x.body, Body):
        return x.replay is not None and x.replay.complete
    return not (x.body and x.route.pipeline.on_request_chunk)  # a hook must not see the same body twice


def retry_in(
    x: Exchange,
    attempt: Attempt,
    retry: RetrySettings,
    tried: Collection[Endpoint],
    cause: str,
    pause: float | None = None,
) -> float | None:
    """Return the seconds to wait before a retry; `None` for no retry.

    Args:
        attempt: the last attempt.
        cause: of its failure, as in the table of failures, or `STATUS`.
        pause: seconds of the endpoint's Retry-After.
    """
    service = x.service
    if service is None or len(tried) >= retry.attempts or x.pinned is not None:
        return None
    if cause not in retry.on and cause != STATUS:
        return None
    if attempt.sent and not may_repeat(x):
        return None
    wait = retry.delay(len(tried) - 1, service.random)
    if service.has_other(tried):
        if cause in UNSEEN:  # no endpoint has worked on it, so none needs a pause
            wait = 0.0
    else:
        if not retry.same_endpoint or (pause is not None and pause > retry.backoff_max):
            return None
        wait = max(wait, pause or 0.0)
    now = monotonic()
    if now + wait >= x.total_deadline or not service.budget.withdraw(now):
        return None
    return wait
