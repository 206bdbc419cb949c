"""Active health checks: who is checked, when and how often, and what follows from the results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.request_out import PRESERVE
from propylon.outbound.connect import ConnectError
from propylon.outbound.pool import Pool
from propylon.outbound.tls import EndpointTls, TlsSettings
from propylon.services.balancing import Chance, round_robin
from propylon.services.directory import Directory
from propylon.services.discovery import EndpointSpec
from propylon.services.health import MAX_UNDER_WAY, HealthChecks, HealthRecord
from propylon.services.health_check import CheckedAddress
from propylon.services.service import Service
from propylon.services.settings import HealthCheck, ServiceSettings, Transport
from tests.support.deadline import settle

TCP = HealthCheck(path=None, interval=10.0, healthy=2, unhealthy=3)
ONE, TWO = "http://10.0.0.1:8000", "http://10.0.0.2:8000"


class Connection:
    def close(self) -> None:
        pass


class Network:
    """Where connections are made: `down` addresses refuse, `silent` ones never answer; `opened` counts tries."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.silent: set[str] = set()
        self.opened: list[str] = []
        self.given_up: list[str] = []

    def opener(self, address: Any, transport: Transport) -> Callable[..., Any]:
        async def opener(pool: Pool, timeout: float | None) -> Any:
            url = str(address)
            self.opened.append(url)
            if url in self.silent:
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    self.given_up.append(url)
            if url in self.down:
                raise ConnectError("connect.refused", f"{url}: refused")
            return Connection()

        return opener


