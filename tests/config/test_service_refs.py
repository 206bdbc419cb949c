"""Services that policies name in their settings: found wherever a `Config` has a `ServiceRef`, told in their place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.load import load, validate
from propylon.config.problems import ConfigError
from propylon.config.schema import PolicyEntry
from propylon.config.schema.service_refs import policy_services
from propylon.config.types import ServiceRef, Text
from propylon.plugins import POLICIES

USERS = {"users": {"endpoints": ["http://10.0.0.1:1"]}}


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: ServiceRef | None = None
    parts: tuple["Part", ...] = ()


class AuthConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    service: ServiceRef = "users"
    note: Text = "no service"
    from_: ServiceRef | None = Field(default=None, alias="from")
    each: tuple[ServiceRef, ...] = ()
    pair: tuple[int, ServiceRef] | None = None
    by_name: dict[str, ServiceRef | int] = {}
    shares: dict[ServiceRef, int] = {}
    part: Part | Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"service": data} if isinstance(data, str) else data


class Auth:
    def __init__(self, config: AuthConfig, scope: Any) -> None:
        pass

    def on_request(self, x: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _auth(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Config=AuthConfig, Policy=Auth)
    plain = SimpleNamespace(Config=dict, Policy=Auth)
    points = {"auth": SimpleNamespace(load=lambda: module), "plain": SimpleNamespace(load=lambda: plain)}
    monkeypatch.setattr(POLICIES, "_entry_points", points)


def problems(settings: Any, policy: str = "auth") -> list[str]:
    entry = settings if isinstance(settings, PolicyEntry) else {policy: settings}
    with pytest.raises(ConfigError) as caught:
        validate({"services": USERS, "policies": [entry], "routes": [{"path": "/*", "service": "users"}]})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ("userz", "auth"),
        ({"service": "userz"}, "auth.service"),
        ({"from": "userz"}, "auth.from"),
        ({"each": ["users", "userz"]}, "auth.each.1"),
        ({"pair": [1, "userz"]}, "auth.pair.1"),
        ({"by_name": {"a": 1, "b": "userz"}}, "auth.by_name.b"),
        ({"shares": {"users": 1, "userz": 2}}, "auth.shares.userz"),
        ({"part": {"ask": "userz"}}, "auth.part.ask"),
        ({"part": {"parts": [{"parts": [{"ask": "users"}, {"ask": "userz"}]}]}}, "auth.part.parts.0.parts.1.ask"),
    ],
)
def test_one_that_is_not_there_is_told_in_its_place(settings: Any, place: str) -> None:
    assert problems(settings) == [f"gateway: policies.0.{place}: unknown service 'userz', did you mean 'users'?"]


@pytest.mark.parametrize("settings", [AuthConfig(service="userz"), AuthConfig(part=Part(ask="userz"))])
def test_settings_that_are_ready_objects_are_looked_at_too(settings: AuthConfig) -> None:
    told = ["gateway: policies.0.auth: unknown service 'userz', did you mean 'users'?"]
    assert problems(settings) == told


def test_an_entry_that_is_a_ready_object_is_looked_at_too() -> None:
    told = ["gateway: policies.0: unknown service 'userz', did you mean 'users'?"]
    assert problems(PolicyEntry.named("auth", "userz")) == told


def test_a_default_counts_as_what_is_written() -> None:
    with pytest.raises(ConfigError, match=r"policies\.0(\.auth)?: unknown service 'users'"):
        validate({"policies": ["auth"], "routes": [{"path": "/*", "respond": "x"}]})


def test_a_text_that_names_no_service_is_none() -> None:
    policies = [{"auth": {"note": "userz", "part": "userz"}}, {"plain": {}}]
    made = validate({"services": USERS, "policies": policies, "routes": [{"path": "/*", "service": "users"}]})
    assert made.policies[0].config.note == "userz"


def test_the_place_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "services: {users: {endpoints: ['http://10.0.0.1:1']}}\n"
        "routes:\n"
        "  - path: /*\n"
        "    service: users\n"
        "    policies:\n"
        "      - mirror: userz\n"
        "      - mirror:\n"
        "          service: usees\n"
        "        when: {methods: [GET]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "p.yaml")
    assert [str(problem).removeprefix(str(tmp_path)) for problem in caught.value.problems] == [
        "/p.yaml:6:17: routes.0.policies.0.mirror: unknown service 'userz', did you mean 'users'?",
        "/p.yaml:8:20: routes.0.policies.1.mirror.service: unknown service 'usees', did you mean 'users'?",
    ]


@pytest.mark.parametrize(
    ("settings", "place"), [({"service": "userz"}, "service"), ({"part": {"ask": "userz"}}, "part.ask")]
)
def test_what_else_is_wrong_with_the_settings_is_told_along(settings: dict[str, Any], place: str) -> None:
    assert sorted(problems(settings | {"nothing": 1})) == [
        "gateway: policies.0.auth.nothing: unknown key 'nothing'",
        f"gateway: policies.0.auth.{place}: unknown service 'userz', did you mean 'users'?",
    ]


def test_what_is_no_entry_of_a_policy_is_told_by_others() -> None:
    assert list(policy_services([5, None, {}, {"a": 1, "b": 2}, {"nothing": "x"}, {5: "x"}], None)) == []
    assert list(policy_services("auth", None)) == []
