"""A service chooses among its endpoints by their health, and learns from how they did."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from propylon.engine.errors import GatewayError
from propylon.services.balancing import round_robin
from propylon.services.breaker import BreakerSettings
from propylon.services.discovery import EndpointSpec
from propylon.services.ejection import EjectionSettings
from propylon.services.service import COLD_SHARE, EVERY_SECONDS, MANY
from propylon.services.settings import BreakerUse, Concurrency, PassiveHealth
from tests.support.fleet import Fleet, Try

A, B, C = "http://10.0.0.1:1", "http://10.0.0.2:1", "http://10.0.0.3:1"
ONE_FAILURE = BreakerSettings(consecutive=1, open=10.0)
EACH = BreakerUse(settings=ONE_FAILURE)
WHOLE = BreakerUse(settings=ONE_FAILURE, endpoints=False, service=True)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def refusal(fleet: Fleet, service: Any, avoid: Any = ()) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        fleet.choose(service, avoid)
    return caught.value


# choosing


def test_a_service_whose_endpoints_are_gone_has_none(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A))
    service.apply(())
    assert refusal(fleet, service).code == "choose.no_endpoint"


def test_a_service_that_drains_as_a_whole_has_none(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, breaker=EACH))
    fleet.send(service).fail()
    service.apply((EndpointSpec(A, weight=0),))
    assert refusal(fleet, service).code == "choose.no_endpoint"


def test_an_endpoint_to_avoid_is_chosen_only_if_there_is_no_other(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B))
    one, two = service.endpoints
    assert {fleet.choose(service, [one]) for _ in range(9)} == {two}
    assert fleet.choose(service, [one, two]) in (one, two)
    assert service.has_other([one])
    assert not service.has_other([one, two])


def test_an_endpoint_that_is_full_is_no_other_one(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, concurrency=Concurrency(per_endpoint=1)))
    one, two = service.endpoints
    assert service.has_other([one])
    fleet.send(service, two)
    assert not service.has_other([one])


def test_an_endpoint_is_found_by_its_url(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B))
    assert service.endpoint(B) is service.endpoints[1]
    with pytest.raises(ValueError, match=r"no endpoint 'http://10\.0\.0\.9:1'"):
        service.endpoint("http://10.0.0.9:1")


# circuits of endpoints


def test_an_open_circuit_gets_nothing_until_a_single_probe_has_closed_it(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(5.0)
    assert fleet.chosen(service) == {B}
    fleet.sweep(5.0)
    probe = fleet.send(service)
    assert (probe.endpoint.url, probe.probe) == (A, True)
    for _ in range(20):
        fleet.sweep(0.1)
        assert fleet.chosen(service) == {B}
    probe.answer()
    fleet.sweep(0.1)
    assert sorted(fleet.choose(service).url for _ in range(4)) == [A, A, B, B]
    assert not service.sweep(fleet.now)  # nothing changes by time any more


def test_a_probe_that_is_due_is_not_forgotten_when_the_health_of_another_changes(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    service.refresh()
    assert fleet.send(service).probe


def test_a_circuit_that_opens_holds_for_the_endpoint_whose_weight_has_changed_meanwhile(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    under_way = fleet.send(service, service.endpoint(A))
    service.apply((EndpointSpec(A, weight=5), EndpointSpec(B)))
    under_way.fail()
    assert fleet.chosen(service) == {B}
    fleet.sweep(11.0)
    assert fleet.send(service).probe


def test_a_probe_that_succeeds_brings_back_the_endpoint_whose_weight_has_changed_meanwhile(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    probe = fleet.send(service)
    service.apply((EndpointSpec(A, weight=5),))
    probe.answer()
    assert [fleet.choose(service).weight for _ in range(3)] == [5, 5, 5]


def test_a_probe_that_fails_opens_the_circuit_for_twice_as_long(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    fleet.send(service).answer(500)
    fleet.sweep(19.9)
    assert fleet.chosen(service) == {B}
    fleet.sweep(0.2)
    assert fleet.send(service).endpoint.url == A


def test_a_probe_of_which_nothing_is_learned_lets_the_next_request_be_one(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    fleet.send(service).end()
    fleet.sweep(0.1)
    again = fleet.send(service)
    assert (again.endpoint.url, again.probe) == (A, True)


def test_a_probe_that_never_ends_does_not_block_for_ever(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    hanging = fleet.send(service)
    fleet.sweep(9.9)
    assert fleet.chosen(service) == {B}
    fleet.sweep(0.2)
    second = fleet.send(service)
    assert (second.endpoint.url, second.probe) == (A, True)
    second.answer()
    hanging.fail()
    assert fleet.chosen(service) == {A, B}


def test_a_retry_does_not_probe_what_it_has_tried(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    assert fleet.choose(service, [service.endpoint(A)]).url == B


def test_all_circuits_open_is_told_with_the_time_to_come_again(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.now += 4.0
    fleet.send(service, service.endpoint(B)).fail()
    error = refusal(fleet, service)
    assert (error.code, error.status, error.headers) == ("choose.broken", 503, {"retry-after": "6"})
    fleet.now += 5.999
    assert refusal(fleet, service).headers == {"retry-after": "1"}
    fleet.now += 5.0  # no sweep has looked at it yet
    assert refusal(fleet, service).headers == {"retry-after": "1"}
    fleet.sweep(0.1)
    assert fleet.send(service).probe


def test_the_only_endpoint_is_refused_and_probed_like_any_other(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, breaker=EACH))
    fleet.send(service).answer(503)
    assert refusal(fleet, service).code == "choose.broken"
    fleet.sweep(10.0)
    probe = fleet.send(service)
    assert probe.probe
    assert refusal(fleet, service).code == "choose.broken"
    probe.answer()
    assert fleet.choose(service).url == A


@pytest.mark.parametrize(("status", "opens"), [(200, False), (404, False), (499, False), (500, True), (503, True)])
def test_an_answer_of_a_failing_status_counts(fleet: Fleet, status: int, opens: bool) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).answer(status)
    assert fleet.chosen(service) == ({B} if opens else {A, B})


def test_an_endpoint_that_drains_is_not_probed(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    service.apply((EndpointSpec(A, weight=0), EndpointSpec(B)))
    fleet.sweep(60.0)
    assert fleet.chosen(service) == {B}


def test_an_endpoint_that_a_check_found_ill_is_probed_only_if_nobody_else_serves(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    fleet.directory.complain(service.endpoint(A).vitals, "check", "does not answer")
    fleet.sweep(0.1)
    assert fleet.chosen(service) == {B}
    fleet.send(service, service.endpoint(B)).fail()
    fleet.sweep(0.1)
    assert fleet.send(service).endpoint.url == A


# the circuit of the service


@pytest.mark.parametrize("urls", [(A, B), (A,)])
def test_the_circuit_of_a_service_refuses_all_but_one_probe(fleet: Fleet, urls: tuple[str, ...]) -> None:
    service = fleet.enter(fleet.service(*urls, breaker=WHOLE))
    fleet.send(service).fail()
    error = refusal(fleet, service)
    assert (error.code, error.headers) == ("choose.broken", {"retry-after": "10"})
    fleet.sweep(10.0)
    probe = fleet.send(service)
    assert probe.service_probe
    assert refusal(fleet, service).code == "choose.broken"
    probe.end()  # its client went away, so another one has to find out
    probe = fleet.send(service)
    assert probe.service_probe
    probe.answer()
    assert fleet.chosen(service) == set(urls)


def test_a_request_that_no_endpoint_could_take_is_no_probe(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, breaker=WHOLE, concurrency=Concurrency(per_endpoint=1)))
    busy = fleet.send(service)
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    assert refusal(fleet, service).code == "choose.queue_full"
    busy.end()
    assert fleet.send(service).service_probe


# room


def test_an_endpoint_that_is_full_is_passed_over_and_all_full_is_told(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, concurrency=Concurrency(per_endpoint=2)))
    tries = [fleet.send(service) for _ in range(4)]
    assert [each.endpoint.vitals.inflight for each in tries] == [2] * 4
    assert refusal(fleet, service).code == "choose.queue_full"
    tries[1].end()
    assert fleet.chosen(service) == {tries[1].endpoint.url}


def test_the_only_endpoint_has_a_limit_too(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, concurrency=Concurrency(per_endpoint=1)))
    fleet.send(service)
    assert refusal(fleet, service).code == "choose.queue_full"


class First:
    """Balancing that takes the first one it may, and the first of all if it may take none."""

    def __init__(self, service: Any) -> None:
        service.balancer = self
        service.refresh()

    def update(self, endpoints: Any) -> None:
        self.endpoints = endpoints

    def pick(self, x: object, avoid: Any) -> Any:
        return next((each for each in self.endpoints if each not in avoid), self.endpoints[0])


def test_a_retry_never_goes_over_the_limit(fleet: Fleet) -> None:
    """All that have room were tried already: rather one of them again than one that is full."""
    service = fleet.enter(fleet.service(A, B, concurrency=Concurrency(per_endpoint=1)))
    full, tried = service.endpoint(A), service.endpoint(B)
    First(service)
    fleet.send(service, full)
    assert [fleet.choose(service, [tried]) for _ in range(5)] == [tried] * 5


# slow start


def cold_service(fleet: Fleet, **settings: Any) -> Any:
    """A service to which B has come just now."""
    service = fleet.enter(fleet.service(A, slow_start=10.0, **settings))
    service.apply((EndpointSpec(A), EndpointSpec(B)))
    return service


@pytest.mark.parametrize(
    ("seconds", "luck", "taken"),
    [(0.0, COLD_SHARE, True), (0.0, COLD_SHARE + 0.01, False), (5.0, 0.5, True), (5.0, 0.51, False), (10.0, 1.0, True)],
)
def test_a_new_endpoint_gets_its_share_step_by_step(fleet: Fleet, seconds: float, luck: float, taken: bool) -> None:
    service = cold_service(fleet)
    fleet.luck = luck
    fleet.sweep(seconds)
    assert fleet.chosen(service) == ({A, B} if taken else {A})


def test_what_was_there_from_the_beginning_is_not_cold(fleet: Fleet) -> None:
    fleet.luck = 0.99
    assert fleet.chosen(fleet.enter(fleet.service(A, B, slow_start=10.0))) == {A, B}


def test_a_change_of_weight_makes_nobody_cold_and_nobody_warm(fleet: Fleet) -> None:
    service = cold_service(fleet)
    fleet.luck = 0.99
    service.apply((EndpointSpec(A, weight=2), EndpointSpec(B, weight=2)))
    assert fleet.chosen(service) == {A}
    fleet.sweep(10.0)
    assert not service.sweep(fleet.now)
    service.apply((EndpointSpec(A, weight=3), EndpointSpec(B, weight=3)))
    assert fleet.chosen(service) == {A, B}


def test_one_that_comes_back_from_its_open_circuit_starts_slowly(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, breaker=EACH, slow_start=10.0))
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    fleet.send(service).answer()
    fleet.luck = 0.99
    assert fleet.chosen(service) == {B}
    fleet.sweep(10.0)
    assert fleet.chosen(service) == {A, B}


def test_a_retry_is_not_sent_back_to_what_failed_because_the_other_one_is_cold(fleet: Fleet) -> None:
    service = cold_service(fleet)
    First(service)
    fleet.luck = 0.99
    assert {fleet.choose(service, [service.endpoint(A)]).url for _ in range(9)} == {B}


def test_algorithms_with_a_reason_of_their_own_are_not_overruled(fleet: Fleet) -> None:
    class Reasoned(round_robin.Balancer):
        decides_alone = True

    service = cold_service(fleet, balancer=Reasoned)
    fleet.luck = 0.99
    assert fleet.chosen(service) == {A, B}


# passive health


def test_failures_and_named_answers_put_an_endpoint_aside_until_its_time_is_over(fleet: Fleet) -> None:
    passive = PassiveHealth(ejection=EjectionSettings(consecutive=2, base=10.0), statuses=frozenset((502,)))
    service = fleet.enter(fleet.service(A, B, passive=passive))
    for outcome in (502, 200, 502, 500, 502):  # an answer of another status is a good one
        fleet.send(service, service.endpoint(A)).answer(outcome)
    assert fleet.chosen(service) == {A, B}
    fleet.send(service, service.endpoint(A)).fail()
    assert fleet.chosen(service) == {B}
    fleet.sweep(9.9)
    assert fleet.chosen(service) == {B}
    fleet.sweep(0.2)
    assert fleet.chosen(service) == {A, B}


def test_passive_health_can_be_switched_off(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, passive=None))
    for _ in range(99):
        fleet.send(service, service.endpoint(A)).fail()
    assert fleet.chosen(service) == {A, B}


@pytest.mark.parametrize(
    "settings", [{}, {"passive": None, "breaker": BreakerUse(settings=BreakerSettings(consecutive=3))}]
)
def test_an_endpoint_whose_answers_always_break_off_is_left_out_too(fleet: Fleet, settings: dict[str, Any]) -> None:
    settings = {"passive": PassiveHealth(ejection=EjectionSettings(consecutive=3)), **settings}
    service = fleet.enter(fleet.service(A, B, **settings))
    for _ in range(3):
        assert fleet.chosen(service) == {A, B}
        made = fleet.send(service, service.endpoint(A))
        made.head()
        made.fail()
    assert fleet.chosen(service) == {B}


def test_a_whole_answer_ends_a_row_of_failures(fleet: Fleet) -> None:
    service = fleet.enter(fleet.service(A, B, passive=PassiveHealth(ejection=EjectionSettings(consecutive=2))))
    for _ in range(9):
        fleet.send(service, service.endpoint(A)).fail()
        fleet.send(service, service.endpoint(A)).answer()
    assert fleet.chosen(service) == {A, B}


# whatever happens


class Accounts(RuleBasedStateMachine):
    """Tries begin and end in any order, endpoints come and go, time passes: the counts stay right."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()
        use = BreakerUse(settings=BreakerSettings(consecutive=2, open=5.0), service=True)
        self.service = self.fleet.enter(self.fleet.service(A, B, C, breaker=use, slow_start=3.0))
        self.tries: list[Try] = []

    @rule()
    def begin(self) -> None:
        with contextlib.suppress(GatewayError):
            self.tries.append(self.fleet.send(self.service))

    @precondition(lambda self: self.tries)
    @rule(number=st.integers(0, 99), outcome=st.sampled_from(["ok", "bad", "fail", "gone", "broken off"]))
    def finish(self, number: int, outcome: str) -> None:
        made = self.tries.pop(number % len(self.tries))
        if outcome == "gone":
            made.end()
        elif outcome == "fail":
            made.fail()
        elif outcome == "broken off":
            made.head()
            made.fail()
        else:
            made.answer(200 if outcome == "ok" else 503)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.fleet.sweep(seconds)

    @rule(urls=st.lists(st.sampled_from([A, B, C]), unique=True), weight=st.integers(0, 2))
    def find(self, urls: list[str], weight: int) -> None:
        self.service.apply([EndpointSpec(url, weight=weight) for url in urls])

    @invariant()
    def every_try_counts_once(self) -> None:
        for endpoint in self.service.endpoints:
            under_way = sum(made.endpoint.vitals is endpoint.vitals for made in self.tries)
            assert endpoint.vitals.inflight == under_way

    @invariant()
    def open_circuits_get_only_probes(self) -> None:
        try:
            endpoint = self.fleet.choose(self.service)
        except GatewayError:
            return
        assert endpoint.weight > 0
        assert endpoint.breaker is not None
        assert endpoint.breaker.allows(self.fleet.now)
        if endpoint.breaker.state != "closed":
            self.tries.append(self.fleet.send(self.service, endpoint))
            assert self.tries[-1].probe

    def teardown(self) -> None:
        for made in self.tries:
            made.end()
        assert all(endpoint.vitals.inflight == 0 for endpoint in self.service.endpoints)


