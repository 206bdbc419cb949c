"""Random: shares by weight, whatever the number of endpoints."""

from __future__ import annotations

import pytest

from tests.services.balancing.world import World


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (6, 3, 1), (1000, 1), (1, 1, 8)])
def test_everybody_gets_its_share(weights: tuple[int, ...]) -> None:
    world = World()
    endpoints = world.endpoints(*weights)
    counts = world.picks(world.balancer("random", endpoints), 50_000)
    for endpoint in endpoints:
        assert counts[endpoint] / 50_000 == pytest.approx(endpoint.weight / sum(weights), abs=0.01)


def test_the_shares_of_those_left_keep_their_proportion() -> None:
    world = World()
    avoided, two, one = world.endpoints(5, 2, 1)
    counts = world.picks(world.balancer("random", [avoided, two, one]), 9000, avoid=[avoided])
    assert counts[two] / counts[one] == pytest.approx(2, rel=0.1)


def test_a_change_counts_at_once() -> None:
    world = World()
    endpoints = world.endpoints(1, 1, 1)
    balancer = world.balancer("random", endpoints)
    balancer.update(endpoints[1:])
    assert set(world.picks(balancer, 50)) == set(endpoints[1:])
