"""Expected latencies of two endpoints, for comparison."""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

from propylon.services.vitals import PEAK_DECAY_SECONDS

if TYPE_CHECKING:
    from propylon.services.vitals import Vitals


def latencies(one: Vitals, other: Vitals, now: float) -> tuple[float, float]:
    """Return the expected latencies of `one` and `other` in seconds; 0 for both if either has no sample.

    This is the peak-sensitive average, with a floor. It decays while there are no samples, so that an endpoint that
    was slow is tried again. Without a floor, an endpoint idle for a while would seem infinitely fast and get a burst
    of all requests. So it decays to the value of the other one, and below that only to the endpoint's own plain
    average.

    Args:
        now: seconds of the clock that the vitals are recorded with.
    """
    average, average_other = one.ewma, other.ewma
    if average is None or average_other is None:
        return 0.0, 0.0
    # Inline: calls of a method, max() and min() would take half the time of a pick.
    expected = one.peak_seconds * exp((one.peak_at - now) / PEAK_DECAY_SECONDS)
    expected_other = other.peak_seconds * exp((other.peak_at - now) / PEAK_DECAY_SECONDS)
    if expected < expected_other:
        if expected < average:
            expected = average if average < expected_other else expected_other  # noqa: FURB136
    elif expected_other < average_other:
        expected_other = average_other if average_other < expected else expected  # noqa: FURB136
    return expected, expected_other
