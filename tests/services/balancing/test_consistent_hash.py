"""Consistent hashing: one key, one endpoint, unless that has too much to do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.services.balancing import Balancer
from propylon.services.balancing.consistent_hash import Config
from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import World
from tests.support.fakes import FakeClient, exchange


def keyed(key: str) -> Exchange:
    return exchange(path=b"/" + key.encode())


def chosen(settings: dict[str, Any], *exchanges: Exchange) -> list[Endpoint]:
    """Who is chosen for each exchange, of twenty."""
    world = World()
    balancer = world.balancer("consistent_hash", world.endpoints(*[1] * 20), settings)
    return [balancer.pick(x, ()) for x in exchanges]


@pytest.mark.parametrize(
    ("settings", "one", "other"),
    [
        ({"header": "X-User"}, {"fields": b"x-user: a\r\n"}, {"fields": b"X-USER: b\r\n"}),
        ({"cookie": "session"}, {"fields": b"cookie: x=1; session=a\r\n"}, {"fields": b"cookie: session=b; x=1\r\n"}),
        ({"query": "tenant"}, {"query": b"x=1&tenant=a"}, {"query": b"tenant=b"}),
        ({"path": True}, {"path": b"/a"}, {"path": b"/b"}),
        ({"python": lambda x: x.method}, {"method": b"GET"}, {"method": b"PUT"}),
        ({"python": lambda x: x.path.decode()}, {"path": b"/a"}, {"path": b"/b"}),
        ({"python": "tests.services.balancing.test_consistent_hash:by_path"}, {"path": b"/a"}, {"path": b"/b"}),
    ],
)
def test_the_key_decides_and_nothing_else(settings: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> None:
    found = chosen(settings, *[exchange(**one)] * 5, *[exchange(**other)] * 5)
    assert len(set(found[:5])) == len(set(found[5:])) == 1
    assert found[0] is not found[5]


def by_path(x: Exchange) -> bytes:
    return x.path


def test_equal_keys_are_equal_however_they_are_written() -> None:
    one, other = chosen({"query": "tenant"}, exchange(query=b"tenant=a%20b"), exchange(query=b"y=1&t%65nant=a+b"))
    assert one is other


def test_the_client_address_is_a_key() -> None:
    class Elsewhere(FakeClient):
        def origin(self, x: Exchange) -> Any:
            found = super().origin(x)
            found.client = b"198.51.100.8"
            return found

    here = [exchange(path=b"/%d" % number) for number in range(5)]
    found = chosen({"client": True}, *here, exchange(client=Elsewhere()))
    assert len(set(found[:5])) == 1
    assert found[5] is not found[0]


@pytest.mark.parametrize(
    ("settings", "without"),
    [
        ({"header": "x-user"}, exchange()),
        ({"header": "x-user"}, exchange(fields=b"x-user: \r\n")),
        ({"cookie": "session"}, exchange(fields=b"cookie: other=1\r\n")),
        ({"query": "tenant"}, exchange(query=b"tenant=")),
        ({"python": lambda x: None}, exchange()),
    ],
)
def test_who_has_no_key_is_spread_by_chance(settings: dict[str, Any], without: Exchange) -> None:
    assert len(set(chosen(settings, *[without] * 200))) == 20


@pytest.mark.parametrize("answer", [3, ["a"], True])
def test_a_key_that_is_no_text_is_a_failure_of_its_function(answer: object) -> None:
    with pytest.raises(GatewayError, match="instead of text, bytes or None") as caught:
        chosen({"python": lambda x: answer}, exchange())
    assert caught.value.code == "request.policy_failed"


def test_a_function_that_raises_ends_its_exchange_and_says_nothing_to_the_client() -> None:
    def broken(x: Exchange) -> str:
        raise KeyError("secret")

    with pytest.raises(GatewayError) as caught:
        chosen({"python": broken}, exchange())
    assert (caught.value.code, caught.value.detail) == ("request.policy_failed", "")


class TestBound:
    """Bounded loads."""

    @staticmethod
    def loaded(*inflight: int, weights: tuple[int, ...] = (), bound: object = 1.25) -> tuple[Balancer, list[Endpoint]]:
        world = World()
        endpoints = world.endpoints(*(weights or [1] * len(inflight)))
        for endpoint, count in zip(endpoints, inflight, strict=True):
            endpoint.vitals.inflight = count
        return world.balancer("consistent_hash", endpoints, {"path": True, "bound": bound}), endpoints

    @given(st.lists(st.integers(0, 100), min_size=2, max_size=8), st.floats(1.01, 3), st.text("abc", max_size=5))
    def test_nobody_gets_more_than_its_bound(self, inflight: list[int], bound: float, key: str) -> None:
        balancer, _ = self.loaded(*inflight, bound=bound)
        endpoint = balancer.pick(keyed(key), ())
        assert endpoint.vitals.inflight < max(8, bound * (sum(inflight) + 1) / len(inflight))

    def test_with_little_under_way_a_key_stays(self) -> None:
        balancer, _ = self.loaded(0, 0, 0)
        owner = balancer.pick(keyed("hot"), ())
        for _ in range(8):
            assert balancer.pick(keyed("hot"), ()) is owner
            owner.vitals.inflight += 1
        assert balancer.pick(keyed("hot"), ()) is not owner

    @pytest.mark.parametrize(
        "key", [{"client": True}, {"cookie": "s"}, {"header": "x-user"}, {"query": "s"}, {"python": by_path}]
    )
    def test_a_key_that_may_mean_a_session_has_no_bound_of_itself(self, key: dict[str, Any]) -> None:
        assert Config.model_validate(key).max_share is None
        assert Config.model_validate({**key, "bound": 1.5}).max_share == 1.5
        assert Config.model_validate({"path": True}).max_share == 1.25
        assert Config.model_validate({"path": True, "bound": "none"}).max_share is None

    def test_a_popular_key_spills_over_and_comes_back(self) -> None:
        balancer, endpoints = self.loaded(0, 0, 0, 0)
        owner = balancer.pick(keyed("hot"), ())
        for _ in range(400):
            balancer.pick(keyed("hot"), ()).vitals.inflight += 1
        assert all(endpoint.vitals.inflight <= 1.25 * 400 / 4 + 1 for endpoint in endpoints)
        assert owner.vitals.inflight >= 100
        for endpoint in endpoints:
            endpoint.vitals.inflight = 0
        assert balancer.pick(keyed("hot"), ()) is owner

    def test_it_spills_always_to_the_same_next_one(self) -> None:
        balancer, endpoints = self.loaded(*[10] * 9)
        owner = balancer.pick(keyed("hot"), ())
        owner.vitals.inflight = 50
        others = {balancer.pick(keyed("hot"), ()) for _ in range(10)}
        assert len(others) == 1
        assert owner not in others
        assert len({balancer.pick(keyed(f"cold-{number}"), ()) for number in range(200)}) == len(endpoints) - 1

    def test_a_heavy_one_may_have_more(self) -> None:
        balancer, (heavy, light) = self.loaded(20, 10, weights=(2, 1))
        assert {balancer.pick(keyed(str(number)), ()) for number in range(100)} == {heavy, light}
        heavy.vitals.inflight = 60
        assert {balancer.pick(keyed(str(number)), ()) for number in range(100)} == {light}

    def test_without_a_bound_a_key_stays_whatever_it_costs(self) -> None:
        balancer, _ = self.loaded(0, 0, 0, bound="none")
        owner = balancer.pick(keyed("hot"), ())
        owner.vitals.inflight = 1000
        assert balancer.pick(keyed("hot"), ()) is owner

    def test_the_least_loaded_one_is_found_among_a_thousand(self) -> None:
        balancer, endpoints = self.loaded(*[100] * 999, 0)
        assert balancer.pick(keyed("a"), set(endpoints[:-2])) is endpoints[-1]


def test_a_key_whose_endpoint_is_to_be_avoided_goes_to_the_next_one() -> None:
    world = World()
    balancer = world.balancer("consistent_hash", world.endpoints(*[1] * 5), {"path": True})
    owner = balancer.pick(keyed("a"), ())
    others = Counter(balancer.pick(keyed("a"), [owner]) for _ in range(10))
    assert len(others) == 1
    assert owner not in others


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of header, cookie, query, path, client, python .* here is none"),
        ({"header": "a", "path": True}, "here are header, path"),
        ({"path": False}, "should be True"),
        ({"header": "a b"}, "header"),
        ({"header": "x-forwarded-for"}, "write 'client: true'"),
        ({"cookie": ""}, "cookie"),
        ({"python": "nope"}, "should be module:function"),
        ({"python": World}, "World is a class: give a function"),
        ({"path": True, "bound": 1}, "greater than 1"),
        ({"path": True, "bound": "much"}, "bound"),
        ({"path": True, "bund": 2}, "bund"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=rf"(?is){message}"):
        Config.model_validate(settings)
