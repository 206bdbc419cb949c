"""Passive health: who keeps failing is out, for longer each time, and comes back with a clean slate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from propylon.services.ejection import Ejection, EjectionSettings

START = 1000.0
DEFAULT = EjectionSettings()


def fail(ejection: Ejection, times: int, now: float, **settings: Any) -> list[bool]:
    return [ejection.record(True, now, EjectionSettings(**settings)) for _ in range(times)]


def ejected_again(ejection: Ejection, now: float) -> float:
    """Fail until it is out, and return for how long."""
    assert fail(ejection, 5, now)[-1]
    return ejection.until - now


def test_failures_in_a_row_eject() -> None:
    ejection = Ejection()
    assert ejection.until == 0.0
    assert fail(ejection, 5, START) == [False, False, False, False, True]
    assert (ejection.until, ejection.times, ejection.reason) == (START + 10.0, 1, "5 failures in a row")


def test_the_reason_names_the_failures() -> None:
    ejection = Ejection()
    for failure in ("head.timeout", "connect.refused", "status 503", "connect.refused", "connect.refused"):
        ejection.record(True, START, DEFAULT, failure)
    assert ejection.reason == "5 failures in a row (head.timeout, 3x connect.refused, status 503)"
    ejection.recover(START + 10)
    ejection.record(True, START + 11, EjectionSettings(consecutive=1), "attempt.closed")
    assert ejection.reason == "1 failure in a row (attempt.closed)"


def test_the_failures_before_a_success_are_not_named_for_those_in_a_row() -> None:
    ejection = Ejection()
    ejection.record(True, START, DEFAULT, "head.timeout")
    ejection.record(False, START, DEFAULT)
    for _ in range(5):
        ejection.record(True, START, DEFAULT, "status 503")
    assert ejection.reason == "5 failures in a row (5x status 503)"


def test_a_rate_names_the_last_failures() -> None:
    settings = EjectionSettings(consecutive=None, failure_rate=0.5, minimum=8)
    ejection = Ejection()
    while not ejection.record(True, START, settings, "status 500"):
        pass
    assert ejection.reason == "failure rate 100% of 8 requests (the last 5: 5x status 500)"


def test_a_success_begins_the_row_anew() -> None:
    ejection = Ejection()
    fail(ejection, 4, START)
    assert not ejection.record(False, START, DEFAULT)
    assert not any(fail(ejection, 4, START))
    assert ejection.until == 0.0


def test_a_failure_rate_ejects_once_there_are_enough_outcomes() -> None:
    settings = EjectionSettings(consecutive=None, failure_rate=0.4, minimum=10)
    ejection = Ejection()
    outcomes = [n % 2 == 0 for n in range(11)]
    assert [ejection.record(failed, START, settings) for failed in outcomes].index(True) == 10
    assert ejection.reason == "failure rate 55% of 11 requests"


def test_a_failure_rate_forgets_what_is_older_than_the_window() -> None:
    rate = {"consecutive": None, "failure_rate": 0.5, "minimum": 4, "window": 30.0}
    ejection = Ejection()
    fail(ejection, 3, START, **rate)
    assert fail(ejection, 1, START + 30, **rate) == [False]


def test_services_that_share_an_address_count_over_the_longest_of_their_windows() -> None:
    short = {"consecutive": None, "failure_rate": 0.5, "minimum": 4, "window": 1.0}
    ejection = Ejection()
    fail(ejection, 1, START, **short)
    fail(ejection, 1, START, **short | {"window": 30.0})
    fail(ejection, 2, START + 5, **short)
    assert fail(ejection, 1, START + 10, **short) == [True]


def test_without_a_rule_nobody_is_ejected() -> None:
    assert not any(fail(Ejection(), 100, START, consecutive=None))


def test_out_it_comes_back_when_its_time_is_over_and_only_once() -> None:
    ejection = Ejection()
    fail(ejection, 5, START)
    assert not ejection.recover(START + 9.99)
    assert ejection.until
    assert ejection.recover(START + 10.0)
    assert ejection.until == 0.0
    assert not ejection.recover(START + 11.0)


def test_what_ends_while_it_is_out_counts_for_nothing() -> None:
    ejection = Ejection()
    fail(ejection, 5, START)
    assert not any(fail(ejection, 20, START + 1, failure_rate=0.1, minimum=1))
    ejection.record(False, START + 1, EjectionSettings(failure_rate=0.1))
    assert (ejection.until, ejection.times) == (START + 10.0, 1)


@pytest.mark.parametrize("rate", [None, 0.9])
def test_back_again_a_single_failure_does_not_eject(rate: float | None) -> None:
    ejection = Ejection()
    settings = {"failure_rate": rate, "minimum": 5}
    fail(ejection, 5, START, **settings)
    ejection.recover(START + 10)
    assert fail(ejection, 5, START + 10, **settings) == [False, False, False, False, True]


def test_each_time_in_a_row_it_is_out_for_longer_up_to_the_longest() -> None:
    ejection, now, times = Ejection(), START, []
    for _ in range(33):
        times.append(ejected_again(ejection, now))
        now = ejection.until
        ejection.recover(now)
    assert times == [*(10.0 * n for n in range(1, 31)), 300.0, 300.0, 300.0]


def test_good_behaviour_makes_it_shorter_again_by_one_for_each_base_time() -> None:
    ejection, now = Ejection(), START
    for _ in range(4):
        ejected_again(ejection, now)
        now = ejection.until
        ejection.recover(now)
    assert ejected_again(ejection, now + 25.0) == 30.0  # 4, less 2, and this one
    ejection.recover(ejection.until)
    assert ejected_again(ejection, ejection.until + 10_000.0) == 10.0


def test_a_long_illness_is_forgotten_in_as_many_steps_as_reach_the_longest_time() -> None:
    ejection, now = Ejection(), START
    for _ in range(200):
        ejected_again(ejection, now)
        now = ejection.until
        ejection.recover(now)
    assert ejected_again(ejection, now + 300.0) == 10.0


def test_a_longest_time_below_the_first_does_not_shorten_it() -> None:
    ejection = Ejection()
    fail(ejection, 5, START, base=10.0, max=1.0)
    assert ejection.until == START + 10.0


class EjectionMachine(RuleBasedStateMachine):
    """Outcomes and sweeps in any order: it is out for a bounded time, and only after failures."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.ejection = Ejection()
        self.settings = EjectionSettings(consecutive=3, failure_rate=0.5, minimum=4, base=10.0, max=60.0)
        self.row = 0

    @rule(seconds=st.floats(0, 30))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(failed=st.booleans())
    def record(self, failed: bool) -> None:
        was, times = self.ejection.until, self.ejection.times
        ejected = self.ejection.record(failed, self.now, self.settings)
        assert ejected == (self.ejection.until != was)
        if was:
            assert not ejected
        else:
            self.row = self.row + 1 if failed else 0
            assert ejected or self.row < 3
        if ejected:
            assert failed
            assert self.ejection.times <= times + 1
            assert 10.0 <= round(self.ejection.until - self.now, 6) <= 60.0

    @rule()
    def sweep(self) -> None:
        due = bool(self.ejection.until) and self.now >= self.ejection.until
        assert self.ejection.recover(self.now) == due
        if due:
            self.row = 0

    @invariant()
    def always_comes_back(self) -> None:
        assert self.ejection.until <= self.now + 60.0


TestEjectionMachine = EjectionMachine.TestCase