TestAccounts = Accounts.TestCase
TestAccounts.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_changes_the_health_of_many_endpoints_is_taken_up_together(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = fleet.enter(fleet.service(*(f"http://10.0.1.{n}:1" for n in range(MANY + 1)), breaker=EACH))
    taken_up: list[float] = []
    refresh = service.refresh
    monkeypatch.setattr(service, "refresh", lambda: (refresh(), taken_up.append(fleet.now)))
    for round_ in range(3):
        for endpoint in service.endpoints[round_ * 10 : round_ * 10 + 10]:
            fleet.send(service, endpoint).fail()
        fleet.sweep(0.1)
    fleet.sweep(EVERY_SECONDS)
    assert len(taken_up) <= 2
    ill = {endpoint.url for endpoint in service.endpoints[:30]}
    assert not fleet.chosen(service, 2 * MANY) & ill
    assert not service._stale


# what speaks for an endpoint


def test_answers_that_are_well_count_for_a_rate_of_passive_health(fleet: Fleet) -> None:
    rate = PassiveHealth(ejection=EjectionSettings(consecutive=None, failure_rate=0.5, minimum=4))
    service = fleet.enter(fleet.service(A, B, passive=rate))
    (endpoint, _) = service.endpoints
    for _ in range(8):
        fleet.send(service, endpoint).answer()
    for _ in range(7):
        fleet.send(service, endpoint).fail()
    assert endpoint.vitals.ejection.until == 0.0
    fleet.send(service, endpoint).fail()
    assert endpoint.vitals.ejection.until > 0.0
