"""The `fault` policy: as many requests as asked for are late or fail, and all others pass untouched."""

from __future__ import annotations

import inspect
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from propylon import Gateway, Response
from propylon.engine.scope import Scope
from propylon.failures import FAILURES
from propylon.policies import fault
from propylon.policies.fault import Config, FaultError, Policy
from propylon.testing import Answer, TestClient
from tests.support.fakes import exchange

TARGET = "http://127.0.0.1:3001"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays, none of which takes any time."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr(fault, "sleep", sleep)
    return delays


def draw(config: dict[str, Any], *numbers: float) -> tuple[bool, int | None]:
    """Say whether a request that draws `numbers` is delayed, and with what status it fails at once."""
    drawn = iter(numbers)
    policy = Policy(Config.model_validate(config), Scope(random=lambda: next(drawn)))
    try:
        waits = policy.on_request(exchange())
    except FaultError as error:
        return False, error.status
    if inspect.iscoroutine(waits):
        waits.close()
    return waits is not None, None


def ask(config: dict[str, Any], accept: str = "*/*", **entry: Any) -> Answer:
    gateway = Gateway()
    gateway.route("/*", target=TARGET, policies=[{"fault": config} | entry])
    return TestClient(gateway, {TARGET: Response(200, body="ok")}).get("/x", headers={"accept": accept})


@pytest.mark.parametrize("percent", [10, 10.0, "10%", "10 %"])
def test_as_many_fail_as_asked_for(percent: Any) -> None:
    config = {"abort": {"status": 503, "percent": percent}}
    assert draw(config, 0.0999) == (False, 503)
    assert draw(config, 0.1) == (False, None)


def test_as_many_are_delayed_as_asked_for() -> None:
    config = {"delay": {"time": "200ms", "percent": 0.5}}
    assert draw(config, 0.00499) == (True, None)
    assert draw(config, 0.005) == (False, None)


def test_without_a_percentage_it_is_every_request_and_with_zero_none() -> None:
    assert draw({"abort": 503}, 0.9999) == (False, 503)
    assert draw({"delay": "1s"}, 0.9999) == (True, None)
    assert draw({"abort": {"status": 503, "percent": 0}}, 0.0) == (False, None)


def test_each_of_the_two_is_drawn_on_its_own() -> None:
    config = {"delay": {"time": 1, "percent": 50}, "abort": {"status": 500, "percent": 50}}
    assert draw(config, 0.9, 0.1) == (False, 500)
    assert draw(config, 0.1, 0.9) == (True, None)
    assert draw(config, 0.9, 0.9) == (False, None)


@pytest.mark.parametrize("status", [400, 429, 503, 599])
def test_the_answer_looks_like_a_failure_of_the_gateway_with_the_status_of_choice(status: int) -> None:
    answer = ask({"abort": status})
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = orjson.loads(answer.body)
    assert (problem["status"], problem["code"]) == (status, "request.fault")
    assert problem["title"] == FAILURES["request.fault"].title
    assert ask({"abort": status}, "text/html").headers["content-type"].startswith("text/html")


def test_a_delayed_request_is_answered_as_ever(slept: list[float]) -> None:
    assert ask({"delay": "200ms"}).body == b"ok"
    assert slept == [0.2]


def test_one_that_is_drawn_for_both_waits_and_then_fails(slept: list[float]) -> None:
    assert ask({"delay": "2s", "abort": 504}).status == 504
    assert slept == [2.0]


def test_when_selects_the_requests() -> None:
    assert ask({"abort": 503}, when={"methods": ["POST"]}).status == 200
    assert ask({"abort": 503}, when={"methods": ["GET"]}).status == 503


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "give delay, abort or both"),
        ({"abort": {"status": 503, "percent": 101}}, "more than 100%"),
        ({"abort": {"status": 503, "percent": -1}}, "20%"),
        ({"abort": {"status": 503, "percent": "many"}}, "20%"),
        ({"abort": {"status": 503, "percent": True}}, "20%"),
        ({"abort": {"status": 503, "percent": float("nan")}}, "20%"),
        ({"abort": 399}, "greater than or equal to 400"),
        ({"abort": 600}, "less than or equal to 599"),
        ({"abort": "503"}, "dictionary"),
        ({"delay": "soon"}, "duration"),
        ({"delay": {"percent": 5}}, "required"),
        ({"dealy": "1s"}, "not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Config.model_validate(config)
