"""The circuit breaker: it opens when a rule is broken, sends one probe at a time, and is never stuck."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from propylon.services.breaker import JITTER, Breaker, BreakerSettings

START = 1000.0


def breaker(random: float = 0.5, **settings: Any) -> Breaker:
    return Breaker(BreakerSettings(**settings), lambda: random)


def answer(b: Breaker, failed: bool | None, now: float, seconds: float = 0.01) -> bool:
    """Let a request begin `seconds` before `now` and end at `now`."""
    return b.end(b.begin(now - seconds), failed, seconds, now)


def opened(random: float = 0.5, **settings: Any) -> Breaker:
    """A breaker that opened at `START` after one failure."""
    b = breaker(random, consecutive=1, open=15.0, **settings)
    assert answer(b, True, START)
    return b


# what opens it


def test_it_is_closed_at_first_and_lets_everything_through() -> None:
    b = breaker(consecutive=1, failures=1, failure_rate=0.5, slow=1.0)
    assert (b.state, b.opened, b.reason, b.retry_at) == ("closed", 0, "", 0.0)
    assert b.allows(START)
    assert not b.begin(START)


def test_without_a_rule_nothing_opens_it() -> None:
    b = breaker()
    assert not any(answer(b, True, START + n) for n in range(100))
    assert b.state == "closed"


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not_let_them_add_up() -> None:
    b = breaker(consecutive=3)
    outcomes = [True, True, False, True, True]
    assert not any(answer(b, failed, START) for failed in outcomes)
    assert answer(b, True, START)
    assert (b.state, b.opened, b.reason) == ("open", 1, "3 failures in a row")


def test_so_many_failures_within_the_window_open_it_whatever_succeeds_between_them() -> None:
    b = breaker(failures=5, window=10.0)
    for n in range(4):
        assert not answer(b, True, START + n)
        assert not answer(b, False, START + n)
    assert answer(b, True, START + 10.0)
    assert b.reason == "5 failures in 10 s"
    assert b.retry_at == START + 10.0 + 15.0


def test_failures_further_apart_than_the_window_do_not_open_it() -> None:
    b = breaker(failures=5, window=10.0)
    assert not any(answer(b, True, START + 2.51 * n) for n in range(40))


def test_a_failure_rate_opens_it_once_there_are_enough_requests() -> None:
    b = breaker(failure_rate=0.5, minimum=10)
    for n in range(9):
        assert not answer(b, n % 3 == 0, START)
    assert not answer(b, True, START)  # 4 of 10
    assert not answer(b, True, START)  # 5 of 11
    assert answer(b, True, START)  # 6 of 12
    assert b.reason == "failure rate 50% of 12 requests"


def test_a_failure_rate_forgets_what_is_older_than_the_window() -> None:
    b = breaker(failure_rate=0.5, minimum=4, window=10.0)
    assert not any(answer(b, True, START) for _ in range(3))
    assert not answer(b, True, START + 10.0)


def test_a_slow_answer_is_a_failure() -> None:
    b = breaker(consecutive=1, slow=2.0)
    assert not answer(b, False, START, seconds=2.0)
    assert answer(b, False, START + 5, seconds=2.1)


def test_a_client_that_goes_away_tells_nothing() -> None:
    b = breaker(consecutive=2, slow=1.0)
    assert not answer(b, True, START)
    assert not answer(b, None, START, seconds=60.0)
    assert answer(b, True, START)


# open


def test_open_it_lets_nobody_through_until_its_time_is_over() -> None:
    b = opened()
    assert not b.allows(START)
    assert not b.allows(START + 14.99)
    assert b.allows(START + 15.0)
    assert b.state == "open", "asking changes nothing"


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 13.5), (0.5, 15.0), (1.0, 16.5)])
def test_the_open_time_is_jittered(random: float, seconds: float) -> None:
    assert JITTER == 0.1
    assert opened(random).retry_at == pytest.approx(START + seconds)


def test_more_failures_of_the_same_moment_do_not_keep_it_open_for_longer() -> None:
    """opossum #385: simultaneous failures took the timer away that would have half opened it."""
    b = breaker(consecutive=5, open=15.0)
    begun = [b.begin(START) for _ in range(20)]
    changes = [b.end(probe, True, 1.0, START + 1) for probe in begun]
    assert changes.count(True) == 1
    assert (b.opened, b.retry_at) == (1, START + 16.0)
    assert b.begin(START + 16.0)


def test_what_was_sent_before_the_opening_and_ends_while_open_changes_nothing() -> None:
    b = breaker(consecutive=1)
    early = [b.begin(START), b.begin(START)]
    answer(b, True, START + 1)
    retry_at = b.retry_at
    assert not b.end(early[0], False, 2.0, START + 2)
    assert not b.end(early[1], True, 3.0, START + 3)
    assert (b.state, b.retry_at, b.opened) == ("open", retry_at, 1)


