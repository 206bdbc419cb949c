"""Keys: what each of them reads of a request, and what it is called."""

from __future__ import annotations

from typing import Any

import pytest

from propylon.http.forwarded import Origin
from propylon.routing.key import BY_CLIENT, BY_PATH, Key, by_cookie, by_function, by_header, by_query
from tests.support.fakes import exchange


def read(key: Key, **request: Any) -> bytes | None:
    return key.read(exchange(**request))


@pytest.mark.parametrize(
    ("key", "request_", "value"),
    [
        (by_header("X-User"), {"fields": b"host: a\r\nx-USER: one\r\nx-user: two\r\n"}, b"one"),
        (by_header("X-User"), {"fields": b"host: a\r\nx-user: \r\n"}, b""),
        (by_header("X-User"), {}, None),
        (by_header("X-Forwarded-For"), {"fields": b"host: a\r\nx-forwarded-for: 10.0.0.1\r\n"}, None),
        (by_cookie("stay"), {"fields": b"host: a\r\ncookie: a=b; stay=one\r\ncookie: stay=two\r\n"}, b"one"),
        (by_cookie("stay"), {"fields": b"host: a\r\ncookie: Stay=one\r\n"}, None),
        (by_query("te nant"), {"query": b"a=b&te%20nant=o+n%65&te+nant=two"}, b"o ne"),
        (by_query("tenant"), {"query": b"tenant="}, b""),
        (by_query("tenant"), {"query": None}, None),
        (BY_PATH, {"path": b"/a/b", "query": b"c=d"}, b"/a/b"),
        (by_function("method", lambda x: x.method), {"method": b"PUT"}, b"PUT"),
        (by_function("nothing", lambda x: None), {}, None),
    ],
)
def test_what_a_key_reads(key: Key, request_: dict[str, Any], value: bytes | None) -> None:
    assert read(key, **request_) == value


def test_the_address_is_that_of_the_client_behind_trusted_proxies() -> None:
    x = exchange()
    x._origin = Origin(b"192.0.2.1", b"http", b"a.example", b"")
    assert BY_CLIENT.read(x) == b"192.0.2.1"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (by_header("X-User"), "header x-user"),
        (by_cookie("stay"), "cookie stay"),
        (by_query("tenant"), "query parameter tenant"),
        (BY_PATH, "path"),
        (BY_CLIENT, "client address"),
        (by_function("by_tenant", lambda x: None), "python by_tenant"),
    ],
)
def test_a_key_shows_what_it_is(key: Key, name: str) -> None:
    assert str(key) == name
