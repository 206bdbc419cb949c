"""ewma: the faster one of two, whatever is under way."""

from __future__ import annotations

import pytest

from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import World


def test_the_faster_one_is_chosen_whatever_is_under_way() -> None:
    world = World()
    slow, fast = world.endpoints(1, 1)
    slow.vitals.record(0.02, world.now)
    fast.vitals.record(0.01, world.now)
    fast.vitals.inflight = 100
    assert world.picks(world.balancer("ewma", [slow, fast]), 20) == {fast: 20}


def test_the_slowest_of_many_gets_nothing_while_it_is_slow_and_is_tried_again() -> None:
    world = World()
    endpoints = world.endpoints(*[1] * 4)

    def takes(endpoint: Endpoint) -> float:
        return 0.2 if endpoint is endpoints[0] else 0.02

    done = world.run(world.balancer("ewma", endpoints), rate=100.0, seconds=120.0, takes=takes)
    slow = [each for each in done if each.endpoint is endpoints[0]]
    assert 1 < len(slow) < len(done) / 50


def test_one_that_was_never_measured_gets_its_share() -> None:
    world = World()
    endpoints = world.endpoints(1, 1, 1)
    for endpoint in endpoints[:2]:
        endpoint.vitals.record(0.01, world.now)
    counts = world.picks(world.balancer("ewma", endpoints), 3000)
    assert counts[endpoints[2]] / 3000 == pytest.approx(1 / 3, abs=0.05)
