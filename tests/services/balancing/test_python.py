"""A function of one's own chooses, and what it does wrong ends one exchange and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.services.balancing import Chance
from propylon.services.balancing.python import Balancer, Config
from propylon.services.endpoint import Endpoint
from tests.services.balancing.world import World, an_endpoint
from tests.support.fakes import exchange


def last(x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
    return endpoints[-1]


def last_url(x: Exchange, endpoints: Sequence[Endpoint]) -> str:
    return endpoints[-1].url


async def slowly(x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
    return endpoints[0]


HERE = "tests.services.balancing.test_python"


@pytest.mark.parametrize("function", [last, last_url, f"{HERE}:last", {"function": f"{HERE}:last_url"}])
def test_it_returns_an_endpoint_or_its_url(function: Any) -> None:
    world = World()
    endpoints = world.endpoints(1, 1, 1)
    balancer = world.balancer("python", endpoints, function)
    assert balancer.pick(exchange(), ()) is endpoints[2]
    balancer.update(endpoints[:2])
    assert balancer.pick(exchange(), ()) is endpoints[1]
    assert balancer.pick(exchange(), [endpoints[1]]) is endpoints[0]


def test_it_sees_the_exchange_and_only_endpoints_that_can_take_it() -> None:
    world = World()
    endpoints = world.endpoints(1, 1, 1)
    seen = []

    def function(x: Exchange, offered: Sequence[Endpoint]) -> Endpoint:
        seen.append((x, offered))
        return offered[0]

    balancer = world.balancer("python", endpoints, function)
    x = exchange()
    balancer.pick(x, [endpoints[1]])
    balancer.pick(x, endpoints)
    assert seen == [(x, (endpoints[0], endpoints[2])), (x, tuple(endpoints))]


@pytest.mark.parametrize("answer", [None, 3, "http://10.9.9.9:80", an_endpoint(5)], ids=repr)
def test_anything_else_is_a_failure_that_only_the_log_explains(answer: object) -> None:
    world = World()
    balancer = world.balancer("python", world.endpoints(1, 1), lambda x, endpoints: answer)
    with pytest.raises(GatewayError) as caught:
        balancer.pick(exchange(), ())
    assert (caught.value.code, caught.value.detail) == ("request.policy_failed", "")
    name = f"{__name__}:test_anything_else_is_a_failure_that_only_the_log_explains.<locals>.<lambda>"
    assert caught.value.log == f"balance: {name} returned {answer!r} instead of one of the endpoints it was given"


def test_a_coroutine_is_no_endpoint_and_is_closed() -> None:
    world = World()
    balancer = world.balancer("python", world.endpoints(1, 1), lambda x, endpoints: slowly(x, endpoints))
    with pytest.raises(GatewayError, match="returned <coroutine"):
        balancer.pick(exchange(), ())


def test_what_it_raises_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        raise KeyError("10.0.0.7")

    world = World()
    with pytest.raises(GatewayError) as caught:
        world.balancer("python", world.endpoints(1, 1), broken).pick(exchange(), ())
    assert (caught.value.code, caught.value.detail) == ("request.policy_failed", "")
    assert "KeyError: '10.0.0.7'" in caplog.text


def test_it_may_refuse_with_an_error_of_its_own() -> None:
    def refuses(x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        raise GatewayError("choose.no_endpoint")

    world = World()
    with pytest.raises(GatewayError, match=r"choose\.no_endpoint"):
        world.balancer("python", world.endpoints(1, 1), refuses).pick(exchange(), ())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nope", "should be module:function"),
        (3, "should be module:function"),
        (World, "a class"),
        (slowly, "plain def"),
    ],
)
def test_what_is_no_function_is_refused(function: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(function)


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        ("no_such_module:f", ImportError),
        (f"{HERE}:nope", AttributeError),
        (f"{HERE}:HERE", TypeError),
        (f"{HERE}:World", TypeError),
        (f"{HERE}:slowly", TypeError),
    ],
)
def test_what_cannot_be_imported_is_noticed_before_any_request(reference: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Balancer(Config(function=reference), Chance(lambda: 0.0, lambda: 0.0))
