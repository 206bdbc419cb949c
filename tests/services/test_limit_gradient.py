"""The limit that follows latency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.limit_gradient import GradientLimit, GradientSettings

START = 1000.0
USUAL = 0.05


def limit(**settings: float) -> GradientLimit:
    return GradientLimit(GradientSettings(**settings))  # type: ignore[arg-type]


class Load:
    """Seconds of traffic, one after the other."""

    def __init__(self, it: GradientLimit) -> None:
        self.it = it
        self.now = START

    def second(self, seconds: float, *, inflight: int | None = None, failed: int = 0, count: int = 20) -> None:
        """Let `count` requests end, `failed` of them badly."""
        for n in range(count):
            busy = self.it.limit if inflight is None else inflight
            self.it.sample(seconds, busy, n < failed, self.now + n / count)
        self.now += 1.0


def settled(**settings: float) -> Load:
    """A limit that knows what is usual, and was not in use meanwhile."""
    load = Load(limit(**settings))
    for _ in range(20):
        load.second(USUAL, inflight=1)
    return load


def test_it_grows_while_latency_is_as_usual() -> None:
    load = settled(start=20)
    before = load.it.limit
    for _ in range(50):
        load.second(USUAL)
    assert before + 30 <= load.it.limit <= before + 45  # 0.8 a second


def test_it_does_not_grow_while_it_holds_nobody_back() -> None:
    load = settled(start=40)
    for _ in range(50):
        load.second(USUAL, inflight=19)
    assert load.it.limit == 40
    load.second(USUAL)
    load.second(USUAL, inflight=1)
    after = load.it.limit
    for _ in range(50):
        load.second(USUAL, inflight=1)
    assert load.it.limit == after


def test_it_shrinks_when_answers_take_longer_and_grows_again_after() -> None:
    load = settled(start=150)
    for _ in range(20):
        load.second(USUAL * 4)
    low = load.it.limit
    assert low < 60
    for _ in range(60):
        load.second(USUAL)
    assert load.it.limit > low + 20


def test_latency_within_the_tolerance_is_no_reason_to_shrink() -> None:
    load = settled(start=100)
    for _ in range(5):
        load.second(USUAL * 1.4)
    assert load.it.limit > 100


def test_one_odd_second_is_in_two_windows_at_the_most_and_each_takes_a_tenth() -> None:
    load = settled(start=100)
    load.second(USUAL * 1000)
    load.second(USUAL, inflight=1)
    assert 80 < load.it.limit < 95


def test_quick_failures_do_not_look_like_speed() -> None:
    load = settled(start=100)
    for _ in range(10):
        load.second(USUAL / 100, failed=20)
    assert load.it.limit < 60
    assert load.it.usual == pytest.approx(USUAL)


def test_the_more_fail_the_more_it_shrinks() -> None:
    limits = []
    for failed in (0, 4, 10):
        load = settled(start=100)
        for _ in range(10):
            load.second(USUAL, failed=failed)
        limits.append(load.it.limit)
    assert limits[0] > 100 > limits[1] > limits[2]


def test_a_few_samples_decide_nothing() -> None:
    load = Load(limit(start=100))
    load.second(USUAL, count=9)
    assert (load.it.limit, load.it.usual) == (100, 0.0)
    load.second(USUAL, count=1)
    assert load.it.usual == pytest.approx(USUAL)


def test_what_is_usual_returns_quickly_after_an_overload_became_usual() -> None:
    load = settled(start=20)
    for _ in range(2000):
        load.second(USUAL * 10, inflight=1, count=10)
    assert load.it.usual > USUAL * 9
    for _ in range(20):
        load.second(USUAL, inflight=1)
    assert load.it.usual < USUAL * 2.5


def test_it_finds_the_capacity_of_a_service_that_becomes_slow_beyond_it() -> None:
    capacity, load, found = 50, settled(start=20, max=1000), []
    for second in range(300):
        load.second(USUAL * max(1.0, load.it.limit / capacity))
        if second > 100:
            found.append(load.it.limit)
    assert capacity <= min(found)
    assert max(found) <= capacity * 2.5


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 300), st.integers(0, 20)), max_size=60))
def test_whatever_happens_it_stays_within_its_bounds(seconds: list[tuple[float, int, int]]) -> None:
    load = Load(limit(start=20, min=4, max=30))
    for each, inflight, failed in seconds:
        load.second(each, inflight=inflight, failed=failed)
        assert 4 <= load.it.limit <= 30
    assert limit(start=1, min=5, max=9).limit == 5
