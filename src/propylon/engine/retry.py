"""Whether and when an exchange is tried again, and where: decisions, no I/O."""

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
"""The cause of a retry whose reason is the status of an answer."""

UNSEEN: Final = frozenset(("connect", "busy"))
"""Causes for which no endpoint has seen anything of the request."""

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""Methods that may be sent twice (RFC 9110 9.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """When an exchange is tried again.

    Attributes:
        attempts: tries in all; 1 for no retries.
        on: causes, as the table of failures has them (`failures.py`).
        statuses: answers that are not passed on while another try is allowed.
        methods: of requests that may be sent twice. What was never sent may always be.
        same_endpoint: whether an endpoint that failed may be asked again when there is no other.
        backoff: seconds that the first wait takes at the most; it doubles with every further one.
        backoff_max: seconds that a wait takes at the most, and the longest Retry-After that is waited for.
        per_try: seconds for the head of each answer, if that is less than the exchange's own time.
        body_buffer: bytes of a request body that are kept for a further try; larger ones are sent once.
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

        "Full jitter": a random part of an exponentially growing time, so that those that failed together do not come
        back together (M. Brooker, "Exponential Backoff And Jitter", 2015).
        """
        return random() * min(self.backoff_max, self.backoff * 2.0**retries)


def may_go_elsewhere(x: Exchange) -> bool:
    """Say whether another service may have the request: nothing of it was sent, or it may be sent twice."""
    return not x.attempts or may_repeat(x)


def may_repeat(x: Exchange) -> bool:
    """Say whether a request that was sent may be sent a second time, and still can be."""
    service = x.service
    assert service is not None
    if x.method not in (x.route.retry or service.retry).methods:
        return False
    if isinstance(x.body, Body):
        return x.replay is not None and x.replay.whole
    return not (x.body and x.route.pipeline.on_request_chunk)  # a hook must not see the same body twice


def retry_in(
    x: Exchange,
    made: Attempt,
    retry: RetrySettings,
    tried: Collection[Endpoint],
    cause: str,
    pause: float | None = None,
) -> float | None:
    """Return in how many seconds the request is to be tried again; `None` if it is not.

    Args:
        made: the last try.
        cause: why it came to nothing, as the table of failures calls it, or `STATUS`.
        pause: what the endpoint asked for by Retry-After.
    """
    service = x.service
    if service is None or len(tried) >= retry.attempts or x.pinned is not None:
        return None
    if cause not in retry.on and cause != STATUS:
        return None
    if made.sent and not may_repeat(x):
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
