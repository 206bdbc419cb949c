"""The `respond` policy: a fixed answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from propylon import Response
from propylon.engine.scope import Scope
from propylon.policies.respond import Config, Policy
from tests.support.fakes import exchange


def response(data: object) -> Response:
    return Policy(Config.model_validate(data), Scope()).on_request(exchange())


@pytest.mark.parametrize(
    ("data", "status", "content", "kind"),
    [
        ("pong", 200, b"pong", "text/plain; charset=utf-8"),
        (410, 410, b"", None),
        ({"body": "gone ✓", "status": 410}, 410, "gone ✓".encode(), "text/plain; charset=utf-8"),
        ({"body": "<p>", "content_type": "text/html"}, 200, b"<p>", "text/html"),
        ({"body": "{}", "headers": {"Content-Type": "x/y"}}, 200, b"{}", "x/y"),
        ({"status": 204}, 204, b"", None),
    ],
)
def test_it_answers_what_is_configured(data: object, status: int, content: bytes, kind: str | None) -> None:
    made = response(data)
    assert (made.status, made.content) == (status, content)
    if content:
        assert made.headers.get("content-type") == kind


@pytest.mark.parametrize("value", [{"status": "ok"}, [], 0, "", False])
def test_json_is_encoded_whatever_it_is(value: Any) -> None:
    made = response({"json": value})
    assert isinstance(made.content, bytes)
    assert orjson.loads(made.content) == value
    assert made.headers["content-type"] == "application/json"


def test_every_answer_is_a_new_one() -> None:
    policy = Policy(Config(headers={"x-a": "1"}), Scope())
    first = policy.on_request(exchange())
    first.headers.set("x-a", "2")
    assert policy.on_request(exchange()).headers["x-a"] == "1"


@pytest.mark.parametrize(
    "data",
    [
        {"status": 199}, {"status": 600}, {"status": "200"}, 101, True,
        {"body": "a", "json": 1},
        {"status": 204, "body": "a"}, {"status": 304, "json": {}},
        {"headers": {"a b": "1"}}, {"headers": {"a": "1\r\nb: 2"}}, {"headers": {"a": "€"}},
        {"content_type": "a\r\nb: c"}, {"content_type": "€"},
        {"more": 1},
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_when_it_is_configured(data: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)
