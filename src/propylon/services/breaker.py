"""A circuit breaker: after too many failures nobody is sent, until one request, the probe, has shown it is well again.

    closed --(too many failures)--> open --(its time is over; a probe is sent)--> half open --(probe is well)--> closed
                                     ^----------------(probe failed; twice as long)----'

Only outcomes of requests begun since the last opening or closing count, so what was sent before and ends late changes
nothing. The caller decides what a failure is; an answer of 4xx is none.

Source: M. Nygard, "Release It!", chapter "Stability Patterns"; https://martinfowler.com/bliki/CircuitBreaker.html. The
rule `failures` is the one of the Real-Time API Gateway (5 failures within 10 s open for 15 s).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from propylon.services.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

JITTER: Final = 0.1
"""The open time is longer or shorter by up to this share, so that many gateways do not probe in the same moment."""

LONGEST: Final = 8
"""The open time grows to so many times the first one, unless `open_max` says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When to open, and for how long. A rule that is `None` is off; any of the others may open the breaker.

    Attributes:
        failure_rate: the share of failures, 0 to 1, within `window`, that opens.
        minimum: outcomes within `window` that a rate needs.
        window: seconds that `failure_rate` and `failures` look back; the rate does it in steps of a tenth.
        consecutive: so many failures in a row.
        failures: so many failures within `window`, whatever succeeds between them.
        slow: an answer that takes more seconds is a failure.
        open: seconds from the opening to the first probe, and to the next if that one does not end; above 0.
        open_max: seconds to which the time doubles with each failed probe; `None` for 8 times `open`.
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

    Ask `allows`; if a request is then sent, call `begin`, and exactly once `end` with what `begin` returned.

    Attributes:
        settings: when it opens.
        state: closed, open, or half open: a probe has been sent since it opened.
        retry_at: when the next probe may be sent; 0 when closed.
        opened: how often it has opened.
        reason: why it opened last; for logs and status pages.
        row: failures in a row while it is closed.
    """

    __slots__ = (
        "_longest", "_open_for", "_probe_at", "_random", "_since", "_slow", "_times", "_window",
        "opened", "reason", "retry_at", "row", "settings", "state",
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
        self._longest = settings.open * LONGEST if settings.open_max is None else max(settings.open_max, settings.open)
        self._open_for = settings.open
        self._since = -inf  # the last opening or closing
        self._probe_at = -inf  # when the last probe was sent
        self.row = 0
        self._times: deque[float] | None = None if settings.failures is None else deque(maxlen=settings.failures)
        self._window = None if settings.failure_rate is None else Window(settings.window)

    def __repr__(self) -> str:
        return f"<Breaker {self.state} opened={self.opened}>"

    def allows(self, now: float) -> bool:
        """Tell whether a request may be sent: it is closed, or a probe is due. Changes nothing."""
        return self.state == "closed" or now >= self.retry_at

    def begin(self, now: float) -> bool:
        """Learn that a request is sent. Returns True if it is the probe.

        A request sent although the breaker did not allow it, because nothing better was left, is none.
        """
        if self.state == "closed" or now < self.retry_at:
            return False
        self.state = "half_open"
        self._probe_at = now
        self.retry_at = now + self.settings.open  # a probe that never ends must not block for ever
        return True

    def end(self, probe: bool, failed: bool | None, seconds: float, now: float) -> bool:
        """Learn how a request went. Returns True if that opened or closed the breaker.

        Args:
            probe: what `begin` returned.
            failed: `None` if it tells nothing, because the client went away: the next may be the probe at once.
            seconds: from `begin` to this call, so that it is known what the request was sent to.
            now: the time.
        """
        if self.state != "closed":
            return probe and self._end_probe(failed, seconds, now)
        if failed is None or now - seconds < self._since:
            return False
        if failed or seconds > self._slow:
            return self._fail(now)
        self.row = 0
        if self._window is not None:
            self._window.add(now)
        return False

    def _end_probe(self, failed: bool | None, seconds: float, now: float) -> bool:
        begun = now - seconds
        if self.state == "open" or begun < self._since:
            return False
        if failed is None:
            # The last probe frees its place, and not one before it that took too long: those are `open` seconds apart,
            # so half of that is far from any rounding.
            if begun > self._probe_at - self.settings.open / 2:
                self.retry_at = now
            return False
        if failed or seconds > self._slow:
            self._open_for = min(self._open_for * 2, self._longest)
            self._open("the probe failed" if failed else f"the probe took {seconds:.3g} s", now)
        else:
            self._close(now)
        return True

    def _fail(self, now: float) -> bool:
        """Count a failure while closed, and open if a rule says so. No rule opens on a success."""
        self.row += 1
        if self._times is not None:
            self._times.append(now)
        if self._window is not None:
            self._window.add_failure(now)
        reason = self._too_many(now)
        if reason:
            self._open(reason, now)
        return bool(reason)

    def _too_many(self, now: float) -> str:
        """Return which rule is broken, or an empty text."""
        settings = self.settings
        if settings.consecutive is not None and self.row >= settings.consecutive:
            return f"{self.row} failures in a row"
        times = self._times
        if times is not None and len(times) == times.maxlen and now - times[0] <= settings.window:
            return f"{len(times)} failures in {settings.window:g} s"
        if self._window is not None and settings.failure_rate is not None:
            total, failures = self._window.total(now), self._window.failures(now)
            if total >= settings.minimum and failures >= settings.failure_rate * total:
                return f"failure rate {failures / total:.0%} of {total} requests"
        return ""

    def _open(self, reason: str, now: float) -> None:
        self.state = "open"
        self.opened += 1
        self.reason = reason
        self.retry_at = now + self._open_for * (1 + JITTER * (2 * self._random() - 1))
        self._since = now

    def _close(self, now: float) -> None:
        self.state = "closed"
        self.retry_at = 0.0
        self._since = now
        self._open_for = self.settings.open
        self.row = 0
        if self._times is not None:
            self._times.clear()
        if self._window is not None:
            self._window.clear()
