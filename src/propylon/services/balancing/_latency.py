"""What two endpoints may be expected to take, so that they can be compared."""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

from propylon.services.vitals import PEAK_DECAY_SECONDS

if TYPE_CHECKING:
    from propylon.services.vitals import Vitals


def latencies(one: Vitals, other: Vitals, now: float) -> tuple[float, float]:
    """Return the seconds that `one` and `other` are expected to take; 0 for both if one was never measured.

    It is the peak-sensitive average, with a floor. That average sinks while nothing is measured, so that an endpoint
    that was slow is tried again. One that nobody asked for a while would seem infinitely fast and get everything in a
    burst. So it may sink to what the other one takes, but below that only to the endpoint's own plain average.

    Args:
        now: seconds of the clock that the vitals are recorded with.
    """
    usual, usual_other = one.ewma, other.ewma
    if usual is None or usual_other is None:
        return 0.0, 0.0
    # Written out: calls of a method, max() and min() would cost half of a pick.
    expected = one.peak_seconds * exp((one.peak_at - now) / PEAK_DECAY_SECONDS)
    expected_other = other.peak_seconds * exp((other.peak_at - now) / PEAK_DECAY_SECONDS)
    if expected < expected_other:
        if expected < usual:
            expected = usual if usual < expected_other else expected_other  # noqa: FURB136
    elif expected_other < usual_other:
        expected_other = usual_other if usual_other < expected else expected  # noqa: FURB136
    return expected, expected_other