def test_what_is_sent_in_spite_of_it_is_no_probe_and_changes_nothing() -> None:
    b = opened()
    assert not answer(b, False, START + 5)
    assert not answer(b, True, START + 6)
    assert (b.state, b.retry_at) == ("open", START + 15.0)


# half open


def test_one_probe_is_sent_and_its_success_closes() -> None:
    b = opened()
    assert b.begin(START + 15)
    assert b.state == "half_open"
    assert b.end(True, False, 0.1, START + 15.1)
    assert (b.state, b.retry_at) == ("closed", 0.0)
    assert b.allows(START + 15.1)


def test_half_open_it_is_no_open_door() -> None:
    """opossum #119: every request was let through until the first had ended."""
    b = opened()
    probes = 0
    for n in range(100):
        now = START + 15 + n / 100
        if b.allows(now):
            probes += b.begin(now)
    assert probes == 1


def test_a_failed_probe_opens_again_whatever_the_rules_ask_for() -> None:
    """opossum #119, #276: too few requests for the rate left it half open for ever."""
    b = breaker(failure_rate=0.5, minimum=20, open=15.0)
    for _ in range(20):
        answer(b, True, START)
    assert b.begin(START + 15)
    assert b.end(True, True, 1.0, START + 16)
    assert (b.state, b.opened, b.reason) == ("open", 2, "the probe failed")


def test_a_probe_that_tells_nothing_gives_its_place_to_the_next_at_once() -> None:
    """opossum #388: a filtered error left it half open, with no probe and for ever."""
    b = opened()
    assert b.begin(START + 15)
    assert not b.end(True, None, 0.5, START + 15.5)
    assert b.allows(START + 15.5)
    assert b.begin(START + 15.5)
    assert not b.allows(START + 15.5)
    assert b.end(True, False, 0.1, START + 15.6)


def test_a_slow_probe_has_failed() -> None:
    b = opened(slow=2.0)
    assert b.begin(START + 15)
    assert b.end(True, False, 3.0, START + 18)
    assert (b.state, b.reason) == ("open", "the probe took 3 s")


def test_a_probe_that_never_ends_does_not_block_for_ever() -> None:
    b = opened()
    assert b.begin(START + 15)
    assert not b.allows(START + 29.9)
    assert b.begin(START + 30)
    assert not b.allows(START + 44.9)


def test_a_late_probe_that_tells_nothing_does_not_free_the_place_of_the_next() -> None:
    b = opened()
    assert b.begin(START + 15)
    assert b.begin(START + 30)
    assert not b.end(True, None, 16.0, START + 31)
    assert not b.allows(START + 31)


def test_an_endpoint_that_always_answers_later_than_the_next_probe_is_found_well() -> None:
    b = opened()
    assert b.begin(START + 15)
    assert b.begin(START + 30)
    assert b.end(True, False, 16.0, START + 31)
    assert b.state == "closed"
    assert not b.end(True, True, 2.0, START + 32), "the second probe was sent before the closing"
    assert b.state == "closed"


def test_the_probe_before_a_new_opening_does_not_close_it() -> None:
    b = opened()
    assert b.begin(START + 15)
    assert b.begin(START + 30)
    assert b.end(True, True, 16.0, START + 31)
    assert not b.end(True, False, 2.0, START + 32)
    assert b.state == "open"


def test_the_second_of_two_probes_that_fail_in_the_same_moment_changes_nothing() -> None:
    b = opened()
    assert b.begin(START + 15)
    assert b.begin(START + 30)
    assert b.end(True, True, 15.0, START + 30)
    retry_at = b.retry_at
    assert not b.end(True, True, 0.0, START + 30)
    assert (b.opened, b.retry_at) == (2, retry_at)


def test_a_probe_from_before_a_new_opening_does_not_decide_for_the_probe_after_it() -> None:
    b = opened()
    assert b.begin(START + 15)
    assert b.begin(START + 30)
    assert b.end(True, True, 16.0, START + 31)
    assert b.begin(START + 61)
    assert not b.end(True, True, 32.0, START + 62)
    assert b.state == "half_open"
    assert b.end(True, False, 2.0, START + 63)


def test_the_open_time_doubles_with_each_failed_probe_up_to_the_longest_and_begins_anew_after_closing() -> None:
    b = opened(open_max=50.0)
    times = []
    for _ in range(4):
        now = b.retry_at
        assert b.begin(now)
        assert b.end(True, True, 0.0, now)
        times.append(b.retry_at - now)
    assert times == [30.0, 50.0, 50.0, 50.0]
    now = b.retry_at
    b.begin(now)
    assert b.end(True, False, 0.0, now)
    assert answer(b, True, now + 1)
    assert b.retry_at == now + 16.0


