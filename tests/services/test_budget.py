"""The retry budget: its bounds hold whatever happens, and it is no tighter than they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.budget import Budget

START = 1000.0
SECONDS = 10.0
MEMORY = SECONDS * 1.1
RATIO = 0.25
PER_SECOND = 0.5


def withdrawals(budget: Budget, tries: int, now: float) -> int:
    return sum(budget.withdraw(now) for _ in range(tries))


def test_without_requests_the_reserve_can_be_had_once() -> None:
    budget = Budget(ratio=0.2, per_second=3.0, seconds=10.0)
    assert withdrawals(budget, 100, START) == 30
    assert withdrawals(budget, 100, START + 9) == 0
    assert withdrawals(budget, 100, START + 12) == 30


def test_each_five_requests_allow_one_retry_more() -> None:
    budget = Budget(ratio=0.2, per_second=0.0)
    for _ in range(100):
        budget.deposit(START)
    assert withdrawals(budget, 100, START) == 20


def test_requests_of_long_ago_allow_nothing() -> None:
    budget = Budget(ratio=0.2, per_second=0.0)
    for _ in range(100):
        budget.deposit(START)
    assert withdrawals(budget, 100, START + MEMORY) == 0


@pytest.mark.parametrize("settings", [(0.0, 0.0), (0.0, 0.05)])
def test_a_budget_of_less_than_one_retry_allows_none(settings: tuple[float, float]) -> None:
    assert not Budget(*settings).withdraw(START)


def test_a_dead_service_gets_no_more_than_the_budget_in_the_long_run_and_not_much_less() -> None:
    budget = Budget(ratio=0.2, per_second=3.0, seconds=10.0)
    retries = 0
    for n in range(50 * 600):
        now = START + n / 50
        budget.deposit(now)
        retries += withdrawals(budget, 3, now)
    allowed = 0.2 * 50 * 600 + 3.0 * 600
    assert 0.9 * allowed < retries <= allowed + 30


# Eighths of a second are exact in binary, so that the spans below are too.
steps = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8), st.integers(0, 8)), max_size=40)


@given(steps)
def test_the_bounds_of_its_docstring_hold_over_any_span(steps: list[tuple[int, int, int]]) -> None:
    budget = Budget(RATIO, PER_SECOND, SECONDS)
    firsts: list[float] = []
    retries: list[float] = []
    now = START
    for eighths, deposits, asked in steps:
        now += eighths / 8
        for _ in range(deposits):
            budget.deposit(now)
            firsts.append(now)
        retries += [now] * withdrawals(budget, asked, now)
    times = sorted(set(retries))
    for end in times:
        short = sum(end - SECONDS < each <= end for each in retries)
        assert short <= RATIO * sum(end - MEMORY <= each <= end for each in firsts) + PER_SECOND * SECONDS
        for begin in times:
            made = sum(begin <= each <= end for each in retries)
            paid = RATIO * sum(begin - MEMORY <= each <= end for each in firsts)
            assert begin > end or made <= paid + PER_SECOND * (end - begin + SECONDS)
