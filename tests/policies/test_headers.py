"""The `headers` policy: remove, then set, then add; only in the phases that are configured."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from propylon import Headers, Response
from propylon.engine.pipeline import PolicyUse
from propylon.engine.scope import Scope
from propylon.policies.headers import CompiledEdit, Config, Edit, Policy, RequestEdit
from tests.support.fakes import exchange


def edited(**keys: Any) -> list[tuple[str, str]]:
    headers = Headers(((b"A", b"1"), (b"B", b"2"), (b"a", b"3")))
    CompiledEdit(RequestEdit(**keys)).apply(headers, exchange())
    return list(headers.items())


def test_remove_comes_first_then_set_then_add() -> None:
    result = edited(remove=("a",), set={"b": "4"}, add={"a": "5", "B": "6"})
    assert result == [("b", "4"), ("a", "5"), ("B", "6")]


def test_the_request_and_the_response_are_changed_apart() -> None:
    policy: Any = Policy(Config(request=RequestEdit(set={"x-a": "1"}), response=Edit(remove=("server",))), Scope())
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


def test_values_are_templates_of_the_request() -> None:
    x = exchange(query=b"a=1")
    x.path_params = {"id": b"caf%C3%A9"}
    data = {"request": {"set": {"x-id": "<{id}>", "x-who": "{client.address} {request.method}", "x-a": "{{id}}"}}}
    policy: Any = Policy(Config.model_validate(data), Scope())
    policy.on_request(x)
    assert x.request.headers["x-id"] == "<caf%C3%A9>"
    assert x.request.headers["x-who"] == "192.0.2.1 GET"
    assert x.request.headers["x-a"] == "{id}"


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"\0", b"\xff", "\u00e4".encode()])
def test_a_value_of_the_request_cannot_end_the_field(value: bytes) -> None:
    x = exchange()
    x.path_params = {"id": value}
    policy: Any = Policy(Config.model_validate({"request": {"set": {"x-id": "{id}"}}}), Scope())
    policy.on_request(x)
    assert x.request.headers["x-id"].isprintable()
    assert x.request.headers["x-id"].isascii()


def test_only_fields_that_are_kept_are_sent() -> None:
    fields = b"host: a.example\r\nAccept: a\r\ncookie: c\r\ncontent-type: t\r\nx-a: 1\r\nx-request-id: i\r\n"
    x = exchange(fields=fields)
    policy: Any = Policy(Config.model_validate({"request": {"keep": ["accept"], "set": {"x-b": "2"}}}), Scope())
    policy.on_request(x)
    assert list(x.request.headers) == ["host", "Accept", "content-type", "x-request-id", "x-b"]


def test_only_a_request_has_a_list_of_fields_to_keep() -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"response": {"keep": ["date"]}})


@pytest.mark.parametrize("value", ["$remote_addr", "${host}", "$1", "%[src]", "%{REMOTE_ADDR}i", "%REQ(:path)%"])
def test_the_notation_of_other_programs_is_refused_with_a_way_out(value: str) -> None:
    with pytest.raises(ValidationError, match="is not replaced here: write"):
        Config.model_validate({"request": {"set": {"a": value}}})


@pytest.mark.parametrize(
    "value", ["$5 off", "50% of {}", '{"group":"a","endpoints":[{"url":"https://r"}]}', "a:b", "$abc"]
)
def test_other_braces_and_signs_are_text(value: str) -> None:
    x = exchange()
    policy: Any = Policy(Config.model_validate({"request": {"set": {"a": value}}}), Scope())
    policy.on_request(x)
    assert x.request.headers["a"] == value
