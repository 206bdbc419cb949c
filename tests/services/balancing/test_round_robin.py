"""Round robin: exact shares, no bursts, and places that outlive changes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.balancing import Balancer
from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import World

WORLD = World()


def order(balancer: Balancer, endpoints: list[Endpoint], count: int) -> list[int]:
    return [endpoints.index(balancer.pick(WORLD.exchange, ())) for _ in range(count)]


def made(*weights: int) -> tuple[Balancer, list[Endpoint]]:
    endpoints = WORLD.endpoints(*weights)
    return WORLD.balancer("round_robin", endpoints), endpoints


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(0, 50))
def test_shares_are_exact_in_every_round_wherever_it_begins(weights: list[int], skipped: int) -> None:
    balancer, endpoints = made(*weights)
    order(balancer, endpoints, skipped)
    counts = Counter(order(balancer, endpoints, sum(weights)))
    assert [counts[number] for number in range(len(weights))] == weights


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
def test_no_endpoint_is_ever_far_from_its_share(weights: list[int]) -> None:
    balancer, endpoints = made(*weights)
    counts: Counter[int] = Counter()
    for picked, number in enumerate(order(balancer, endpoints, 2 * sum(weights)), 1):
        counts[number] += 1
        for each, weight in enumerate(weights):
            assert abs(counts[each] - picked * weight / sum(weights)) < len(set(weights)) + 1


def test_the_heavy_one_is_not_chosen_in_bursts() -> None:
    balancer, endpoints = made(5, 1, 1)
    assert order(balancer, endpoints, 7) == [0, 1, 0, 0, 0, 2, 0]
    balancer, endpoints = made(50, *[1] * 50)
    assert "000" not in "".join("0" if number == 0 else "1" for number in order(balancer, endpoints, 200))


def test_equal_weights_take_turns_in_the_order_of_the_configuration() -> None:
    balancer, endpoints = made(3, 3, 3)
    assert order(balancer, endpoints, 7) == [0, 1, 2, 0, 1, 2, 0]


def test_places_outlive_a_change() -> None:
    balancer, endpoints = made(1, 1, 1, 1)
    assert order(balancer, endpoints, 2) == [0, 1]
    balancer.update([endpoints[0], endpoints[2], endpoints[3]])
    assert order(balancer, endpoints, 2) == [2, 3]
    balancer.update(endpoints)  # number 1 is back, and waits for a whole turn
    assert order(balancer, endpoints, 4) == [0, 2, 3, 1]


def test_changes_before_every_request_leave_the_shares_as_they_are() -> None:
    """A counter that begins anew at every change would send everything to the first one."""
    balancer, endpoints = made(1, 1, 1, 1, 2, 2, 4)
    counts: Counter[int] = Counter()
    for number in range(1200):
        gone = 6 if number % 2 else 7
        balancer.update([endpoint for at, endpoint in enumerate(endpoints) if at != gone])
        counts.update(order(balancer, endpoints, 1))
    assert max(counts[number] for number in range(4)) - min(counts[number] for number in range(4)) <= 1
    assert 1.8 < counts[4] / counts[0] < 2.2
    assert counts[5] - counts[4] in (-1, 0, 1)


def test_a_changed_weight_counts_at_once() -> None:
    balancer, endpoints = made(1, 1, 1)
    order(balancer, endpoints, 2)
    endpoints[0].weight = 4
    balancer.update(endpoints)
    counts = Counter(order(balancer, endpoints, 60))
    assert [counts[number] for number in range(3)] == [40, 10, 10]


@pytest.mark.parametrize("weights", [[1] * 1000, list(range(1, 1001))])
def test_a_thousand_endpoints_get_their_shares(weights: list[int]) -> None:
    balancer, endpoints = made(*weights)
    numbers = {endpoint: number for number, endpoint in enumerate(endpoints)}
    total = min(sum(weights), 20_000)
    counts = Counter(numbers[balancer.pick(WORLD.exchange, ())] for _ in range(total))
    for number, weight in enumerate(weights):
        assert abs(counts[number] - total * weight / sum(weights)) <= 1


def test_who_is_avoided_loses_its_turn() -> None:
    balancer, endpoints = made(1, 1, 1)
    assert balancer.pick(WORLD.exchange, [endpoints[0]]) is endpoints[1]
    assert order(balancer, endpoints, 3) == [2, 0, 1]
