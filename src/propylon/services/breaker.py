"""A circuit breaker: after too many failures it sends no requests, until one request, the probe, succeeds.

    closed --(too many failures)--> open --(open time over; a probe is sent)--> half open --(probe succeeds)--> closed
                                     ^---------------(probe fails; twice as long)----'

Only outcomes of requests started since the last transition count, so requests sent before it have no effect. The caller
decides what a failure is; a 4xx response is none.

Source: M. Nygard, "Release It!", chapter "Stability Patterns"; https://martinfowler.com/bliki/CircuitBreaker.html. The
rule `failures` is that of the Real-Time API Gateway (5 failures within 10 s open for 15 s).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from propylon.services.recent import Recent, in_a_row, named, remembered
from propylon.services.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

JITTER: Final = 0.1
"""The open time varies by up to this share, so that gateways do not probe at the same time."""

LONGEST: Final = 8
"""The open time grows to this multiple of the first one, unless `open_max` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When to open, and for how long. A rule of `None` is off; each of the others can open the breaker.

    Attributes:
        failure_rate: share of failures within `window`, 0 to 1.
        minimum: outcomes within `window` required for a rate.
        window: seconds covered by `failure_rate` and `failures`; the rate moves in steps of a tenth.
        consecutive: number of consecutive failures.
        failures: number of failures within `window`, regardless of successes.
        slow: seconds after which a response counts as a failure.
        open: seconds from opening to the first probe, and to the next if that one does not end; above 0.
        open_max: maximum open time in seconds, doubled by each failed probe; `None` for 8 times `open`.
    """

    failure_rate: float | None = None
    minimum: int = 20
    window: float = 10.0
    consecutive: int | None = None
    failures: int | None = None
    slow: float | None = None
    open: float = 15.0
    open_max: float | None = None


class Breaker:
    """The breaker of one endpoint or service. `now` is always of `time.monotonic`.

    Check `allows`; for each request sent, call `begin`, and exactly once `end` with the result of `begin`.

    Attributes:
        settings: when it opens.
        state: closed, open, or half open (a probe was sent since it opened).
        retry_at: when the next probe may be sent; 0 when closed.
        opened: number of times it has opened.
        reason: why it last opened; for logs and status pages.
        row: consecutive failures while closed.
    """

    __slots__ = (
        "_changed_at",
        "_failed_at",
        "_max_open",
        "_open_for",
        "_probe_at",
        "_random",
        "_recent",
        "_slow",
        "_window",
        "opened",
        "reason",
        "retry_at",
        "row",
        "settings",
        "state",
    )  # fmt: skip

    def __init__(self, settings: BreakerSettings, random: Callable[[], float]) -> None:
        """`random` returns a float of [0, 1)."""
        self.state: Literal["closed", "open", "half_open"] = "closed"
        self.retry_at = 0.0
        self.opened = 0
        self.reason = ""
        self.settings = settings
        self._random = random
        self._slow = inf if settings.slow is None else settings.slow
        self._max_open = settings.open * LONGEST if settings.open_max is None else max(settings.open_max, settings.open)
        self._open_for = settings.open
        self._changed_at = -inf  # the last opening or closing
        self._probe_at = -inf  # when the last probe was sent
        self.row = 0
        self._failed_at: deque[float] | None = None if settings.failures is None else deque(maxlen=settings.failures)
        self._window = None if settings.failure_rate is None else Window(settings.window)
        self._recent: Recent = ()

    def __repr__(self) -> str:
        return f"<Breaker {self.state} opened={self.opened}>"

    def allows(self, now: float) -> bool:
        """Return whether a request may be sent: it is closed, or a probe is due. Changes nothing."""
        return self.state == "closed" or now >= self.retry_at

    def begin(self, now: float) -> bool:
        """Record the start of a request. Returns True if it is the probe.

        A request sent although the breaker did not allow it, for lack of other endpoints, is no probe.
        """
        if self.state == "closed" or now < self.retry_at:
            return False
        self.state = "half_open"
        self._probe_at = now
        self.retry_at = now + self.settings.open  # a probe that never ends must not block forever
        return True

    def end(self, probe: bool, failed: bool | None, seconds: float, now: float, failure: str = "") -> bool:
        """Record the outcome of a request. Returns True if that opened or closed the breaker.

        Args:
            probe: the result of `begin`.
            failed: `None` for no outcome, such as a client abort: the next request may be the probe at once.
            seconds: from `begin` to this call, to ignore requests sent before the last transition.
            now: the time.
            failure: the name of a failure for `reason`: a code of the table of failures, or a status.
        """
        if self.state != "closed":
            return probe and self._end_probe(failed, seconds, now, failure)
        if failed is None or now - seconds < self._changed_at:
            return False
        if failed or seconds > self._slow:
            return self._fail(now, failure if failed else f"slow, {seconds:.3g} s")
        self.row = 0
        if self._window is not None:
            self._window.add(now)
        return False

    def _end_probe(self, failed: bool | None, seconds: float, now: float, failure: str) -> bool:
        started = now - seconds
        if self.state == "open" or started < self._changed_at:
            return False
        if failed is None:
            # Only the latest probe makes way for the next one, not an earlier one that took too long: probes are `open`
            # seconds apart, so half of that is safe from rounding.
            if started > self._probe_at - self.settings.open / 2:
                self.retry_at = now
            return False
        if failed or seconds > self._slow:
            self._open_for = min(self._open_for * 2, self._max_open)
            why = named((failure,), 1) if failure else ""
            self._open(f"the probe failed{why}" if failed else f"the probe took {seconds:.3g} s", now)
        else:
            self._close(now)
        return True

    def _fail(self, now: float, failure: str) -> bool:
        """Count a failure while closed, and open if a rule is met. No rule opens on a success."""
        self.row += 1
        self._recent = remembered(self._recent, failure)
        if self._failed_at is not None:
            self._failed_at.append(now)
        if self._window is not None:
            self._window.add_failure(now)
        reason = self._rule_met(now)
        if reason:
            self._open(reason, now)
        return bool(reason)

    def _rule_met(self, now: float) -> str:
        """Return the reason to open, or an empty string."""
        settings = self.settings
        if settings.consecutive is not None and self.row >= settings.consecutive:
            return in_a_row(self.row, self._recent)
        times = self._failed_at
        if times is not None and len(times) == times.maxlen and now - times[0] <= settings.window:
            return f"{len(times)} failures in {settings.window:g} s{named(self._recent, len(times))}"
        if self._window is not None and settings.failure_rate is not None:
            total, failures = self._window.total(now), self._window.failures(now)
            if total >= settings.minimum and failures >= settings.failure_rate * total:
                return f"failure rate {failures / total:.0%} of {total} requests{named(self._recent)}"
        return ""

    def _open(self, reason: str, now: float) -> None:
        self.state = "open"
        self.opened += 1
        self.reason = reason
        self.retry_at = now + self._open_for * (1 + JITTER * (2 * self._random() - 1))
        self._changed_at = now

    def _close(self, now: float) -> None:
        self.state = "closed"
        self.retry_at = 0.0
        self._changed_at = now
        self._open_for = self.settings.open
        self.row = 0
        self._recent = ()
        if self._failed_at is not None:
            self._failed_at.clear()
        if self._window is not None:
            self._window.clear()
