"""The `respond` policy: a fixed answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from propylon import Response
from propylon.engine.scope import Scope
from propylon.policies.respond import Config, Policy
from propylon.routing.captures import Captures
from tests.support.fakes import exchange, snapshot


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


def filled(data: object, **params: bytes) -> Response:
    route = {"captures": Captures(frozenset(params))}
    x = exchange(snapshot(route=route), query=b'a=<b>"')
    x.route, x.path_params = x.snapshot.routes[0], params
    return Policy(Config.model_validate(data), Scope()).on_request(x)


@pytest.mark.parametrize(
    ("data", "content"),
    [
        ("Hello {name}, from {client.address}", "Hello J\u00fcrgen & \"Co\" <x>, from 192.0.2.1"),
        ({"json": {"who": "{name}"}}, '{"who":"J\u00fcrgen & \\"Co\\" <x>"}'),
        ({"body": '{"who": "{name}"}', "content_type": "application/x+json"}, '{"who": "J\u00fcrgen & \\"Co\\" <x>"}'),
        (
            {"body": "<p>{name} {request.query}", "content_type": "text/html; charset=utf-8"},
            "<p>J\u00fcrgen &amp; &quot;Co&quot; &lt;x&gt; a=&lt;b&gt;&quot;",
        ),
        (
            {"body": "<a>{name}</a>", "headers": {"Content-Type": "text/xml"}},
            "<a>J\u00fcrgen &amp; &quot;Co&quot; &lt;x&gt;</a>",
        ),
        ({"body": "f({name})", "content_type": "text/javascript"}, "f({name})"),
        ("{{name}} {{{name}}} {{other}} ${name} {other} {*}", "{name} {{name}} {{other}} ${name} {other} {*}"),
    ],
)  # fmt: skip
def test_content_has_parts_of_the_request_escaped_by_its_type(data: object, content: str) -> None:
    assert filled(data, name=b"J%C3%BCrgen%20&%20%22Co%22%20%3Cx%3E").content == content.encode()


@pytest.mark.parametrize(
    "body",
    ['{"a":{"b":{}},"c":[{"d":"{e}"}]}', "p{color:red}", "{{ mustache }} {% tag %}", "${path}", "{}", "{a}{{b}}"],
)
def test_braces_of_its_own_stay_as_they_were(body: str) -> None:
    for kind in ("text/plain", "text/html", "application/json"):
        assert filled({"body": body, "content_type": kind}, id=b"5").content == body.encode()


def test_values_of_fields_are_templates() -> None:
    made = filled({"status": 204, "headers": {"x-id": "{id}", "link": "</{{id}}>"}}, id=b"5%0D")
    assert made.headers["x-id"] == "5%0D"
    assert made.headers["link"] == "</{id}>"
