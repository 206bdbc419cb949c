"""Passive health: an endpoint that keeps failing is ejected for a while, longer with each consecutive ejection.

As in Envoy's outlier detection, the ejection time is `base` times the number of consecutive ejections, up to `max`, and
that number shrinks by one for every `base` seconds without ejection. Recovery resets the counters, as in Envoy: the
next ejection takes as many failures as the first. nginx's `max_fails` is similar, with a constant time.

The maximum share of ejected endpoints is enforced by `candidates`.

Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier, "Ejection algorithm";
https://nginx.org/en/docs/http/ngx_http_upstream_module.html, `max_fails`.
"""

from __future__ import annotations

from dataclasses import dataclass

from propylon.services.recent import Recent, in_a_row, named, remembered
from propylon.services.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionSettings:
    """When to eject, and for how long. A rule of `None` is off.

    Attributes:
        consecutive: number of consecutive failures.
        failure_rate: share of failures within `window`, 0 to 1.
        minimum: outcomes within `window` required for a rate.
        window: seconds covered by a rate, in steps of a tenth.
        base: seconds of the first ejection; above 0.
        max: seconds of the longest ejection; `base`, if that is longer.
    """

    consecutive: int | None = 5
    failure_rate: float | None = None
    minimum: int = 20
    window: float = 30.0
    base: float = 10.0
    max: float = 300.0


class Ejection:
    """The passive health of one address. `now` is always of `time.monotonic`.

    The settings are passed with each outcome, since services may share an address. If their windows differ, the longest
    one is used for all.

    Attributes:
        until: when the ejection ends; 0 when not ejected.
        times: consecutive ejections as of the last one.
        reason: why it was last ejected; for logs and status pages.
        row: consecutive failures; while 0, a success matters only to a rate.
    """

    __slots__ = ("_recent", "_recovered_at", "_window", "reason", "row", "times", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.times = 0
        self.reason = ""
        self._recovered_at = 0.0
        self.row = 0
        self._window: Window | None = None
        self._recent: Recent = ()

    def __repr__(self) -> str:
        return f"<Ejection until={self.until} times={self.times}>"

    def record(self, failed: bool, now: float, settings: EjectionSettings, failure: str = "") -> bool:
        """Record the outcome of a request. Returns True if it ejects the endpoint.

        During an ejection nothing counts: such requests were sent before it, or for lack of other endpoints.

        Args:
            failed: whether it counts as a failure.
            now: the time.
            settings: when to eject.
            failure: its name for `reason`: a code of the table of failures, or a status.
        """
        if self.until:
            return False
        if not failed:
            if self.row:
                self.row = 0
            if settings.failure_rate is not None:
                window = self._window
                if window is None or window.seconds < settings.window:
                    window = self._rate_window(settings)
                window.add(now)
            return False
        self.row += 1
        self._recent = remembered(self._recent, failure)
        reason = self._rule_met(now, settings)
        if reason:
            self._eject(reason, now, settings)
        return bool(reason)

    def recover(self, now: float) -> bool:
        """End the ejection if its time is over. Returns True if it ends now."""
        if not self.until or now < self.until:
            return False
        self.end(now)
        return True

    def end(self, now: float) -> None:
        """End the ejection, whatever is left of its time."""
        self.until = 0.0
        self._recovered_at = now
        self.row = 0
        self._window = None
        self._recent = ()

    def _rate_window(self, settings: EjectionSettings) -> Window:
        window = self._window
        if window is None or window.seconds < settings.window:
            window = self._window = Window(settings.window)
        return window

    def _rule_met(self, now: float, settings: EjectionSettings) -> str:
        """Count a failure, and return the reason to eject, or an empty string."""
        reason = ""
        if settings.failure_rate is not None:
            window = self._rate_window(settings)
            window.add_failure(now)
            total, failures = window.total(now), window.failures(now)
            if total >= settings.minimum and failures >= settings.failure_rate * total:
                reason = f"failure rate {failures / total:.0%} of {total} requests{named(self._recent)}"
        if settings.consecutive is not None and self.row >= settings.consecutive:
            reason = in_a_row(self.row, self._recent)
        return reason

    def _eject(self, reason: str, now: float, settings: EjectionSettings) -> None:
        max_seconds = max(settings.max, settings.base)
        decay = int((now - self._recovered_at) / settings.base)
        self.times = max(0, self.times - decay)
        # Not beyond the longest time, or recovery from a long outage would take as long.
        if self.times * settings.base < max_seconds:
            self.times += 1
        self.until = now + min(settings.base * self.times, max_seconds)
        self.reason = reason
