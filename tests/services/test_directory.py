"""What outlives a configuration: connections, what is known about endpoints, and when both are given up."""

from __future__ import annotations

import logging

import pytest

from propylon.engine.errors import GatewayError
from propylon.services.breaker import BreakerSettings
from propylon.services.discovery import EndpointSpec
from propylon.services.ejection import EjectionSettings
from propylon.services.settings import BreakerUse, Hedging, PassiveHealth, Transport
from tests.support.fleet import Fleet

A, B, C = "http://10.0.0.1:1", "http://10.0.0.2:1", "http://10.0.0.3:1"
BREAKER = BreakerUse(settings=BreakerSettings(consecutive=1, open=10.0))
PASSIVE = PassiveHealth(ejection=EjectionSettings(consecutive=1, base=10.0))


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


# a new configuration


def test_an_endpoint_of_which_nothing_changed_is_the_same(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A, B))
    new = fleet.enter(fleet.service(A, B, C, budget=(0.5, 1.0)))
    assert new.endpoints[:2] == old.endpoints
    assert not old.endpoints[0].pool._retired


def test_another_weight_keeps_the_connections_and_what_is_known(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A)).endpoints[0]
    new = fleet.enter(fleet.service(EndpointSpec(A, weight=5, zone="z"))).endpoints[0]
    assert new is not old
    assert (new.weight, new.zone) == (5, "z")
    assert (new.pool, new.vitals) == (old.pool, old.vitals)
    assert not new.pool._retired


def test_another_way_to_connect_retires_the_connections_and_keeps_what_is_known(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A)).endpoints[0]
    new = fleet.enter(fleet.service(A, transport=Transport(server_name="x"))).endpoints[0]
    assert new.pool is not old.pool
    assert old.pool._retired
    assert not new.pool._retired
    assert new.vitals is old.vitals


def test_what_is_gone_is_retired(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A, B), fleet.service(C, name="t"))
    other = fleet.directory.services["t"].endpoints[0]
    new = fleet.enter(fleet.service(A))
    assert [endpoint.pool._retired for endpoint in old.endpoints] == [False, True]
    assert other.pool._retired
    assert fleet.chosen(new) == {A}


def test_the_same_address_of_another_service_has_connections_of_its_own(fleet: Fleet) -> None:
    fleet.enter(fleet.service(A), fleet.service(A, name="t"))
    one, two = (service.endpoints[0] for service in fleet.directory.services.values())
    assert one.pool is not two.pool
    fleet.enter(fleet.service(A))
    assert not one.pool._retired
    assert two.pool._retired


def test_a_service_that_stays_is_not_started_anew(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A))
    endpoints = service.endpoints
    fleet.enter(service)
    assert service.endpoints is endpoints


def test_what_a_service_has_learned_goes_on_where_it_still_fits(fleet: Fleet) -> None:
    use = BreakerUse(settings=BreakerSettings(consecutive=1), service=True)
    old = fleet.enter(fleet.service(A, breaker=use, hedging=Hedging()))
    same = fleet.enter(fleet.service(A, B, breaker=use, hedging=Hedging()))
    assert (same.budget, same.breaker, same.balancer) == (old.budget, old.breaker, old.balancer)
    assert same.hedge_delay is old.hedge_delay is not None
    assert same.endpoints[0].breaker is old.endpoints[0].breaker
    others = {
        "budget": (0.9, 1.0),
        "balance": ("p2c", None),
        "breaker": BreakerUse(settings=BreakerSettings(consecutive=2)),
    }
    other = fleet.enter(fleet.service(A, **others))
    assert other.budget is not old.budget
    assert other.breaker is None
    assert other.hedge_delay is None
    assert other.balancer is not old.balancer
    assert other.endpoints[0].breaker is not old.endpoints[0].breaker


def test_an_open_circuit_stays_open_and_is_probed_by_the_new_service(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A, B, breaker=BREAKER))
    fleet.send(old, old.endpoint(A)).fail()
    new = fleet.enter(fleet.service(A, B, breaker=BREAKER, panic=0.1))
    assert fleet.chosen(new) == {B}
    fleet.sweep(10.0)
    assert fleet.send(new).endpoint.url == A


