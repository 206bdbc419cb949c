"""Keys that begin with `x-` are ignored where keys are checked, and are names where names are."""

from __future__ import annotations

import pytest

from propylon.config.problems import ConfigError
from tests.support.config import load_text

BASE = """
listen: {address: ':0', backlog: 7%s}
limits: {header_count: 7%s}
services:
  users:
    endpoints: [http://a, {url: http://b%s}]
    balance: {consistent_hash: {header: x-user%s}%s}
    health: {path: /up%s}
    retry: {attempts: 2%s}
  found: {discover: {dns: {name: a.example, port: 80%s}%s}}
policies:
  - {headers: {request: {set: {x-name: value}%s}%s}%s}
  - {hsts: {max_age: 1d%s}, when: {methods: [GET]%s}}
routes:
  - {path: /*, service: users, headers: {x-name: value}, query: {x-q: "1"}%s}
  - {path: /f, service: users, fallback: {respond: {status: 503, headers: {x-f: a}%s}%s}}
tests:
  - {request: GET /x, headers: {x-name: value}, expect: {status: 200, headers: {x-a: b}%s}%s}
%s
"""


def test_extensions_are_ignored_wherever_keys_are_checked() -> None:
    places = BASE.count("%s")
    plain = load_text(BASE % (("",) * places))
    for place in range(places - 1):
        each = [""] * places
        each[place] = ", x-note: {anything: [1]}"
        assert load_text(BASE % tuple(each)) == plain, f"place {place}"
    everywhere = [", x-note: 1, x-other: ~"] * (places - 1)
    assert load_text(BASE % (*everywhere, "x-anchors: {nope: 1}")) == plain


def test_names_that_begin_so_are_names() -> None:
    config = load_text("services: {x-users: {endpoints: http://a}}\nroutes: [{path: /*, service: x-users}]")
    assert list(config.services) == ["x-users"]


def test_anchors_and_merge_keys_have_a_place() -> None:
    config = load_text(
        """
        x-service: &service
          retry: 1
          health: {path: /up}
        x-public: &public {policies: [hsts]}
        services:
          a: {<<: *service, endpoints: http://a}
          b: {<<: *service, endpoints: http://b, retry: 2}
        routes:
          - {<<: *public, path: /a, service: a}
        """
    )
    assert [service.retry.attempts for service in config.services.values()] == [1, 2]
    assert [policy.name for policy in config.routes[0].policies] == ["hsts"]


def test_an_extension_alone_is_no_setting() -> None:
    with pytest.raises(ConfigError, match="an empty condition"):
        load_text("policies: [{hsts: {}, when: {x-a: 1}}]")
    with pytest.raises(ConfigError, match="no policy is named here"):
        load_text("policies: [{x-a: 1}]")


def test_other_unknown_keys_beside_extensions_are_still_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("x-a: 1\nnope: 1\nroutes: [{path: /a, respond: x, x-b: 1, stripp: /}]")
    assert [problem.path for problem in caught.value.problems] == ["nope", "routes.0.stripp"]