class Bench:
    """A directory with a clock, a network and randomness that the test holds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.draw = 0.0
        self.network = Network()
        self.directory = Directory(None, lambda: self.now)  # type: ignore[arg-type]
        self.directory.checks = HealthChecks(
            self.network.opener, self.directory.complain, lambda: self.now, lambda: self.draw
        )
        self.services: dict[str, Service] = {}

    def service(self, name: str, *urls: str, **settings: Any) -> Service:
        chance = Chance(lambda: self.now, lambda: 0.0)
        balancer = round_robin.Balancer(round_robin.Config(), chance)
        made = self.services[name] = Service(
            name, ServiceSettings(**({"health": TCP} | settings)), [EndpointSpec(url) for url in urls], balancer, chance
        )
        return made

    def enter(self) -> None:
        self.directory.enter(dict(self.services))

    async def sweep(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.directory.checks.sweep(self.now)
        await settle(5)

    async def rounds(self, count: int, seconds: float = 10.0) -> None:
        for _ in range(count):
            await self.sweep(seconds)

    def opened(self, url: str) -> int:
        return self.network.opened.count(url)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.directory.checks.close()


def ill(service: Service) -> list[str]:
    return [endpoint.url for endpoint in service.endpoints if endpoint.vitals.complaints]


async def test_nothing_is_checked_before_somebody_sweeps(bench: Bench) -> None:
    bench.service("users", ONE)
    bench.enter()
    await settle()
    assert bench.network.opened == []


async def test_an_endpoint_is_checked_at_once_and_then_in_every_interval(bench: Bench) -> None:
    bench.draw = 0.5
    bench.service("users", ONE)
    bench.enter()
    await bench.sweep(0.01)
    assert bench.opened(ONE) == 1
    await bench.sweep(9.9)
    assert bench.opened(ONE) == 1
    await bench.sweep(0.1)
    assert bench.opened(ONE) == 2


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 9.0), (1.0, 11.0)])
async def test_the_interval_is_a_tenth_shorter_or_longer_by_chance(bench: Bench, draw: float, seconds: float) -> None:
    bench.service("users", ONE)
    bench.enter()
    await bench.sweep()
    bench.draw = draw
    await bench.sweep(20)  # the end of this check draws when the next one comes
    assert bench.opened(ONE) == 2
    await bench.sweep(seconds - 0.01)
    assert bench.opened(ONE) == 2
    await bench.sweep(0.02)
    assert bench.opened(ONE) == 3


async def test_first_checks_of_many_endpoints_are_spread(bench: Bench) -> None:
    bench.draw = 1.0
    bench.service("users", *(f"http://10.0.1.{number}:8000" for number in range(200)))
    bench.enter()
    await bench.sweep(1.0)
    assert 90 <= len(bench.network.opened) <= 110
    await bench.sweep(1.01)
    await settle()
    assert len(bench.network.opened) == 200


async def test_before_the_first_result_an_endpoint_counts_as_well(bench: Bench) -> None:
    service = bench.service("users", ONE, health=replace(TCP, unhealthy=1))
    bench.network.down.add(ONE)
    bench.enter()
    assert ill(service) == []
    await bench.sweep()
    assert ill(service) == [ONE]


async def test_so_many_bad_results_in_a_row_put_an_endpoint_aside_and_good_ones_bring_it_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "propylon.health")
    service = bench.service("users", ONE, TWO)
    bench.enter()
    bench.network.down.add(ONE)
    await bench.rounds(2)
    assert ill(service) == []
    bench.network.down.clear()
    await bench.rounds(1)
    bench.network.down.add(ONE)
    await bench.rounds(2)
    assert ill(service) == []  # not in a row
    await bench.rounds(1)
    assert ill(service) == [ONE]
    assert {service.choose(None).url for _ in range(4)} == {TWO}  # type: ignore[arg-type]
    await bench.rounds(5)
    bench.network.down.clear()
    await bench.rounds(1)
    assert ill(service) == [ONE]
    await bench.rounds(1)
    assert ill(service) == []
    assert {service.choose(None).url for _ in range(4)} == {ONE, TWO}  # type: ignore[arg-type]
    await bench.rounds(5)
    assert [record.getMessage() for record in caplog.records if record.name == "propylon.health"] == [
        f"endpoint {ONE} is ill: a connection: refused, 3 times in a row",
        f"endpoint {ONE} is well again",
    ]


async def test_a_check_that_services_share_is_made_once(bench: Bench) -> None:
    services = [
        bench.service("users", ONE),
        bench.service("people", ONE),
        bench.service("kept", ONE, host=PRESERVE),  # no client has asked for a host
    ]
    bench.enter()
    bench.network.down.add(ONE)
    await bench.rounds(3)
    assert bench.opened(ONE) == 3
    assert [ill(service) for service in services] == [[ONE]] * 3


@pytest.mark.parametrize(
    "other",
    [
        {"health": replace(TCP, interval=5.0)},
        {"host": b"users.example"},
        {"transport": Transport(tls=EndpointTls(TlsSettings()))},
        {"transport": Transport(server_name="users.example")},
    ],
)
async def test_checks_that_differ_are_made_each_for_itself(bench: Bench, other: dict[str, Any]) -> None:
    bench.service("users", ONE)
    bench.service("people", ONE, **other)
    bench.enter()
    await bench.sweep(0.1)
    assert bench.opened(ONE) == 2


async def test_an_address_is_well_when_no_check_complains_any_more(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "propylon.health")
    slow = bench.service("slow", ONE, health=replace(TCP, healthy=3))
    bench.service("fast", ONE)
    bench.enter()
    bench.network.down.add(ONE)
    await bench.rounds(3)
    bench.network.down.clear()
    await bench.rounds(2)
    assert ill(slow) == [ONE]
    assert caplog.messages[-1] == f"endpoint {ONE}: a connection works again, and another check still fails"
    await bench.rounds(1)
    assert ill(slow) == []
    assert caplog.messages[-1] == f"endpoint {ONE} is well again"


async def test_a_reload_keeps_what_is_known_while_the_settings_stay(bench: Bench) -> None:
    bench.service("users", ONE, TWO)
    bench.enter()
    bench.network.down.add(ONE)
    await bench.rounds(2)
    bench.service("users", ONE, TWO, panic=0.5)
    bench.enter()
    assert len(bench.network.opened) == 4  # nothing is asked anew
    await bench.rounds(1)
    assert ill(bench.services["users"]) == [ONE]
    renamed = bench.services["people"] = bench.service("people", ONE, TWO)
    del bench.services["users"]
    bench.enter()
    assert ill(renamed) == [ONE]
    assert len(bench.directory.checks) == 2


async def test_a_service_that_is_gone_is_checked_no_more(bench: Bench) -> None:
    bench.service("users", ONE)
    bench.service("people", TWO)
    bench.enter()
    await bench.sweep(0.1)
    del bench.services["users"]
    bench.enter()
    await bench.rounds(3)
    assert (bench.opened(ONE), bench.opened(TWO)) == (1, 4)
    assert len(bench.directory.checks) == 1


async def test_other_settings_begin_anew(bench: Bench) -> None:
    bench.service("users", ONE)
    bench.enter()
    bench.network.down.add(ONE)
    await bench.rounds(3)
    changed = bench.service("users", ONE, health=replace(TCP, interval=5.0))
    bench.enter()
    assert ill(changed) == []
    assert len(bench.directory.checks) == 1
    plain = bench.service("users", ONE, health=None)
    bench.enter()
    before = len(bench.network.opened)
    await bench.rounds(5)
    assert len(bench.network.opened) == before
    assert ill(plain) == []


async def test_endpoints_that_discovery_adds_are_checked_and_those_that_are_gone_no_more(bench: Bench) -> None:
    service = bench.service("users", ONE)
    bench.enter()
    await bench.sweep()
    service.apply([EndpointSpec(ONE), EndpointSpec(TWO)])
    await bench.sweep(0.1)
    assert bench.opened(TWO) == 1
    bench.network.down.add(TWO)
    await bench.rounds(3)
    assert ill(service) == [TWO]
    vitals = service.endpoints[1].vitals
    service.apply([EndpointSpec(ONE)])
    assert vitals.complaints == {}
    before = bench.opened(TWO)
    await bench.rounds(3)
    assert bench.opened(TWO) == before
    assert bench.opened(ONE) > 3


async def test_a_weight_that_changes_does_not_begin_anew(bench: Bench) -> None:
    service = bench.service("users", ONE)
    bench.enter()
    bench.network.down.add(ONE)
    await bench.rounds(3)
    service.apply([EndpointSpec(ONE, weight=5)])
    assert ill(service) == [ONE]


async def test_an_address_that_one_of_two_services_drops_is_still_checked(bench: Bench) -> None:
    bench.service("users", ONE)
    people = bench.service("people", ONE)
    bench.enter()
    people.apply([])
    await bench.rounds(2)
    assert bench.opened(ONE) == 2


async def test_only_some_checks_are_under_way_and_the_others_follow(bench: Bench) -> None:
    urls = [f"http://10.0.1.{number}:8000" for number in range(MAX_UNDER_WAY + 20)]
    service = bench.service("users", *urls)
    bench.network.silent.update(urls)
    bench.enter()
    await bench.sweep()
    assert len(bench.network.opened) == MAX_UNDER_WAY
    await bench.sweep(60)
    assert len(bench.network.opened) == MAX_UNDER_WAY  # none is begun again while it is under way
    bench.network.silent.clear()
    service.apply([EndpointSpec(url) for url in urls[20:]])
    await settle()
    assert len(bench.network.opened) == MAX_UNDER_WAY + 20


async def test_what_is_under_way_ends_with_its_endpoint_and_with_the_worker(bench: Bench) -> None:
    service = bench.service("users", ONE, TWO)
    bench.network.silent |= {ONE, TWO}
    bench.enter()
    await bench.sweep()
    service.apply([EndpointSpec(TWO)])
    await settle()
    assert bench.network.given_up == [ONE]
    bench.directory.close()
    await settle()
    assert bench.network.given_up == [ONE, TWO]
    await bench.rounds(3)
    assert bench.opened(TWO) == 1


async def test_a_defect_of_a_check_is_logged_and_nobody_is_put_aside_for_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = bench.service("users", ONE, health=replace(TCP, unhealthy=1))
    bench.enter()
    for watched in bench.directory.checks._records.values():

        async def broken() -> None:
            raise RuntimeError("a defect")

        watched.checker = type("Broken", (), {"run": staticmethod(broken)})()  # type: ignore[assignment]
    await bench.rounds(2)
    assert ill(service) == []
    assert "defect" in caplog.messages[0]


@given(results=st.lists(st.booleans(), max_size=60), healthy=st.integers(1, 4), unhealthy=st.integers(1, 4))
def test_only_enough_results_of_a_kind_in_a_row_change_anything(
    results: list[bool], healthy: int, unhealthy: int
) -> None:
    check = replace(TCP, healthy=healthy, unhealthy=unhealthy)
    watched = HealthRecord(CheckedAddress(ONE, check, "", None, None), None, None)  # type: ignore[arg-type]
    expected = False
    for number in range(1, len(results) + 1):
        seen = results[:number]
        before = watched.ill
        changed = watched.note(None if seen[-1] else "no")
        assert changed == (watched.ill != before)
        if expected and len(seen) >= healthy and all(seen[-healthy:]):
            expected = False
        elif not expected and len(seen) >= unhealthy and not any(seen[-unhealthy:]):
            expected = True
        assert watched.ill == expected
