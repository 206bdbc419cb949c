"""Services in a directory without a worker: time stands still until a test moves it, and luck is what it says.

fleet = Fleet()
service = fleet.enter(fleet.service("http://10.0.0.1:1", "http://10.0.0.2:1", slow_start=10.0))
one = fleet.send(service)
one.answer(503)
fleet.sweep(seconds=1.0)
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from propylon.engine import attempt as attempt_module
from propylon.engine.attempt import Attempt
from propylon.engine.errors import GatewayError
from propylon.outbound.resolve import Resolver
from propylon.services.balancing import Chance, round_robin
from propylon.services.directory import Directory
from propylon.services.discovery import EndpointSpec
from propylon.services.endpoint import Endpoint
from propylon.services.service import Service
from propylon.services.settings import ServiceSettings
from tests.support.fakes import exchange


class Try:
    """One try at an endpoint, counted as the engine does it, at the time of a fleet."""

    def __init__(self, fleet: Fleet, service: Service, endpoint: Endpoint) -> None:
        self._fleet, self._service = fleet, service
        with fleet.timed():
            self.attempt = Attempt(exchange(), service, endpoint)

    @property
    def endpoint(self) -> Endpoint:
        return self.attempt.endpoint

    @property
    def probe(self) -> bool:
        return self.attempt.probe

    @property
    def service_probe(self) -> bool:
        return self.attempt.service_probe

    def answer(self, status: int = 200) -> None:
        """Let the endpoint answer, and the answer end."""
        self.head(status)
        self.end()

    def head(self, status: int = 200) -> None:
        """Let the endpoint begin to answer."""
        self._service.answered(self.attempt, status, self._fleet.now)

    def fail(self) -> None:
        """Let it come to nothing."""
        with self._fleet.timed():
            self.attempt.blame(GatewayError("attempt.closed"))
        self.end()

    def end(self) -> None:
        """Let it be over."""
        with self._fleet.timed():
            self.attempt.settle()


class Fleet:
    """A directory with a clock and luck of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.luck = 0.5
        self.directory = Directory(Resolver(None, 0, 0, self.clock), self.clock)
        self._x = exchange()

    def clock(self) -> float:
        return self.now

    def timed(self) -> AbstractContextManager[object]:
        """Let attempts see the time of this fleet."""
        return patch.object(attempt_module, "monotonic", self.clock)

    def service(
        self,
        *found: str | EndpointSpec,
        name: str = "s",
        balancer: type[round_robin.Balancer] = round_robin.Balancer,
        **settings: Any,
    ) -> Service:
        """Make a service whose endpoints are asked in turn, for `enter`."""
        chance = Chance(self.clock, lambda: self.luck)
        settings = {"balance": ("round_robin", None), **settings}
        endpoints = [each if isinstance(each, EndpointSpec) else EndpointSpec(each) for each in found]
        made = balancer(round_robin.Config(), chance)
        return Service(name, ServiceSettings(**settings), endpoints, made, chance)

    def enter(self, *services: Service) -> Service:
        """Let these services be the current ones; returns the first."""
        self.directory.enter({service.name: service for service in services})
        return services[0]

    def choose(self, service: Service, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """Return the endpoint that a request would go to."""
        return service.only or service.choose(self._x, avoid)

    def chosen(self, service: Service, times: int = 20) -> set[str]:
        """Return the URLs of whoever is chosen."""
        return {self.choose(service).url for _ in range(times)}

    def send(self, service: Service, endpoint: Endpoint | None = None) -> Try:
        """Begin a try, at an endpoint that the service chooses."""
        return Try(self, service, endpoint or self.choose(service))

    def sweep(self, seconds: float = 0.0) -> None:
        """Let time pass, and look at what it changes."""
        self.now += seconds
        self.directory.sweep(self.now)
