"""Endpoints that exist in a test's time only: what tests of balancing algorithms stand on.

world = World(seed=1)
endpoints = world.endpoints(3, 1)
balancer = world.balancer("p2c", endpoints)
done = world.run(balancer, rate=100.0, seconds=60.0, takes=lambda endpoint: 0.01)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from heapq import heappop, heappush
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from propylon.engine.exchange import Exchange
from propylon.plugins import BALANCERS
from propylon.services.balancing import Balancer, Chance
from propylon.services.endpoint import Endpoint
from propylon.services.vitals import Vitals
from tests.support.fakes import exchange

ALGORITHMS = {
    "round_robin": None,
    "random": None,
    "least_requests": {"choices": 3},
    "p2c": None,
    "least_load": None,
    "ewma": None,
    "consistent_hash": {"path": True},
    "sticky": None,
    "python": {"function": lambda x, endpoints: endpoints[len(x.path) % len(endpoints)]},
}
"""Every built-in algorithm, with settings."""


class Done(NamedTuple):
    """A request of a simulation: when it came, who took it and how long that took, in seconds."""

    begun: float
    endpoint: Endpoint
    seconds: float


def an_endpoint(number: int, weight: int = 1) -> Endpoint:
    """Make an endpoint with what algorithms may look at."""
    url = f"http://10.0.{number // 250}.{number % 250}:80"
    return cast("Endpoint", SimpleEndpoint(url=url, weight=weight, vitals=Vitals(url)))


class SimpleEndpoint(SimpleNamespace):
    """Compared by identity, as a real one."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<{self.url}>"


class World:
    """Time and luck."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 1000.0
        self.random = Random(seed)
        self.chance = Chance(clock=lambda: self.now, random=self.random.random)
        self.exchange = exchange()

    def endpoints(self, *weights: int) -> list[Endpoint]:
        """Make one endpoint of each weight."""
        return [an_endpoint(number, weight) for number, weight in enumerate(weights)]

    def balancer(self, name: str, endpoints: Sequence[Endpoint], settings: Any = None) -> Balancer:
        """Make an algorithm that chooses among `endpoints`."""
        module = BALANCERS.find(name)
        balancer: Balancer = module.Balancer(module.Config.model_validate(settings or {}), self.chance)
        balancer.update(endpoints)
        return balancer

    def picks(
        self, balancer: Balancer, count: int, x: Exchange | None = None, avoid: Collection[Endpoint] = ()
    ) -> Counter[Endpoint]:
        """Count who is chosen when nothing is under way."""
        return Counter(balancer.pick(x or self.exchange, avoid) for _ in range(count))

    def run(
        self,
        balancer: Balancer,
        *,
        rate: float,
        seconds: float,
        takes: Callable[[Endpoint], float],
        on_begin: Callable[[float], None] = lambda now: None,
    ) -> list[Done]:
        """Let requests arrive by chance and be answered.

        Args:
            rate: requests a second.
            seconds: how long they arrive; those under way are then finished.
            takes: the seconds that a request to an endpoint takes.
            on_begin: called with the time before each request.
        """
        end = self.now + seconds
        arrival = self.now + self.random.expovariate(rate)
        under_way: list[tuple[float, int, Done]] = []
        done: list[Done] = []
        number = 0
        while arrival < end or under_way:
            if under_way and (under_way[0][0] <= arrival or arrival >= end):
                self.now, _, finished = heappop(under_way)
                finished.endpoint.vitals.inflight -= 1
                finished.endpoint.vitals.record(finished.seconds, self.now)
                done.append(finished)
                continue
            self.now = arrival
            on_begin(self.now)
            endpoint = balancer.pick(self.exchange, ())
            endpoint.vitals.inflight += 1
            number += 1
            took = takes(endpoint)
            heappush(under_way, (self.now + took, number, Done(self.now, endpoint, took)))
            arrival += self.random.expovariate(rate)
        return done


def p99(done: Sequence[Done]) -> float:
    """Return the seconds that one of a hundred requests takes or more."""
    return sorted(each.seconds for each in done)[len(done) * 99 // 100]
