"""The `redirect` policy: a Location made of what is configured and of the checked request."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from propylon.engine.errors import GatewayError
from propylon.engine.scope import Scope
from propylon.http.forwarded import Origin
from propylon.policies.redirect import Config, Policy
from tests.support.fakes import exchange


def location(
    data: object,
    *,
    host: bytes | None = b"a.example",
    params: dict[str, bytes] | None = None,
    rest: bytes = b"",
    **keys: Any,
) -> str:
    fields = b"" if host is None else b"host: %b\r\n" % host
    x = exchange(**({"path": b"/p", "fields": fields} | keys))
    x.path_params, x.path_rest = params or {}, rest
    response = Policy(Config.model_validate(data), Scope()).on_request(x)
    assert response is not None
    return response.headers["location"]


@pytest.mark.parametrize(
    ("data", "keys", "expected"),
    [
        ("https://docs.example/", {}, "https://docs.example/"),
        ("https://docs.example/", {"query": b"a=1"}, "https://docs.example/?a=1"),
        ("https://docs.example/?b", {"query": b"a=1"}, "https://docs.example/?b"),
        ({"url": "https://docs.example/", "query": False}, {"query": b"a=1"}, "https://docs.example/"),
        ({"https": True}, {"query": b"a"}, "https://a.example/p?a"),
        ({"host": "b.example:81"}, {}, "http://b.example:81/p"),
        ({"https": True, "host": "b.example"}, {}, "https://b.example/p"),
        ({"path": "/new"}, {"query": b""}, "/new?"),
        ({"path": "/new", "query": False}, {"query": b"a"}, "/new"),
        ({"path": "/{year}/{*}"}, {"params": {"year": b"2024"}, "rest": b"a/b"}, "/2024/a/b"),
        ({"path": "/{year}"}, {}, "/"),
        ({"path": "/{*}", "https": True}, {"rest": b"x"}, "https://a.example/x"),
    ],
)
def test_what_is_not_given_stays_as_it_was_asked_for(data: object, keys: dict[str, Any], expected: str) -> None:
    assert location(data, **keys) == expected


def test_a_query_stands_before_a_fragment() -> None:
    assert location("https://docs.example/#top", query=b"a=1") == "https://docs.example/?a=1#top"


def test_the_status_is_308_unless_it_is_configured() -> None:
    x = exchange()
    assert Policy(Config(path="/y"), Scope()).on_request(x).status == 308
    assert Policy(Config(path="/y", status=302), Scope()).on_request(x).status == 302


def test_a_change_to_https_drops_the_port() -> None:
    assert location({"https": True}, host=b"a.example:8080") == "https://a.example/p"


def test_a_redirect_to_a_host_that_nobody_named_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        location({"https": True}, host=None)
    assert caught.value.code == "read.bad_host"


@pytest.mark.parametrize("piece", [b"/evil.example", b"//evil.example", b"%2F%2Fevil.example", b"", b"a//b"])
def test_a_captured_piece_never_becomes_another_authority(piece: bytes) -> None:
    for data in ({"path": "/{x}"}, {"path": "/{x}/{*}"}):
        found = location(data, params={"x": piece}, rest=piece)
        assert found.startswith("/")
        assert not found.startswith("//")
        assert urlsplit(found).netloc == ""


@given(st.from_regex(rb"[!-~]{0,12}", fullmatch=True), st.from_regex(rb"[!-~]{0,12}", fullmatch=True))
def test_a_path_redirect_stays_on_this_host_whatever_was_captured(first: bytes, second: bytes) -> None:
    try:
        found = location({"path": "/{a}{b}"}, params={"a": first, "b": second})
    except GatewayError as error:
        found = f"/{error.code}"
    assert found.startswith("/")
    assert not found.startswith("//")


@pytest.mark.parametrize(
    "data",
    [
        {}, {"query": False}, {"status": 200, "path": "/x"}, {"https": "yes"}, {"more": 1},
        {"url": "/x"}, {"url": "ftp://a"}, {"url": "https://"}, {"url": "https://a b"}, {"url": "https://a/ü"},
        {"url": "https://a", "path": "/x"}, {"url": "https://a", "https": True}, {"url": "https://a/\r\nb"},
        {"path": "x"}, {"path": "//evil"}, {"path": "/a\r\nb"}, {"path": "/ü"},
        {"host": "a b"}, {"host": "a/b"}, {"host": "u@a"},
        {"host": "{x}"}, {"host": "a.{x}"}, {"host": "{x}com"}, {"host": "a.{host.*}:81"}, {"url": "https://{x}/y"},
        {"url": "https://{x}{request.host}evil"}, {"path": "/$1"}, {"path": "/a/:id"}, {"url": "https://$host/"},
        {"url": "https://a/{b"}, {"path": "/../{x}"},
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_refused_when_it_is_configured(data: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)


@pytest.mark.parametrize(
    ("data", "scheme", "host", "there"),
    [
        ({"https": True}, b"https", b"a.example", True),
        ({"https": True}, b"http", b"a.example", False),
        ({"https": True, "status": 301}, b"https", b"a.example:8443", True),
        ({"https": True, "host": "a.example"}, b"https", b"a.example", True),
        ({"https": True, "host": "a.example"}, b"https", b"a.example:443", True),
        ({"https": True, "host": "A.example:443"}, b"https", b"a.example", True),
        ({"https": True, "host": "a.example"}, b"https", b"www.a.example", False),
        ({"https": True, "host": "a.example"}, b"https", b"a.example:8443", False),
        ({"https": True, "host": "a.example"}, b"http", b"a.example", False),
        ({"host": "a.example"}, b"http", b"a.example:80", True),
        ({"host": "a.example"}, b"http", b"b.example", False),
        ({"path": "/p"}, b"http", b"a.example", True),
        ({"path": "/new"}, b"http", b"a.example", False),
        ({"https": True, "path": "/p"}, b"https", b"a.example", True),
        ({"https": True, "path": "/p"}, b"http", b"a.example", False),
        ("https://a.example/p", b"https", b"a.example", True),
        ("https://a.example/", b"https", b"a.example", False),
        ("https://a.example/p?a=1", b"https", b"a.example", False),
        ("https://a.example/p#top", b"https", b"a.example", True),
        ("https://{request.host}/p", b"https", b"a.example", False),
        ({"path": "/%70"}, b"http", b"a.example", True),
        ({"path": "/p?a=1"}, b"http", b"a.example", False),
        ({"path": "{request.path}/"}, b"http", b"a.example", False),
        ({"https": True, "host": "{request.host}"}, b"https", b"a.example", False),
    ],
)
def test_what_is_there_already_is_passed_on(data: object, scheme: bytes, host: bytes, there: bool) -> None:
    x = exchange(path=b"/p", fields=b"host: %b\r\n" % host)
    x._origin = Origin(b"192.0.2.1", scheme, host, b"")
    assert (Policy(Config.model_validate(data), Scope()).on_request(x) is None) is there


@pytest.mark.parametrize(
    ("data", "keys", "expected"),
    [
        ("https://{tenant}.example.com/{*}", {"params": {"tenant": b"Blue"}, "rest": b"a/b"}, "https://blue.example.com/a/b"),
        ("https://{request.host}:8443/x", {}, "https://a.example:8443/x"),
        ("https://www.{request.host}{request.path}", {"query": b"a"}, "https://www.a.example/p?a"),
        ({"path": "/find?id={id}&q", "query": True}, {"params": {"id": b"a%26b"}, "query": b"z"}, "/find?id=a%26b&q"),
        ({"path": "/login?next={request.path}%3F{request.query}"}, {"query": b"a=1&b"}, "/login?next=%2Fp%3Fa%3D1%26b"),
        ({"path": "/x#{id}"}, {"params": {"id": b"5"}, "query": b"q"}, "/x?q#5"),
        ({"path": "{request.path}/"}, {"query": b"a"}, "/p/?a"),
        ({"path": "/{{id}}"}, {"params": {"id": b"5"}}, "/%7Bid%7D"),
        ({"path": "/k/{*}"}, {"path": b"/a/h//b", "rest": b"h//b"}, "/k/h//b"),
        ({"path": "/{*}/k"}, {"path": b"/a/", "rest": b""}, "/k"),
    ],
)  # fmt: skip
def test_parts_of_the_request_are_encoded_for_their_place(data: object, keys: dict[str, Any], expected: str) -> None:
    assert location(data, **keys) == expected


@pytest.mark.parametrize("label", [b"evil.com%2F", b"evil.com:80", b"a@b", b"evil.com%23", b"", b".", b"a..b", b"%65"])
def test_a_part_of_the_path_that_is_no_part_of_a_host_is_refused(label: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        location("https://{x}.example.com/", params={"x": label})
    assert caught.value.code == "read.bad_target"


@given(st.from_regex(rb"[!-~]{0,12}", fullmatch=True))
def test_a_host_redirect_stays_below_the_fixed_domain_whatever_was_captured(label: bytes) -> None:
    try:
        found = location("https://{x}.example.com/{*}", params={"x": label}, rest=label)
    except GatewayError:
        return
    assert (urlsplit(found).hostname or "").endswith(".example.com")
