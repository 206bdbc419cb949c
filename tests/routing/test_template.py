"""Templates: names, braces, facts, and what a route captures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.exchange import Exchange
from propylon.http.target import TargetError
from propylon.routing.captures import NO_CAPTURES, NOT_IN_ROUTE, Captures, captures_of
from propylon.routing.facts import FACTS
from propylon.routing.match import Rule
from propylon.routing.template import Place, Template, TemplateError
from propylon.routing.template_places import (
    IN_FIELD,
    IN_HOST,
    IN_HTML,
    IN_JSON,
    IN_PATH,
    IN_QUERY,
    IN_TEXT,
    content_place,
)
from tests.support.fakes import exchange, snapshot


def request(captures: Captures = NO_CAPTURES, *, host: str = "a.example", **params: bytes) -> Exchange:
    made = snapshot(route={"captures": captures, "name": "people"})
    x = exchange(made, query=b"q=1", fields=f"host: {host}\r\n".encode())
    x.route = made.routes[0]
    x.path_params, x.path_rest = params, b"r/s"
    return x


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{id}", b"5"),
        ("a{id}b{id}", b"a5b5"),
        ("{*}", b"r/s"),
        ("{{id}}", b"{id}"),
        ("{{{id}}}", b"{{id}}"),
        ("{id}}", b"5}"),
        ("{{id}", b"{5"),
        ("{ id }", b"{ id }"),
        ("{}", b"{}"),
        ('{"a":{"b":1}}', b'{"a":{"b":1}}'),
        ("", b""),
    ],
)
def test_a_name_in_single_braces_is_replaced_and_all_else_is_text(text: str, result: bytes) -> None:
    assert Template(text, IN_FIELD).fill(request(id=b"5")) == result


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client.address", b"192.0.2.1"),
        ("request.id", b"id-1"),
        ("request.method", b"GET"),
        ("request.scheme", b"http"),
        ("request.host", b"a.example"),
        ("request.path", b"/x"),
        ("request.query", b"q=1"),
        ("route.name", b"people"),
    ],
)
def test_facts_are_those_of_the_request(name: str, value: bytes) -> None:
    assert Template(f"{{{name}}}", IN_FIELD).fill(request()) == value
    assert name in FACTS


@pytest.mark.parametrize(
    ("hosts", "host", "value"),
    [
        (("*.example.com",), "blue.example.com", b"blue"),
        (("*.example.com",), "a.b.example.com:81", b"a.b"),
        (("*.example.com:81", "*.b.example.com"), "a.b.example.com", b"a"),
        (("*.com", "*.example.com"), "x.example.com", b"x"),
        ((), "x.example.com", b""),
    ],
)
def test_the_part_of_the_host_is_what_the_star_stands_for(hosts: tuple[str, ...], host: str, value: bytes) -> None:
    captures = captures_of(Rule(route=None, hosts=hosts))
    assert Template("{host.*}", IN_FIELD).fill(request(captures, host=host)) == value


@pytest.mark.parametrize(
    ("rule", "text", "problem"),
    [
        ({"paths": ("/a/{id}",)}, "{id}{client.address}{{n}}", None),
        ({"paths": ("/a/{id}",)}, "{idd}", "did you mean 'id'?"),
        ({"paths": ("/a/{id}", "/b")}, "{id}", "there are none"),
        ({"paths": ("/a/*",)}, "{*}", None),
        ({"paths": ("/a/*", "/b")}, "{*}", "at the end of every path"),
        ({"hosts": ("*.a.example",)}, "{host.*}", None),
        ({"hosts": ("*.a.example", "a.example")}, "{host.*}", "in every host of the route"),
        ({}, "{host}", "did you mean 'request.host'?"),
        ({}, "{remote_addr}", "did you mean 'client.address'?"),
        ({}, "{http.request.host}", "did you mean 'request.host'?"),
        ({}, "{request.hots}", "did you mean 'request.host'?"),
        ({}, "{1}", "{{1}} is the text"),
        ({"path_regex": "/(?P<id>[0-9]+)"}, "{id}", None),
    ],
)
def test_names_are_checked_by_what_the_route_captures(rule: dict[str, object], text: str, problem: str | None) -> None:
    captures = captures_of(Rule(**({"route": None} | rule)))  # type: ignore[arg-type]
    found = Template(text, IN_FIELD).problem(captures)
    assert found is None if problem is None else found is not None and problem in found
    assert Template(text, IN_TEXT).problem(captures) is None


def test_lists_of_the_gateway_and_of_services_know_facts_only() -> None:
    assert Template("{client.address}", IN_FIELD).problem(NOT_IN_ROUTE) is None
    for text in ("{id}", "{*}", "{host.*}"):
        assert "in policies of a route only" in str(Template(text, IN_FIELD).problem(NOT_IN_ROUTE))


def test_a_parameter_cannot_hide_a_fact() -> None:
    x = request(Captures(frozenset(("host",))), host="a.example")
    x.path_params = {"host": b"evil", "request.host": b"evil"}
    assert Template("{request.host} {host}", IN_FIELD).fill(x) == b"a.example evil"


@pytest.mark.parametrize(
    ("place", "value", "result"),
    [
        (IN_PATH, b"a%2Fb%20c", b"a%2Fb%20c"),
        (IN_QUERY, b"a%2Fb%20c&d", b"a%2Fb%20c%26d"),
        (IN_FIELD, b"a%0Ab\r\n\xe4", b"a%0Ab%0D%0A%E4"),
        (IN_HTML, b"%3Cb%3E'&", b"&lt;b&gt;&#x27;&amp;"),
        (IN_JSON, b"%22%5C%0A", b'\\"\\\\\\n'),
        (IN_TEXT, b"%C3%A4%FF", "\u00e4\ufffd".encode()),
        (IN_HOST, b"Blue-1", b"blue-1"),
    ],
)
def test_a_value_is_encoded_for_its_place(place: Place, value: bytes, result: bytes) -> None:
    assert Template("{id}", place).fill(request(Captures(frozenset(("id",))), id=value)) == result


@given(st.binary(max_size=20))
def test_no_value_leaves_its_place(value: bytes) -> None:
    x = request(Captures(frozenset(("id",))), id=value)
    assert not set(Template("{id}", IN_QUERY).fill(x)) & set(b"&=#?/ \r\n")
    assert all(0x20 <= byte < 0x7F for byte in Template("{id}", IN_FIELD).fill(x))
    assert not set(Template("{id}", IN_HTML).fill(x)) & set(b"<>\"'")
    try:
        assert not set(Template("{id}", IN_HOST).fill(x)) & set(b"/?#@\\% ")
    except TargetError:
        pass


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("text/plain; charset=utf-8", IN_TEXT),
        ("TEXT/HTML", IN_HTML),
        ("image/svg+xml", IN_HTML),
        ("application/problem+json;x=y", IN_JSON),
        ("text/css", None),
        ("application/javascript", None),
    ],
)
def test_content_is_encoded_by_its_type(kind: str, place: Place | None) -> None:
    assert content_place(kind) is place


def test_text_of_other_programs_is_refused_but_in_content() -> None:
    with pytest.raises(TemplateError, match=r"write \{client.address\}"):
        Template("$remote_addr", IN_FIELD)
    assert Template("$remote_addr", IN_TEXT).fixed == b"$remote_addr"
