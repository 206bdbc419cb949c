"""Differences between configurations are told in words, each once, and without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from propylon.config.changes import changes
from propylon.config.load import Loaded, load, validate
from propylon.service_mode.load import load as load_service_mode

SERVICE = {"users": {"endpoints": ["http://a:1", "http://b:1"]}}
ROUTE = {"name": "r", "path": "/a/*", "service": "users"}


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    base: dict[str, Any] = {"services": SERVICE, "routes": [ROUTE]}
    return [str(each) for each in changes(Loaded(validate(base | old)), Loaded(validate(base | new)))]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ({}, {"limits": {"header_count": 50}}, "limits.header_count: changed from 100 to 50"),
        ({}, {"log": {"level": "debug"}}, "log.level: changed from info to debug"),
        ({"listen": ":80"}, {"listen": ":81"}, "listener :80: removed|listener :81: added"),
        ({"listen": ":80"}, {"listen": {"address": ":80", "redirect_https": True}},
         "listener :80: redirect_https changed from none to {port: 443, except: [/.well-known/acme-challenge/*]}"),
        ({"listen": {"address": "unix:/s", "mode": "600"}}, {"listen": {"address": "unix:/s", "mode": "0666"}},
         "listener unix:/s: mode changed from 0600 to 0666"),
        ({}, {"routes": []}, "route r: removed"),
        ({"routes": []}, {}, "route r: added, /a/* to service users"),
        ({}, {"routes": [ROUTE | {"strip": "/a"}]}, "route r: strip changed from none to /a"),
        ({}, {"routes": [ROUTE | {"methods": ["GET"]}]}, "route r: methods changed from none to [GET]"),
        ({}, {"routes": [ROUTE | {"policies": [{"timeout": "5s"}]}]}, "route r: policy timeout added"),
        ({"routes": [ROUTE | {"policies": [{"headers": {"request": {"set": {"x-a": "1"}}}}]}]},
         {"routes": [ROUTE | {"policies": [{"headers": {"request": {"set": {"x-a": "2"}}}}]}]},
         "route r: policy headers: request.set.x-a changed from 1 to 2"),
        ({"policies": ["hsts", "request_id"]}, {"policies": ["request_id", "hsts"]},
         "gateway: the order of the policies has changed"),
        ({"policies": ["hsts"]}, {"policies": [{"hsts": None, "when": {"methods": ["GET"]}}]},
         "gateway: policy hsts: when changed from none to [{methods: [GET]}]"),
        ({}, {"services": {"users": {"endpoints": ["http://a:1", {"url": "http://c:1", "weight": 2}]}}},
         "service users: endpoint http://b:1 removed|service users: endpoint http://c:1 added"),
        ({}, {"services": {"users": {"endpoints": ["http://a:1", {"url": "http://b:1", "weight": 2}]}}},
         "service users: endpoint http://b:1: weight changed from 1 to 2"),
        ({}, {"services": {"users": SERVICE["users"] | {"balance": "ewma"}}}, "service users: balance changed"),
        ({}, {"services": SERVICE | {"more": {"endpoints": ["http://c:1"]}}}, "service more: added at http://c:1"),
        ({"services": SERVICE | {"more": {"endpoints": ["http://c:1"]}}}, {}, "service more: removed"),
        ({}, {"routes": [ROUTE, {"name": "all", "path": "/*", "respond": "no", "priority": 1}]},
         "route all: added, /* answered by the gateway"
         "|route r: can never match: route all takes all of its requests"),
        ({"routes": [ROUTE, {"path": "/b", "respond": "b"}]}, {"routes": [{"path": "/b", "respond": "b"}, ROUTE]},
         "routes: the order has changed"),
    ],
)  # fmt: skip
def test_a_change_is_told_in_words(old: dict[str, Any], new: dict[str, Any], text: str) -> None:
    found = told(old, new)
    expected = text.split("|")
    assert len(found) == len(expected), found
    assert all(line.startswith(each) for line, each in zip(found, expected, strict=True)), found


def test_nothing_is_told_of_the_same() -> None:
    assert told({}, {}) == []


def test_a_route_that_was_useless_before_is_not_told_again() -> None:
    twice = [ROUTE, ROUTE | {"name": "again"}]
    more = {"routes": [*twice, {"path": "/b", "respond": "b"}]}
    assert told({"routes": twice}, more) == ["route /b: added, answered by the gateway"]


def test_service_mode_made_of_the_same_variables_is_the_same() -> None:
    environment = {"UPSTREAMS": '{"users": ["http://127.0.0.1:1"]}'}
    one, other = (Loaded(load_service_mode(environment)) for _ in range(2))
    assert changes(one, other) == ()


# secrets


def secretive(folder: Path, secret: str, extra: str = "") -> Loaded:
    (folder / "token").write_text(secret)
    (folder / "g.yaml").write_text(
        "services: {s: {endpoints: ['http://${HOST_OF_S}:1']}}\n"
        "routes:\n"
        "  - {path: '/hook/${SECRET}', respond: {body: {from_file: token}}}\n"
        "  - {path: /b, service: s, policies: [{headers: {request: {set: {x-a: 'Bearer ${SECRET}'}}}}]}\n" + extra
    )
    environment = {"SECRET": f"env-{secret}", "HOST_OF_S": f"host-{secret}.test"}
    return load(folder / "g.yaml", environment=environment)


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    old = secretive(tmp_path, "old0123456789" * 10)
    new = secretive(tmp_path, "new0123456789" * 10, "  - {path: /c, respond: {status: 200, body: '${SECRET}'}}\n")
    texts = [str(change.as_dict()) for change in changes(old, new)]
    assert len(texts) >= 5
    assert not any("0123456789" in text for text in texts), texts
    assert any("policy headers: request.set.x-a changed from Bearer *** to Bearer ***" in text or
               "policy headers: request.set.x-a changed (Bearer ***)" in text for text in texts), texts  # fmt: skip


def test_short_secrets_are_hidden_where_they_are_the_whole_value(tmp_path: Path) -> None:
    def loaded(value: str) -> Loaded:
        (tmp_path / "g.yaml").write_text("routes: [{path: /, respond: {body: '${PIN}'}}]\n")
        return load(tmp_path / "g.yaml", environment={"PIN": value})

    (found,) = changes(loaded("12"), loaded("34"))
    assert "12" not in str(found)
    assert "34" not in str(found)


@pytest.mark.parametrize("name", ["x-api-key", "authorization", "x-secret", "cookie", "x-token"])
def test_what_a_key_calls_a_secret_is_hidden(name: str) -> None:
    def route(value: str) -> dict[str, Any]:
        return {"routes": [ROUTE | {"policies": [{"headers": {"request": {"set": {name: value}}}}]}]}

    (found,) = told(route("one-value"), route("another-value"))
    assert found == f"route r: policy headers: request.set.{name} changed (***)"


def test_credentials_in_a_url_are_hidden() -> None:
    def route(value: str) -> dict[str, Any]:
        return {"routes": [ROUTE | {"docs": f"https://user:{value}@a.test/"}]}

    assert told(route("one"), route("other")) == ["route r: docs changed (https://***@a.test/)"]
