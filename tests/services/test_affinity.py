"""What a balancer does beside choosing: each of its optional methods may be missing."""

from __future__ import annotations

from typing import Any, cast

import pytest

from propylon.http.response_head import ResponseHead
from propylon.services.affinity import Affinity
from propylon.services.breaker import BreakerSettings
from propylon.services.settings import BreakerUse
from tests.support.fakes import exchange
from tests.support.fleet import Fleet

A, B = "http://10.0.0.1:1", "http://10.0.0.2:1"
HEAD = ResponseHead.of(200, [])


class Plain:
    pass


class Adds:
    def fields(self, x: Any, endpoint: Any) -> bytes:
        return b"a: 1\r\n"


class Learns:
    def __init__(self) -> None:
        self.learned: list[Any] = []

    def learn(self, x: Any, endpoint: Any, head: Any) -> None:
        self.learned.append((endpoint, head))


class Holds:
    def holds(self, x: Any) -> bool:
        return bool(x.header(b"session"))


def affinity(balancer: object) -> Affinity:
    made = Affinity.of(balancer)
    assert made is not None
    return made


def test_most_algorithms_have_none() -> None:
    assert Affinity.of(Plain()) is None


@pytest.mark.parametrize(("is_probe", "extra"), [(False, b"a: 1\r\n"), (True, b"")])
def test_fields_are_added_where_the_endpoint_was_chosen(is_probe: bool, extra: bytes) -> None:
    x = exchange()
    affinity(Adds()).responded(x, cast("Any", A), HEAD, is_probe)
    assert x.extra_fields == extra
    assert not affinity(Adds()).holds(x)


@pytest.mark.parametrize("is_probe", [False, True])
def test_every_response_is_learned_from(is_probe: bool) -> None:
    x, balancer = exchange(), Learns()
    affinity(balancer).responded(x, cast("Any", A), HEAD, is_probe)
    assert balancer.learned == [(A, HEAD)]
    assert x.extra_fields == b""


def test_who_belongs_to_an_endpoint_does_not_probe_another() -> None:
    use = BreakerUse(settings=BreakerSettings(consecutive=1, open=10.0))
    fleet = Fleet()
    service = fleet.enter(fleet.service(A, B, breaker=use))
    service.affinity = affinity(Holds())
    fleet.send(service, service.endpoint(A)).fail()
    fleet.sweep(10.0)
    bound, free = exchange(fields=b"session: 1\r\n"), exchange()
    assert service.choose(bound).url == B
    assert service.choose(free).url == A