def test_a_slow_start_goes_on(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A, slow_start=10.0))
    old.apply((EndpointSpec(A), EndpointSpec(B)))
    fleet.luck = 0.99
    new = fleet.enter(fleet.service(A, B, slow_start=10.0, panic=0.1))
    assert fleet.chosen(new) == {A}
    assert fleet.directory._time_dependent == {new}
    fleet.sweep(10.0)
    assert fleet.chosen(new) == {A, B}
    assert fleet.directory._time_dependent == set()


# what the old service still has under way


def test_a_circuit_that_opens_by_what_the_old_service_sent_is_open_for_the_new_one(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A, B, breaker=BREAKER))
    late = fleet.send(old, old.endpoint(A))
    new = fleet.enter(fleet.service(A, B, C, breaker=BREAKER))
    late.fail()
    assert fleet.chosen(new) == {B, C}
    fleet.sweep(10.0)
    probe = fleet.send(new)
    assert probe.endpoint.url == A
    probe.answer()
    assert fleet.chosen(new) == {A, B, C}


def test_the_end_of_the_old_service_changes_nothing_of_whom_the_new_one_asks(fleet: Fleet) -> None:
    """They share the balancing: what the old one knows must not come back to it."""
    old = fleet.enter(fleet.service(A, B, breaker=BREAKER))
    late = fleet.send(old, old.endpoint(A))
    new = fleet.enter(fleet.service(B, C, breaker=BREAKER))
    late.fail()
    fleet.sweep(0.1)
    assert fleet.chosen(new) == {B, C}
    assert fleet.directory._time_dependent == set()


def test_a_service_that_is_gone_is_not_looked_at_for_ever(fleet: Fleet) -> None:
    old = fleet.enter(fleet.service(A, C, breaker=BREAKER, slow_start=5.0))
    late = fleet.send(old, old.endpoint(A))
    fleet.send(old, old.endpoint(C)).fail()
    fleet.enter(fleet.service(B, name="t"))
    assert fleet.directory._time_dependent == set()
    late.fail()
    assert fleet.directory._time_dependent == set()
    assert all(service.name == "t" for vitals in fleet.directory._vitals.values() for service in vitals.users)


def test_what_is_under_way_is_counted_though_its_service_is_gone(fleet: Fleet) -> None:
    late = fleet.send(fleet.enter(fleet.service(A)))
    fleet.enter(fleet.service(B, name="t"))
    back = fleet.enter(fleet.service(A))
    assert back.endpoints[0].vitals is late.endpoint.vitals
    assert back.endpoints[0].vitals.inflight == 1
    late.end()
    assert back.endpoints[0].vitals.inflight == 0


# endpoints that a provider finds


def test_endpoints_that_come_and_go(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B))
    gone = service.endpoint(A)
    service.apply((EndpointSpec(B), EndpointSpec(C)))
    assert fleet.chosen(service) == {B, C}
    assert gone.pool._retired
    with pytest.raises(ValueError, match="no endpoint"):
        service.endpoint(A)
    service.apply((EndpointSpec(A),))
    assert service.endpoint(A) is not gone
    assert not service.endpoint(A).pool._retired


def test_addresses_that_are_gone_are_forgotten_when_nothing_is_under_way_there(fleet: Fleet) -> None:
    """A provider may find others for ever: what is remembered must not grow with it."""
    service = fleet.enter(fleet.service(A))
    late = fleet.send(service)
    for number in range(50):
        service.apply((EndpointSpec(f"http://10.1.0.{number}:1"),))
    fleet.directory.sweep_pools(fleet.now)
    assert set(fleet.directory._vitals) == {A, "http://10.1.0.49:1"}
    late.end()
    fleet.directory.sweep_pools(fleet.now)
    assert set(fleet.directory._vitals) == {"http://10.1.0.49:1"}
    assert fleet.directory._leaving == set()


def test_an_address_whose_service_is_gone_is_forgotten_with_its_ejection(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "propylon.services")
    old = fleet.enter(fleet.service(A, passive=PASSIVE))
    fleet.send(old).fail()
    late = fleet.send(old, old.endpoints[0])
    fleet.enter(fleet.service(B, name="t"))
    fleet.directory.sweep_pools(fleet.now)
    assert set(fleet.directory._vitals) == {A, B}
    late.end()
    fleet.directory.sweep_pools(fleet.now)
    assert set(fleet.directory._vitals) == {B}
    fleet.sweep(60.0)
    assert "is back" not in caplog.text


