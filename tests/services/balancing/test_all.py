"""What every balancing algorithm promises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.plugins import BALANCERS
from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import ALGORITHMS, World, an_endpoint
from tests.support.fakes import exchange


def test_every_algorithm_is_tested_here() -> None:
    assert set(BALANCERS.names()) - {"colour"} == set(ALGORITHMS)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_settings_are_frozen_and_refuse_unknown_keys(name: str) -> None:
    config = BALANCERS.find(name).Config
    assert (config.model_config["frozen"], config.model_config["extra"]) == (True, "forbid")
    assert all(field.description for field in config.model_fields.values())


@pytest.mark.parametrize("name", ALGORITHMS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_chooses_what_it_may_whatever_happened_before(name: str, data: st.DataObject) -> None:
    world = World(data.draw(st.integers(0, 100)))
    known = [an_endpoint(number, data.draw(st.sampled_from([1, 1, 2, 7, 1000]))) for number in range(6)]
    some = st.lists(st.sampled_from(known), unique=True, max_size=6)
    balancer = world.balancer(name, known, ALGORITHMS[name])
    now = known
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            now = data.draw(some.filter(bool))
            balancer.update(now)
        if data.draw(st.booleans()):
            vitals = data.draw(st.sampled_from(known)).vitals
            vitals.inflight = data.draw(st.integers(0, 50))
            vitals.record(data.draw(st.floats(0, 100)), world.now)
        world.now += data.draw(st.floats(0, 10_000))
        avoid = data.draw(some)
        x = exchange(path=b"/" + b"x" * data.draw(st.integers(0, 9)))
        chosen = balancer.pick(x, avoid)
        assert chosen in now
        assert chosen not in avoid or set(now) <= set(avoid)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_single_endpoint_takes_everything_even_if_it_is_to_be_avoided(name: str) -> None:
    world = World()
    (endpoint,) = world.endpoints(1)
    endpoint.vitals.inflight = 10_000
    balancer = world.balancer(name, [endpoint], ALGORITHMS[name])
    assert world.picks(balancer, 10) == {endpoint: 10}
    assert world.picks(balancer, 10, avoid=[endpoint]) == {endpoint: 10}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_last_one_that_is_left_of_a_thousand_is_found(name: str) -> None:
    world = World()
    endpoints = world.endpoints(*[1, 5] * 500)
    balancer = world.balancer(name, endpoints, ALGORITHMS[name])
    left = endpoints[0]
    assert world.picks(balancer, 20, avoid=set(endpoints[1:])) == {left: 20}
    two = world.picks(balancer, 20, avoid=set(endpoints[2:]))
    assert set(two) <= set(endpoints[:2])


@pytest.mark.parametrize("name", ["round_robin", "random", "least_requests", "p2c", "ewma", "sticky"])
def test_weights_are_obeyed_where_nothing_speaks_against_them(name: str) -> None:
    world = World()
    endpoints = world.endpoints(6, 3, 1)
    for endpoint in endpoints:
        endpoint.vitals.record(0.01, world.now)
    balancer = world.balancer(name, endpoints)
    counts = world.picks(balancer, 10_000)
    assert [round(counts[endpoint] / 1000) for endpoint in endpoints] == [6, 3, 1]


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", ["round_robin", "random", "least_requests", "p2c", "ewma", "least_load", "sticky"])
def test_one_that_comes_gets_no_burst(name: str, measured: bool) -> None:
    """It has no measurement, or one from long ago; then nothing may make it the best of all."""
    world = World()
    endpoints = world.endpoints(*[1] * 5)
    newcomer = endpoints[-1]
    if measured:
        newcomer.vitals.record(0.05, world.now - 3600)
    balancer = world.balancer(name, endpoints[:-1])
    most = 0

    def takes(endpoint: Endpoint) -> float:
        return world.random.uniform(0.04, 0.06)

    def watch(now: float) -> None:
        nonlocal most
        most = max(most, newcomer.vitals.inflight)

    world.run(balancer, rate=400.0, seconds=20.0, takes=takes)
    balancer.update(endpoints)
    begun = world.now
    done = world.run(balancer, rate=400.0, seconds=2.0, takes=takes, on_begin=watch)
    first = [each.endpoint is newcomer for each in done if each.begun < begun + 0.25]
    assert any(first)
    assert sum(first) < 0.45 * len(first)  # a fifth is its part, two fifths the most that one of two choices gets
    assert most < 16  # 4 are under way at each on the average
