"""The `headers` policy: remove, then set, then add; only in the phases that are configured."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from propylon import Headers, Response
from propylon.engine.pipeline import PolicyUse
from propylon.engine.scope import Scope
from propylon.policies.headers import Config, Edit, Policy
from tests.support.fakes import exchange


def edited(**keys: Any) -> list[tuple[str, str]]:
    headers = Headers(((b"A", b"1"), (b"B", b"2"), (b"a", b"3")))
    Edit(**keys).apply(headers)
    return list(headers.items())


def test_remove_comes_first_then_set_then_add() -> None:
    result = edited(remove=("a",), set={"b": "4"}, add={"a": "5", "B": "6"})
    assert result == [("b", "4"), ("a", "5"), ("B", "6")]


def test_the_request_and_the_response_are_changed_apart() -> None:
    policy: Any = Policy(Config(request=Edit(set={"x-a": "1"}), response=Edit(remove=("server",))), Scope())
    x = exchange()
    x.response = Response(200, headers={"server": "s"})
    policy.on_request(x)
    policy.on_response(x)
    assert x.request.headers["x-a"] == "1"
    assert "server" not in x.response.headers
    assert "x-a" not in x.response.headers


@pytest.mark.parametrize("phase", ["request", "response"])
def test_it_takes_part_only_in_the_phases_that_are_configured(phase: str) -> None:
    policy = Policy(Config.model_validate({phase: {"set": {"a": "1"}}}), Scope())
    assert PolicyUse("headers", policy).phases() == [f"on_{phase}"]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"reqest": {}},
        {"request": {"sett": {}}},
        {"request": {"set": {"a b": "1"}}},
        {"request": {"set": {"": "1"}}},
        {"request": {"set": {"a": "1\r\nb: 2"}}},
        {"request": {"set": {"a": "1\n"}}},
        {"request": {"set": {"a\n": "1"}}},
        {"response": {"add": {"a": "\0"}}},
        {"response": {"remove": ["a:"]}},
    ],
)
def test_what_is_no_field_is_refused_when_it_is_configured(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)


@pytest.mark.parametrize("value", ["€", "snow ☃"])
def test_a_value_that_cannot_be_sent_is_refused_when_it_is_configured_and_not_at_a_request(value: str) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"request": {"set": {"a": value}}})
