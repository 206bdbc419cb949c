"""Passive health: an endpoint that keeps failing is left out for a while, each time in a row for longer.

As Envoy's outlier detection, which see: the time out is `base` times the number of ejections in a row, up to `max`, and
that number shrinks by one for every `base` seconds of good behaviour. Coming back resets the counters, as in Envoy: it
takes as many failures as before to be ejected again, and not a single one. nginx's `max_fails` is the same idea without
the growth.

How many endpoints of a service may be out at a time is the service's affair.

Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier, "Ejection algorithm";
https://nginx.org/en/docs/http/ngx_http_upstream_module.html, `max_fails`.
"""

from __future__ import annotations

from dataclasses import dataclass

from propylon.services.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionSettings:
    """When to eject, and for how long. A rule that is `None` is off.

    Attributes:
        consecutive: so many failures in a row.
        failure_rate: the share of failures, 0 to 1, within `window`.
        minimum: outcomes within `window` that a rate needs.
        window: seconds a rate looks back, in steps of a tenth.
        base: seconds of the first ejection; above 0.
        max: seconds of the longest one; `base`, if that is longer.
    """

    consecutive: int | None = 5
    failure_rate: float | None = None
    minimum: int = 20
    window: float = 30.0
    base: float = 10.0
    max: float = 300.0


class Ejection:
    """What one endpoint's outcomes say about its health. `now` is always of `time.monotonic`.

    The settings come with each outcome, since services may share an address. If their windows differ, the longest
    counts for all.

    Attributes:
        until: when it may come back; 0 when it is not ejected.
        times: how often in a row it had been ejected when that happened last.
        reason: why it was ejected last; for logs and status pages.
        row: failures in a row; a success means nothing when there are none, and no rate counts it.
    """

    __slots__ = ("_back_at", "_window", "reason", "row", "times", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.times = 0
        self.reason = ""
        self._back_at = 0.0
        self.row = 0
        self._window: Window | None = None

    def __repr__(self) -> str:
        return f"<Ejection until={self.until} times={self.times}>"

    def record(self, failed: bool, now: float, settings: EjectionSettings) -> bool:
        """Learn how a request went. Returns True if this ejects the endpoint.

        While it is ejected nothing counts: that is what was sent before, or because nothing better was left.
        """
        if self.until:
            return False
        if not failed:
            if self.row:
                self.row = 0
            if settings.failure_rate is not None:
                window = self._window
                if window is None or window.seconds < settings.window:
                    window = self._counts(settings)
                window.add(now)
            return False
        self.row += 1
        reason = self._too_many(now, settings)
        if reason:
            self._eject(reason, now, settings)
        return bool(reason)

    def recover(self, now: float) -> bool:
        """Let it come back if its time is over. Returns True if it does, now."""
        if not self.until or now < self.until:
            return False
        self.until = 0.0
        self._back_at = now
        self.row = 0
        self._window = None
        return True

    def _counts(self, settings: EjectionSettings) -> Window:
        window = self._window
        if window is None or window.seconds < settings.window:
            window = self._window = Window(settings.window)
        return window

    def _too_many(self, now: float, settings: EjectionSettings) -> str:
        """Count a failure, and return which rule is broken, or an empty text."""
        reason = ""
        if settings.failure_rate is not None:
            window = self._counts(settings)
            window.add_failure(now)
            total, failures = window.total(now), window.failures(now)
            if total >= settings.minimum and failures >= settings.failure_rate * total:
                reason = f"failure rate {failures / total:.0%} of {total} requests"
        if settings.consecutive is not None and self.row >= settings.consecutive:
            reason = f"{self.row} failures in a row"
        return reason

    def _eject(self, reason: str, now: float, settings: EjectionSettings) -> None:
        longest = max(settings.max, settings.base)
        forgiven = int((now - self._back_at) / settings.base)
        self.times = max(0, self.times - forgiven)
        # No further than to the longest time, or a long illness would take as long to be forgotten.
        if self.times * settings.base < longest:
            self.times += 1
        self.until = now + min(settings.base * self.times, longest)
        self.reason = reason
