"""least_load: the score of the Real-Time API Gateway, to the letter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import World


def score(endpoint: Endpoint) -> float:
    ewma = endpoint.vitals.ewma
    return endpoint.vitals.inflight * 1000 + (0 if ewma is None else ewma * 1000)


LOADS = st.tuples(st.integers(0, 5), st.none() | st.integers(0, 4000))


@given(st.lists(LOADS, min_size=1, max_size=8), st.integers(0, 5))
def test_nobody_has_a_lower_score_than_the_chosen_one(loads: list[tuple[int, int | None]], before: int) -> None:
    world = World()
    endpoints = world.endpoints(*[1] * len(loads))
    for endpoint, (inflight, milliseconds) in zip(endpoints, loads, strict=True):
        endpoint.vitals.inflight = inflight
        endpoint.vitals.ewma = None if milliseconds is None else milliseconds / 1000
    balancer = world.balancer("least_load", endpoints)
    world.picks(balancer, before)
    assert score(balancer.pick(world.exchange, ())) == min(map(score, endpoints))


def test_one_request_more_weighs_as_much_as_a_second() -> None:
    world = World()
    busy, slow = world.endpoints(1, 1)
    balancer = world.balancer("least_load", [busy, slow])
    busy.vitals.inflight = 1
    slow.vitals.ewma = 0.999
    assert balancer.pick(world.exchange, ()) is slow
    slow.vitals.ewma = 1.001
    assert balancer.pick(world.exchange, ()) is busy


def test_equals_take_turns_and_a_worse_one_takes_none() -> None:
    world = World()
    endpoints = world.endpoints(1, 1, 1, 1)
    endpoints[1].vitals.inflight = 1
    balancer = world.balancer("least_load", endpoints)
    assert [endpoints.index(balancer.pick(world.exchange, ())) for _ in range(6)] == [0, 2, 3, 0, 2, 3]


def test_weights_do_not_count() -> None:
    world = World()
    endpoints = world.endpoints(100, 1)
    assert world.picks(world.balancer("least_load", endpoints), 10) == dict.fromkeys(endpoints, 5)


def test_a_thousand_equals_take_turns() -> None:
    world = World()
    endpoints = world.endpoints(*[1] * 1000)
    assert set(world.picks(world.balancer("least_load", endpoints), 1000).values()) == {1}
