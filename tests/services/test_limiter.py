"""The concurrency limit: never more than its places, first come first served, and nobody is forgotten."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from propylon.services.limiter import Claim, Limiter


def exchange() -> Any:
    return cast("Any", object())


def claim(limiter: Limiter) -> Claim:
    made = limiter.wait(exchange())
    assert made is not None
    return made


def test_so_many_enter_and_no_more() -> None:
    limiter = Limiter(2)
    assert [limiter.enter() for _ in range(3)] == [True, True, False]
    assert limiter.leave() is None
    assert limiter.enter()


def test_the_line_is_bounded() -> None:
    limiter = Limiter(1, queue=2)
    limiter.enter()
    assert limiter.wait(exchange()) is not None
    assert limiter.wait(exchange()) is not None
    assert limiter.wait(exchange()) is None
    assert limiter.waiting == 2
    assert Limiter(1).wait(exchange()) is None


def test_a_place_goes_to_who_waited_longest() -> None:
    limiter = Limiter(1, queue=9)
    limiter.enter()
    claims = [claim(limiter) for _ in range(3)]
    for each in claims:
        assert not each.granted
        assert limiter.leave() is each
        assert each.granted
    assert limiter.leave() is None
    assert limiter.inflight == 0


def test_the_claim_names_the_exchange_to_wake() -> None:
    limiter = Limiter(1, queue=1)
    limiter.enter()
    x = exchange()
    limiter.wait(x)
    granted = limiter.leave()
    assert granted is not None
    assert granted.exchange is x


def test_who_gives_up_in_line_is_passed_over() -> None:
    limiter = Limiter(1, queue=9)
    limiter.enter()
    first, second = claim(limiter), claim(limiter)
    assert limiter.withdraw(first) is None
    assert limiter.waiting == 1
    assert limiter.leave() is second


def test_who_gives_up_a_place_hands_it_to_the_next_and_only_once() -> None:
    limiter = Limiter(1, queue=9)
    limiter.enter()
    first, second = claim(limiter), claim(limiter)
    limiter.leave()
    assert limiter.withdraw(first) is second
    assert limiter.withdraw(first) is None
    assert limiter.inflight == 1


def test_with_a_lower_limit_nobody_enters_until_enough_have_left() -> None:
    limiter = Limiter(3, queue=1)
    for _ in range(3):
        limiter.enter()
    waiting = claim(limiter)
    limiter.max = 1
    assert limiter.leave() is None
    assert limiter.leave() is None
    assert limiter.leave() is waiting


def test_a_higher_limit_admits_those_in_line_before_anybody_new() -> None:
    limiter = Limiter(1, queue=9)
    limiter.enter()
    first, second, third = claim(limiter), claim(limiter), claim(limiter)
    limiter.max = 3
    assert not limiter.enter()
    assert limiter.admit() is first
    assert limiter.admit() is second
    assert limiter.admit() is None
    assert not third.granted


class LimiterMachine(RuleBasedStateMachine):
    """Exchanges come, wait, give up and leave; the limit changes under them."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = Limiter(3, queue=5)
        self.entered = 0
        self.granted: list[Claim] = []
        self.line: list[Claim] = []

    def expect(self, granted: Claim | None) -> None:
        """Whoever is granted a place has waited longest."""
        assert self.used() <= self.limiter.max - (granted is not None) or granted is None
        if granted is not None:
            assert granted is self.line.pop(0)
            self.granted.append(granted)

    def used(self) -> int:
        return self.entered + len(self.granted)

    @rule()
    def arrive(self) -> None:
        free = self.used() < self.limiter.max and not self.line
        assert self.limiter.enter() == free
        if free:
            self.entered += 1
            return
        room = len(self.line) < self.limiter.queue
        made = self.limiter.wait(exchange())
        assert (made is not None) == room
        if made is not None:
            self.line.append(made)

    @precondition(lambda self: self.entered)
    @rule()
    def leave(self) -> None:
        self.entered -= 1
        self.expect(self.limiter.leave())

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), gives_up=st.booleans())
    def end_of_one_that_waited(self, data: st.DataObject, gives_up: bool) -> None:
        ended = self.granted.pop(data.draw(st.integers(0, len(self.granted) - 1)))
        self.expect(self.limiter.withdraw(ended) if gives_up else self.limiter.leave())

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def give_up_waiting(self, data: st.DataObject) -> None:
        gone = self.line.pop(data.draw(st.integers(0, len(self.line) - 1)))
        assert self.limiter.withdraw(gone) is None

    @rule(places=st.integers(1, 6))
    def change_the_limit(self, places: int) -> None:
        self.limiter.max = places
        while (granted := self.limiter.admit()) is not None:
            self.expect(granted)

    @invariant()
    def counts_are_right(self) -> None:
        assert self.limiter.inflight == self.used()
        assert self.limiter.waiting == len(self.line)
        assert all(each.granted for each in self.granted)
        assert not any(each.granted for each in self.line)

    @invariant()
    def nobody_waits_beside_a_free_place(self) -> None:
        assert not self.line or self.used() >= self.limiter.max


TestLimiterMachine = LimiterMachine.TestCase
