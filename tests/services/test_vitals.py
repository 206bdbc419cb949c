"""What is known about an address: how busy it is and how fast."""

from __future__ import annotations

from math import exp

import pytest

from propylon.services.balancing._latency import latencies
from propylon.services.vitals import Vitals


def peak(vitals: Vitals, now: float) -> float:
    """The peak-sensitive average, as it is compared with that of an address that is never slow."""
    fast = Vitals("http://fast")
    fast.record(0.0, now)
    return latencies(vitals, fast, now)[0]


def test_the_plain_average_begins_with_the_first_answer_and_follows_by_a_fifth() -> None:
    """The Real-Time API Gateway's: ewma = ewma * 0.8 + new * 0.2."""
    vitals = Vitals("http://a")
    assert vitals.ewma is None
    for seconds, expected in ((0.1, 0.1), (0.2, 0.12), (0.02, 0.1)):
        vitals.record(seconds, 0.0)
        assert vitals.ewma == pytest.approx(expected)


def test_the_peak_jumps_up_and_sinks_slowly() -> None:
    vitals = Vitals("http://a")
    vitals.record(0.1, 0.0)
    vitals.record(1.0, 1.0)
    assert peak(vitals, 1.0) == 1.0
    vitals.record(0.1, 11.0)  # ten seconds later a third of the old peak is left
    assert peak(vitals, 11.0) == pytest.approx(0.1 + 0.9 * exp(-1))


def test_the_peak_sinks_while_nobody_asks() -> None:
    vitals = Vitals("http://a")
    vitals.record(1.0, 0.0)
    assert peak(vitals, 10.0) == pytest.approx(exp(-1))


def test_to_fail_fast_does_not_look_fast() -> None:
    vitals = Vitals("http://a")
    vitals.record(1.0, 0.0)
    vitals.record(0.001, 1.0, failed=True)
    assert peak(vitals, 0.0) == 1.0
    vitals.record(2.0, 1.0, failed=True)
    assert peak(vitals, 1.0) == 2.0


def test_what_it_took_while_it_was_ill_can_be_forgotten() -> None:
    vitals = Vitals("http://a")
    vitals.record(5.0, 0.0)
    vitals.forget()
    assert (vitals.ewma, peak(vitals, 0.0)) == (None, 0.0)
