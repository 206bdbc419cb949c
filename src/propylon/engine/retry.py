"""Whether and when an exchange is tried again, and where: decisions, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

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
