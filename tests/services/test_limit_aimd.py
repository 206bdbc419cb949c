"""The limit of additive increase and multiplicative decrease."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from propylon.services.limit_aimd import AimdLimit, AimdSettings

START = 1000.0
SECONDS = 0.05


def limit(**settings: float) -> AimdLimit:
    return AimdLimit(AimdSettings(**settings))  # type: ignore[arg-type]


def good(it: AimdLimit, times: int, inflight: int | None = None) -> None:
    for n in range(times):
        it.sample(SECONDS, it.limit if inflight is None else inflight, False, START + n)


def test_it_grows_by_one_for_each_limits_worth_of_answers() -> None:
    it = limit(start=20)
    good(it, 21)
    assert it.limit == 21
    good(it, 22)
    assert it.limit == 22


def test_it_does_not_grow_while_it_holds_nobody_back() -> None:
    it = limit(start=20)
    good(it, 1000, inflight=9)
    assert it.limit == 20


def test_a_failure_takes_a_tenth_and_a_slow_answer_too() -> None:
    it = limit(start=100)
    it.sample(SECONDS, 1, True, START)
    assert it.limit == 90
    it.sample(5.1, 1, False, START + 10)
    assert it.limit == 81


def test_failures_of_the_same_round_trip_take_it_once() -> None:
    it = limit(start=100)
    for n in range(50):
        it.sample(1.0, 100, True, START + n / 100)
    assert it.limit == 90
    it.sample(1.0, 90, True, START + 1.01)
    assert it.limit == 81


def test_it_stays_within_its_bounds() -> None:
    it = limit(start=5, min=2, max=8)
    good(it, 1000)
    assert it.limit == 8
    for n in range(50):
        it.sample(0.0, 8, True, START + n)
    assert it.limit == 2
    assert limit(start=1, min=5, max=9).limit == 5
    assert limit(start=10, min=5, max=9).limit == 9


def test_a_failure_lowers_even_a_small_limit() -> None:
    it = limit(start=3, min=1)
    good(it, 2)  # on the way to 4, so that a tenth less would still be 3
    assert it.limit == 3
    it.sample(SECONDS, 3, True, START + 9)
    assert it.limit == 2


def test_it_finds_the_capacity_of_a_service_that_refuses_what_is_too_much() -> None:
    capacity, it, now, found = 60, limit(start=20, min=1, max=500), START, []
    for turn in range(600):
        sent = it.limit
        now += SECONDS
        for n in range(sent):
            it.sample(SECONDS - 0.001, sent, n >= capacity, now)
        if turn > 100:
            found.append(it.limit)
    assert 0.85 * capacity <= min(found)
    assert max(found) <= capacity + 2


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 300), st.booleans(), st.floats(0, 5)), max_size=60))
def test_whatever_happens_it_stays_within_its_bounds(samples: list[tuple[float, int, bool, float]]) -> None:
    it, now = limit(start=20, min=4, max=30), START
    for seconds, inflight, failed, gap in samples:
        now += gap
        it.sample(seconds, inflight, failed, now)
        assert 4 <= it.limit <= 30
