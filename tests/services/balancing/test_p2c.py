"""p2c: it stays away from slow and loaded endpoints, tries them again, and floods nobody."""

from __future__ import annotations

from collections import Counter

import pytest

from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import Done, World, p99


def simulated(name: str, slow: float = 0.1, count: int = 5) -> tuple[list[Done], Endpoint]:
    """Two minutes with one endpoint that takes `slow` seconds, and the others 10 ms."""
    world = World(seed=7)
    endpoints = world.endpoints(*[1] * count)
    balancer = world.balancer(name, endpoints)

    def takes(endpoint: Endpoint) -> float:
        return world.random.gauss(1, 0.1) * (slow if endpoint is endpoints[0] else 0.01)

    return world.run(balancer, rate=200.0, seconds=120.0, takes=takes), endpoints[0]


def test_one_endpoint_ten_times_as_slow_hardly_matters() -> None:
    fair, _ = simulated("round_robin")
    done, slow = simulated("p2c")
    assert len(done) > 20_000
    assert p99(done) * 3 < p99(fair)
    assert 0 < sum(each.endpoint is slow for each in done) / len(done) < 0.01


def test_it_is_tried_again_once_it_has_recovered_and_gets_no_herd() -> None:
    world = World(seed=3)
    endpoints = world.endpoints(1, 1, 1)
    balancer = world.balancer("p2c", endpoints)
    ill = endpoints[0]
    recovers = world.now + 60
    most = 0

    def takes(endpoint: Endpoint) -> float:
        return world.random.uniform(0.9, 1.1) * (2.0 if endpoint is ill and world.now < recovers else 0.01)

    def watch(now: float) -> None:
        nonlocal most
        if now > recovers:
            most = max(most, ill.vitals.inflight)

    done = world.run(balancer, rate=300.0, seconds=180.0, takes=takes, on_begin=watch)
    late = Counter(each.endpoint is ill for each in done if each.begun > recovers + 60)
    assert late[True] / late.total() == pytest.approx(1 / 3, abs=0.1)
    assert most < 12


def test_of_two_the_less_loaded_is_chosen_in_proportion_to_the_weight() -> None:
    world = World()
    light, heavy = world.endpoints(1, 4)
    balancer = world.balancer("p2c", [light, heavy])
    light.vitals.inflight, heavy.vitals.inflight = 1, 3
    assert world.picks(balancer, 20) == {heavy: 20}
    light.vitals.inflight, heavy.vitals.inflight = 1, 5
    assert world.picks(balancer, 20) == {light: 20}


def test_load_and_latency_weigh_against_each_other() -> None:
    world = World()
    slow, fast = world.endpoints(1, 1)
    balancer = world.balancer("p2c", [slow, fast])
    slow.vitals.record(0.05, world.now)
    fast.vitals.record(0.01, world.now)
    fast.vitals.inflight = 3
    assert world.picks(balancer, 20) == {fast: 20}  # 4 x 10 ms are less than 1 x 50 ms
    fast.vitals.inflight = 5
    assert world.picks(balancer, 20) == {slow: 20}


def test_a_new_endpoint_is_asked_at_once_but_gets_no_more_than_others_have() -> None:
    world = World()
    known, new = world.endpoints(1, 1)
    balancer = world.balancer("p2c", [known, new])
    known.vitals.record(0.01, world.now)
    known.vitals.inflight = 2
    for _ in range(2):
        assert balancer.pick(world.exchange, ()) is new
        new.vitals.inflight += 1
    new.vitals.inflight = 3
    assert world.picks(balancer, 20) == {known: 20}


def test_one_that_was_not_asked_for_long_does_not_seem_infinitely_fast() -> None:
    world = World()
    idle, busy = world.endpoints(1, 1)
    balancer = world.balancer("p2c", [idle, busy])
    idle.vitals.record(0.01, world.now - 300)
    busy.vitals.record(0.01, world.now)
    idle.vitals.inflight, busy.vitals.inflight = 3, 1
    assert world.picks(balancer, 20) == {busy: 20}


def test_one_that_was_slow_is_as_good_as_the_other_after_a_while() -> None:
    world = World()
    slow, fast = world.endpoints(1, 1)
    balancer = world.balancer("p2c", [slow, fast])
    slow.vitals.record(0.1, world.now)
    fast.vitals.record(0.01, world.now)
    assert world.picks(balancer, 20) == {fast: 20}
    world.now += 30
    fast.vitals.record(0.01, world.now)
    assert set(world.picks(balancer, 20)) == {slow, fast}