def test_an_address_that_comes_back_meanwhile_is_remembered(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A))
    vitals = service.endpoints[0].vitals
    service.apply((EndpointSpec(B),))
    service.apply((EndpointSpec(A),))
    fleet.directory.sweep_pools(fleet.now)
    assert service.endpoints[0].vitals is vitals
    service.apply((EndpointSpec(A, weight=2),))
    assert not service.endpoints[0].pool._retired
    fleet.directory.sweep_pools(fleet.now)
    assert fleet.directory._vitals[A] is vitals


def test_an_address_that_another_service_uses_is_remembered(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A), fleet.service(A, name="t"))
    vitals = service.endpoints[0].vitals
    service.apply(())
    fleet.directory.sweep_pools(fleet.now)
    assert fleet.directory._vitals[A] is vitals


# health


def test_services_share_what_is_known_about_an_address(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, passive=PASSIVE), fleet.service(A, C, name="t", passive=PASSIVE))
    other = fleet.directory.services["t"]
    assert service.endpoint(A).vitals is other.endpoint(A).vitals
    fleet.send(service, service.endpoint(A)).fail()
    assert fleet.chosen(service) == {B}
    assert fleet.chosen(other) == {C}
    fleet.sweep(10.0)
    assert fleet.chosen(service) == {A, B}
    assert fleet.chosen(other) == {A, C}


def test_an_ejection_survives_a_new_configuration(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, passive=PASSIVE))
    fleet.send(service, service.endpoint(A)).fail()
    new = fleet.enter(fleet.service(A, B, C, passive=PASSIVE))
    assert fleet.chosen(new) == {B, C}
    fleet.sweep(10.0)
    assert fleet.chosen(new) == {A, B, C}


def test_one_that_comes_back_starts_slowly(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, passive=PASSIVE, slow_start=10.0))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    fleet.luck = 0.99
    assert fleet.chosen(service) == {B}
    fleet.sweep(10.0)
    assert fleet.chosen(service) == {A, B}
    assert fleet.directory._time_dependent == set()


def test_a_check_that_complains_puts_an_address_aside_until_no_check_does(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B))
    vitals = service.endpoint(A).vitals
    fleet.directory.complain(vitals, "one", "no answer")
    fleet.directory.complain(vitals, "two", "")
    assert fleet.chosen(service) == {B}
    fleet.directory.complain(vitals, "one", None)
    assert fleet.chosen(service) == {B}
    fleet.directory.complain(vitals, "two", None)
    assert fleet.chosen(service) == {A, B}


def test_one_that_failed_and_is_found_well_by_its_check_serves_at_once(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, passive=PASSIVE))
    vitals = service.endpoint(A).vitals
    fleet.send(service, service.endpoint(A)).fail()
    fleet.directory.complain(vitals, "check", "no answer")
    fleet.directory.complain(vitals, "check", None)
    assert fleet.chosen(service) == {A, B}
    fleet.send(service, service.endpoint(A)).fail()  # and may be put aside again
    assert fleet.chosen(service) == {B}
    fleet.sweep(20.0)
    assert fleet.chosen(service) == {A, B}


def test_an_endpoint_that_comes_back_is_told_to_the_operator(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "propylon.services")
    service = fleet.enter(fleet.service(A, B, passive=PASSIVE))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    assert [record.message for record in caplog.records] == [
        f"endpoint {A} is put aside for 10 s: 1 failure in a row (attempt.closed)", f"endpoint {A} is back",
    ]  # fmt: skip


def test_a_service_of_which_time_changes_nothing_is_not_looked_at(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=BREAKER))
    assert fleet.directory._time_dependent == set()
    fleet.send(service, service.endpoint(A)).fail()
    assert fleet.directory._time_dependent == {service}
    fleet.sweep(10.0)
    fleet.send(service).answer()
    fleet.sweep(0.1)
    assert fleet.directory._time_dependent == set()


def test_connections_are_closed_with_the_directory(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B))
    fleet.directory.close()
    assert all(endpoint.pool.closed for endpoint in service.endpoints)


def test_a_circuit_that_opens_is_told(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    service = fleet.enter(fleet.service(A, breaker=BREAKER))
    fleet.send(service).fail()
    assert f"the circuit of endpoint {A} of s is open for 10 s: 1 failure in a row (attempt.closed)" in caplog.text
    with pytest.raises(GatewayError):
        fleet.choose(service)
