"""The `cookies` policy: path, domain and attributes of the cookies that services set."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from propylon import Response
from propylon.engine.scope import Scope
from propylon.policies.cookies import Config, Policy
from tests.support.fakes import exchange


def edited(data: dict[str, Any], *cookies: str) -> list[str]:
    x = exchange()
    x.response = Response(200, headers={"date": "d"})
    for cookie in cookies:
        x.response.headers.add("Set-Cookie", cookie)
    Policy(Config.model_validate(data), Scope()).on_response(x)
    assert x.response.headers["date"] == "d"
    return x.response.headers.get_all("set-cookie")


@pytest.mark.parametrize(
    ("data", "cookie", "result"),
    [
        ({"path": {"/": "/shop"}}, "a=1; Path=/", "a=1; Path=/shop"),
        ({"path": {"/": "/shop/"}}, "a=1; path=/cart; HttpOnly", "a=1; Path=/shop/cart; HttpOnly"),
        ({"path": {"/": "/shop"}}, "a=1", "a=1"),
        ({"path": {"/v1": "/", "/": "/x"}}, "a=1;PATH=/v1/b", "a=1; Path=/b"),
        ({"path": {"/v1": "/"}}, "a=1;path=/v1", "a=1; Path=/"),
        ({"path": {"/v1": "/v2"}}, "a=1;path=/v10", "a=1;path=/v10"),
        ({"path": {"/": "/shop"}}, "__Host-a=1; Secure; Path=/", "__Host-a=1; Secure; Path=/"),
        ({"domain": {"a.internal": "shop.example"}}, "a=1; Domain=.A.internal", "a=1; Domain=shop.example"),
        ({"domain": {".a.internal": "none"}}, "a=1; Domain=a.internal; Path=/", "a=1; Path=/"),
        ({"domain": {"a.internal": "b"}}, "a=1; Domain=b.a.internal", "a=1; Domain=b.a.internal"),
        ({"domain": "none"}, "a=1; Domain=any.example", "a=1"),
        ({"secure": True}, "a=1", "a=1; Secure"),
        ({"secure": True}, "a=1; secure; Path=/", "a=1; Path=/; Secure"),
        ({"secure": False}, "a=1; Secure; Path=/", "a=1; Path=/"),
        ({"http_only": True, "same_site": "lax"}, "a=1; SameSite=None", "a=1; HttpOnly; SameSite=Lax"),
        ({"http_only": False}, "a=1; HTTPONLY", "a=1"),
        ({"same_site": "none", "secure": True}, "a=b=c; Expires=Wed, 09 Jun 2027 10:18:14 GMT",
         "a=b=c; Expires=Wed, 09 Jun 2027 10:18:14 GMT; Secure; SameSite=None"),
        ({"secure": True}, "a=secure; Max-Age=1;", "a=secure; Max-Age=1;; Secure"),
    ],
)  # fmt: skip
def test_attributes_are_changed_and_the_rest_keeps_every_byte(data: dict[str, Any], cookie: str, result: str) -> None:
    assert edited(data, cookie) == [result]


def test_only_the_cookies_of_a_list_are_changed() -> None:
    data = {"names": ["sid", "app_*"], "secure": True}
    assert edited(data, "sid=1", "SID=1", "app_x=1", "other=1") == [
        "sid=1; Secure",
        "SID=1",
        "app_x=1; Secure",
        "other=1",
    ]


def test_a_response_without_cookies_is_not_changed() -> None:
    x = exchange()
    x.response = Response(200)
    x.response.headers.raw = ()
    Policy(Config(secure=True), Scope()).on_response(x)
    assert not x.response.headers.changed


@pytest.mark.parametrize(
    "data",
    [
        {}, {"names": ["a"]}, {"names": [], "secure": True}, {"names": ["a b"], "secure": True}, {"path": {"a": "/"}},
        {"path": {"/": "/a;b"}}, {"domain": {"a b": "c"}}, {"domain": "a"}, {"same_site": "Lax"}, {"same_site": "none"},
        {"secure": "yes"}, {"more": 1},
    ],
)  # fmt: skip
def test_what_changes_nothing_or_what_browsers_refuse_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)
