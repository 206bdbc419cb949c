"""The sliding counts: nothing is lost before its time, nothing stays after it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.window import Window

SECONDS = 10.0
BUCKETS = 10
SLICE = SECONDS / BUCKETS


def counts(window: Window, now: float) -> tuple[int, int]:
    return window.total(now), window.failures(now)


def add(window: Window, failed: bool, now: float) -> None:
    (window.add_failure if failed else window.add)(now)


def test_outcomes_are_counted_with_their_failures() -> None:
    window = Window(SECONDS)
    for failed in (True, False, True):
        add(window, failed, 100.0)
    assert counts(window, 100.0) == (3, 2)


def test_an_outcome_is_forgotten_with_its_bucket() -> None:
    window = Window(SECONDS)
    window.add_failure(100.5)
    window.add(101.5)
    assert counts(window, 109.9) == (2, 1)
    assert counts(window, 110.0) == (1, 0)
    assert counts(window, 111.0) == (0, 0)


@pytest.mark.parametrize("gap", [SECONDS, SECONDS * 3, 1e9])
def test_a_long_gap_forgets_everything(gap: float) -> None:
    window = Window(SECONDS)
    window.add_failure(100.0)
    assert counts(window, 100.0 + gap) == (0, 0)
    window.add_failure(100.0 + gap)
    assert counts(window, 100.0 + gap) == (1, 1)


def test_time_that_goes_back_loses_nothing_and_keeps_nothing_for_longer() -> None:
    window = Window(SECONDS)
    window.add_failure(100.0)
    window.add_failure(95.0)
    assert counts(window, 95.0) == (2, 2)
    assert counts(window, 109.0) == (2, 2)
    assert counts(window, 110.0) == (0, 0)


def test_cleared_it_is_as_new() -> None:
    window = Window(SECONDS)
    window.add_failure(100.0)
    window.clear()
    assert counts(window, 100.0) == (0, 0)
    window.add_failure(104.0)
    assert counts(window, 113.0) == (1, 1)


@given(
    start=st.floats(0, 1e6),
    steps=st.lists(st.tuples(st.floats(0, 15), st.booleans()), max_size=60),
    buckets=st.integers(1, 20),
)
def test_every_outcome_counts_for_the_window_less_a_bucket_at_least_and_for_the_window_at_most(
    start: float, steps: list[tuple[float, bool]], buckets: int
) -> None:
    window = Window(SECONDS, buckets)
    now = start
    seen: list[tuple[float, bool]] = []
    for gap, failed in steps:
        now += gap
        add(window, failed, now)
        seen.append((now, failed))
        rounding = 1e-6
        certain = [each for each in seen if each[0] > now - SECONDS + SECONDS / buckets + rounding]
        possible = [each for each in seen if each[0] >= now - SECONDS - rounding]
        assert max(len(certain), 1) <= window.total(now) <= len(possible)
        assert sum(f for _, f in certain) <= window.failures(now) <= sum(f for _, f in possible)