def test_the_longest_open_time_is_eight_times_the_first_by_default_and_never_shorter_than_it() -> None:
    for settings, longest in (({}, 120.0), ({"open_max": 1.0}, 15.0)):
        b = opened(**settings)
        for _ in range(6):
            now = b.retry_at
            b.begin(now)
            b.end(True, True, 0.0, now)
        assert b.retry_at - now == longest


# closed again


def test_closed_again_it_counts_from_nothing() -> None:
    b = breaker(consecutive=3, failures=4, failure_rate=0.1, minimum=4, window=100.0, open=15.0)
    for _ in range(3):
        answer(b, True, START)
    b.begin(START + 15)
    b.end(True, False, 0.0, START + 15)
    assert not answer(b, True, START + 16)
    assert not answer(b, True, START + 16)
    assert b.state == "closed"


def test_what_was_sent_before_the_closing_does_not_open_it_again() -> None:
    b = breaker(consecutive=1, open=15.0)
    late = b.begin(START)
    answer(b, True, START)
    in_spite = b.begin(START + 5)
    b.begin(START + 15)
    b.end(True, False, 1.0, START + 16)
    assert not b.end(late, True, 20.0, START + 20)
    assert not b.end(in_spite, True, 15.0, START + 20)
    assert b.state == "closed"


# whatever happens


class BreakerMachine(RuleBasedStateMachine):
    """Requests begin, end in any order, are given up, or never end; time goes on as it likes."""

    OPEN = 15.0

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.jitter = 0.5
        settings = BreakerSettings(consecutive=2, failures=3, failure_rate=0.5, minimum=3, open=self.OPEN)
        self.breaker = Breaker(settings, lambda: self.jitter)
        self.sent: list[tuple[bool, float]] = []
        self.last_change = START

    @rule(seconds=st.floats(0, 40), jitter=st.floats(0, 1, exclude_max=True))
    def pass_time(self, seconds: float, jitter: float) -> None:
        self.now += seconds
        self.jitter = jitter

    @rule(in_spite=st.booleans())
    def send(self, in_spite: bool) -> None:
        allowed = self.breaker.allows(self.now)
        if not allowed and not in_spite:
            return
        was = self.breaker.state
        probe = self.breaker.begin(self.now)
        assert probe == (allowed and was != "closed")
        if probe:
            running = [begun for each, begun in self.sent if each and begun >= self.last_change]
            assert all(self.now - begun >= self.OPEN - 1e-6 for begun in running), "two probes at once"
        self.sent.append((probe, self.now))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), failed=st.sampled_from([True, False, None]))
    def end(self, data: st.DataObject, failed: bool | None) -> None:
        probe, begun = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        was = self.breaker.state
        changed = self.breaker.end(probe, failed, self.now - begun, self.now)
        assert changed == (self.breaker.state != was)
        if changed:
            assert begun >= self.last_change - 1e-6, "an outcome from before the last change"
            assert failed is not None
            assert was == "closed" or probe
            assert self.breaker.state == ("open" if failed else "closed")
            self.last_change = self.now
        elif probe and failed is not None and was == "half_open":
            assert begun < self.last_change + 1e-6, "a probe's outcome was not heard"

    @invariant()
    def is_never_stuck(self) -> None:
        longest = self.OPEN * 8 * (1 + JITTER)
        assert self.breaker.allows(self.now + longest)

    @invariant()
    def is_allowed_when_closed(self) -> None:
        assert self.breaker.state != "closed" or self.breaker.allows(self.now)


TestBreakerMachine = BreakerMachine.TestCase


# what the reason names


@pytest.mark.parametrize(
    ("settings", "failures", "reason"),
    [
        (
            {"consecutive": 3},
            ["head.timeout", "status 503", "status 503"],
            "3 failures in a row (head.timeout, 2x status 503)",
        ),
        ({"failures": 2}, ["connect.refused"] * 2, "2 failures in 10 s (2x connect.refused)"),
        (
            {"failure_rate": 0.5, "minimum": 7},
            ["head.bad"] * 7,
            "failure rate 100% of 7 requests (the last 5: 5x head.bad)",
        ),
    ],
)
def test_the_reason_names_the_failures(settings: dict[str, Any], failures: list[str], reason: str) -> None:
    b = Breaker(BreakerSettings(**settings), lambda: 0.5)
    assert [b.end(b.begin(START), True, 0.0, START, failure) for failure in failures][-1]
    assert b.reason == reason


def test_the_reason_names_why_the_probe_failed_and_what_was_slow() -> None:
    b = Breaker(BreakerSettings(consecutive=1, slow=1.0, open=10.0), lambda: 0.5)
    b.end(b.begin(START), False, 2.5, START)
    assert b.reason == "1 failure in a row (slow, 2.5 s)"
    b.end(b.begin(START + 11), True, 0.0, START + 11, "head.timeout")
    assert b.reason == "the probe failed (head.timeout)"
