"""Least requests: loads stay close together, also where endpoints differ."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from propylon.services.balancing.least_requests import Config
from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import World


def test_of_two_the_one_with_fewer_requests_in_proportion_is_chosen() -> None:
    world = World()
    one, four = world.endpoints(1, 4)
    balancer = world.balancer("least_requests", [one, four])
    one.vitals.inflight, four.vitals.inflight = 1, 3
    assert world.picks(balancer, 20) == {four: 20}
    one.vitals.inflight, four.vitals.inflight = 1, 5
    assert world.picks(balancer, 20) == {one: 20}


def test_with_as_many_choices_as_endpoints_the_fullest_is_hardly_ever_chosen() -> None:
    world = World()
    endpoints = world.endpoints(1, 1, 1, 1)
    for number, endpoint in enumerate(endpoints):
        endpoint.vitals.inflight = number
    two = world.picks(world.balancer("least_requests", endpoints), 1000)
    many = world.picks(world.balancer("least_requests", endpoints, {"choices": 8}), 1000)
    assert two[endpoints[3]] == many[endpoints[3]] == 0
    assert two[endpoints[0]] < 600 < 850 < many[endpoints[0]]


def test_streams_that_stay_open_are_spread_better_than_by_chance() -> None:
    world = World()
    endpoints = world.endpoints(*[1] * 100)
    spread = {}
    for name in ("random", "least_requests"):
        for endpoint in endpoints:
            endpoint.vitals.inflight = 0
        balancer = world.balancer(name, endpoints)
        for _ in range(2000):
            balancer.pick(world.exchange, ()).vitals.inflight += 1
        spread[name] = max(endpoint.vitals.inflight for endpoint in endpoints)
    assert spread["least_requests"] <= 23 < 27 <= spread["random"]  # 20 is the average


def test_a_slow_endpoint_gets_less() -> None:
    world = World()
    endpoints = world.endpoints(1, 1, 1)

    def takes(endpoint: Endpoint) -> float:
        return 0.5 if endpoint is endpoints[0] else 0.02

    done = world.run(world.balancer("least_requests", endpoints), rate=200.0, seconds=30.0, takes=takes)
    assert sum(each.endpoint is endpoints[0] for each in done) / len(done) < 0.1


@pytest.mark.parametrize("choices", [0, 1, 17, "2", 2.5])
def test_a_wrong_number_of_choices_is_refused(choices: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"choices": choices})
