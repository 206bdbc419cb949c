"""Who may be chosen: tiers, health, zones, panic, and whom nobody is ever sent to."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.breaker import Breaker, BreakerSettings
from propylon.services.candidates import Rules, candidates
from tests.support.fakes import FakeEndpoint

PLAIN = Rules(0.5, 0.0, None)


def endpoint(
    *,
    weight: int = 1,
    priority: int = 0,
    zone: str | None = None,
    ill: bool = False,
    until: float = 0,
    circuit: str = "",
) -> Any:
    made = FakeEndpoint()
    made.weight, made.priority, made.zone = weight, priority, zone
    if ill:
        made.vitals.complaints["check"] = "does not answer"
    made.vitals.ejection.until = until
    if circuit:
        made.breaker = Breaker(BreakerSettings(consecutive=1), lambda: 0.5)
        made.breaker.state = cast("Any", circuit)
    return made


def chosen(endpoints: list[Any], rules: Rules = PLAIN) -> list[int]:
    """The numbers of those who may be chosen."""
    return [endpoints.index(each) for each in candidates(endpoints, rules)]


def test_all_that_are_well_serve_in_the_order_of_the_configuration() -> None:
    assert chosen([endpoint(weight=3), endpoint(), endpoint()]) == [0, 1, 2]
    assert chosen([]) == []


def test_one_that_drains_gets_nothing_even_if_nobody_else_is_well() -> None:
    assert chosen([endpoint(weight=0), endpoint()]) == [1]
    assert chosen([endpoint(weight=0), endpoint(ill=True)]) == [1]
    assert chosen([endpoint(weight=0)]) == []


def test_one_that_a_check_found_ill_is_left_out_however_many_they_are() -> None:
    assert chosen([endpoint(ill=True), endpoint(), endpoint(ill=True), endpoint(ill=True)]) == [1]


def test_if_none_is_well_all_serve() -> None:
    assert chosen([endpoint(ill=True), endpoint(ill=True)]) == [0, 1]


@pytest.mark.parametrize("circuit", ["open", "half_open"])
def test_one_whose_circuit_is_open_gets_nothing_even_if_nobody_else_is_well(circuit: str) -> None:
    assert chosen([endpoint(circuit=circuit), endpoint(circuit="closed")]) == [1]
    assert chosen([endpoint(circuit=circuit), endpoint(ill=True)]) == [1]
    assert chosen([endpoint(circuit=circuit)]) == []


# passive health


def test_only_a_share_may_be_put_aside_those_that_are_out_longest() -> None:
    four = [endpoint(until=3), endpoint(until=9), endpoint(), endpoint(until=5)]
    assert chosen(four, Rules(0.5, 0.0, None)) == [0, 2]
    assert chosen(four, Rules(0.25, 0.0, None)) == [0, 2, 3]
    assert chosen(four, Rules(0.0, 0.0, None)) == [0, 1, 2, 3]
    assert chosen(four, Rules(1.0, 0.0, None)) == [2]


def test_the_only_endpoint_is_not_put_aside_by_half_a_share() -> None:
    assert chosen([endpoint(until=5)]) == [0]


def test_a_share_that_is_a_whole_number_is_that_number() -> None:
    hundred = [endpoint(until=1) for _ in range(29)] + [endpoint() for _ in range(71)]
    assert len(chosen(hundred, Rules(0.29, 0.0, None))) == 71


# tiers


def test_the_first_tier_serves_alone_while_one_of_it_is_well() -> None:
    tiers = [endpoint(priority=1), endpoint(), endpoint(ill=True)]
    assert chosen(tiers) == [1]


def test_the_next_tier_takes_over_if_none_of_the_first_is_well() -> None:
    assert chosen([endpoint(priority=5), endpoint(ill=True), endpoint(circuit="open"), endpoint(priority=7)]) == [0]


def test_if_no_tier_has_anybody_well_all_of_all_tiers_serve() -> None:
    assert chosen([endpoint(priority=1, ill=True), endpoint(ill=True), endpoint(circuit="open")]) == [0, 1]


# panic


def test_a_tier_with_too_few_that_are_well_is_passed_over() -> None:
    rules = Rules(0.5, 0.5, None)
    first = [endpoint(ill=True), endpoint(ill=True), endpoint()]
    assert chosen([*first, endpoint(priority=1)], rules) == [3]
    assert chosen(first, rules) == [0, 1, 2]
    assert chosen([endpoint(ill=True), endpoint()], rules) == [1]


def test_exactly_the_share_is_enough() -> None:
    hundred = [endpoint() for _ in range(7)] + [endpoint(ill=True) for _ in range(93)]
    assert len(chosen(hundred, Rules(0.5, 0.07, None))) == 7
    assert len(chosen(hundred[1:], Rules(0.5, 0.07, None))) == 99


# zones


def test_the_own_zone_serves_alone_while_half_of_it_is_well() -> None:
    rules = Rules(0.5, 0.0, "a")
    assert chosen([endpoint(zone="a"), endpoint(zone="b"), endpoint(zone="a", ill=True)], rules) == [0]
    mostly_ill = [endpoint(zone="a"), endpoint(zone="b"), endpoint(zone="a", ill=True), endpoint(zone="a", ill=True)]
    assert chosen(mostly_ill, rules) == [0, 1]


def test_without_a_zone_or_without_anybody_in_it_all_serve() -> None:
    endpoints = [endpoint(zone="a"), endpoint(zone="b"), endpoint()]
    assert chosen(endpoints) == [0, 1, 2]
    assert chosen(endpoints, Rules(0.5, 0.0, "c")) == [0, 1, 2]


def test_a_tier_comes_before_the_zone() -> None:
    assert chosen([endpoint(zone="b"), endpoint(zone="a", priority=1)], Rules(0.5, 0.0, "a")) == [0]


# whatever they are


_ANY = st.builds(
    endpoint,
    weight=st.integers(0, 2),
    priority=st.integers(0, 2),
    zone=st.sampled_from([None, "a", "b"]),
    ill=st.booleans(),
    until=st.sampled_from([0.0, 1.0, 2.0]),
    circuit=st.sampled_from(["", "closed", "open"]),
)


@given(st.lists(_ANY, max_size=8), st.builds(Rules, st.floats(0, 1), st.floats(0, 1), st.sampled_from([None, "a"])))
def test_somebody_serves_whenever_anybody_could(endpoints: list[Any], rules: Rules) -> None:
    able = [each for each in endpoints if each.weight and (each.breaker is None or each.breaker.state == "closed")]
    found = candidates(endpoints, rules)
    assert bool(found) is bool(able)
    assert set(found) <= set(able)
    assert list(found) == [each for each in endpoints if each in found]
