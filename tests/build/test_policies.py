"""Which policies stay from one configuration to the next: by place, name and settings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from propylon.build.errors import BuildError
from propylon.build.policies import build_policies, route_identities
from propylon.build.policies_at_work import PoliciesAtWork
from propylon.config.load import validate
from propylon.config.types import ExistingFile
from propylon.engine.scope import PlacedPolicy
from propylon.plugins import POLICIES

USERS = {"users": {"endpoints": ["http://10.0.0.1:1"]}}
LIMIT = {"websocket": {"max_connections": 5}}
OTHER = {"websocket": {"max_connections": 6}}


def placed(old: tuple[PlacedPolicy, ...] = (), same_code: bool = True, **keys: Any) -> tuple[PlacedPolicy, ...]:
    config = validate({"routes": [{"path": "/*", "respond": "x"}]} | keys)
    return build_policies(config, PoliciesAtWork(old, old, lambda: same_code)).placed


def route(path: str, *policies: Any, **keys: Any) -> dict[str, Any]:
    return {"path": path, "target": "http://10.0.0.1:1", "policies": list(policies)} | keys


def kept(old: tuple[PlacedPolicy, ...], new: tuple[PlacedPolicy, ...]) -> list[int | None]:
    """For each policy of the new configuration, its number in the old one."""
    return [old.index(each) if each in old else None for each in new]


def test_all_stay_where_nothing_changes() -> None:
    keys = {
        "policies": [LIMIT, "request_id"],
        "services": {"users": USERS["users"] | {"policies": [LIMIT]}},
        "routes": [
            route("/a", LIMIT),
            route("/b", fallback={"respond": "sorry"}),
            {"path": "/c", "redirect": {"path": "/d"}},
        ],
    }
    old = placed(**keys)
    assert kept(old, placed(old, **keys)) == list(range(len(old))) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([LIMIT], [OTHER], [None]),
        ([LIMIT], ["request_id", LIMIT], [None, 0]),
        ([LIMIT, OTHER], [OTHER, LIMIT], [1, 0]),
        ([LIMIT], [LIMIT, LIMIT], [0, None]),
        ([LIMIT, LIMIT], [LIMIT, LIMIT], [0, 1]),
        ([{"timeout": "2s"}], [{"timeout": {"response": 2}}], [0]),
        ([{"timeout": {"response": 2}}], [{"timeout": {"response": 2, "idle": "none"}}], [None]),
        ([{"timeout": {"response": 2}}], [{"headers": {"request": {"remove": ["a"]}}}], [None]),
    ],
)
def test_in_a_list_a_policy_is_found_by_its_settings(before: list[Any], after: list[Any], expected: list[Any]) -> None:
    old = placed(policies=before)
    assert kept(old, placed(old, policies=after))[: len(after)] == expected


def test_of_the_same_settings_the_conditions_tell_and_a_changed_condition_takes_nothing_away() -> None:
    def on(*paths: str) -> list[Any]:
        return [LIMIT | {"when": {"paths": [path]}} for path in paths]

    old = placed(policies=on("/a", "/b"))
    assert kept(old, placed(old, policies=on("/b", "/a")))[:2] == [1, 0]
    assert kept(old, placed(old, policies=on("/new", "/a", "/b")))[:3] == [None, 0, 1]
    assert kept(old, placed(old, policies=on("/new", "/b")))[:2] == [0, 1]


def test_a_route_is_known_by_its_name_or_by_what_it_matches() -> None:
    old = placed(routes=[route("/a", LIMIT), route("/b", LIMIT, name="mine")])
    new = placed(old, routes=[route("/new", LIMIT), route("/other", LIMIT, name="mine"), route("/a", LIMIT)])
    assert kept(old, new) == [None, 1, 0]


@pytest.mark.parametrize(
    "keys",
    [
        {"headers": {"x-a": "1"}}, {"query": {"a": {"regex": "[0-9]"}}}, {"methods": ["GET"]}, {"host": "a.example"},
        {"clients": ["10.0.0.0/8"]}, {"websocket": "only"},
    ],
)  # fmt: skip
def test_everything_that_a_route_matches_tells_it_from_another(keys: dict[str, Any]) -> None:
    old = placed(routes=[route("/a", LIMIT)])
    assert kept(old, placed(old, routes=[route("/a", LIMIT, **keys), route("/a", LIMIT)])) == [None, 0]


def test_routes_that_match_the_same_are_told_apart_by_their_order() -> None:
    routes = validate({"routes": [route("/a"), route("/b"), route("/a")]}).routes
    first, second, third = route_identities(routes)
    assert len({first, second, third}) == 3
    old = placed(routes=[route("/a", LIMIT), route("/a", LIMIT)])
    assert kept(old, placed(old, routes=[route("/b", LIMIT), route("/a", LIMIT), route("/a", LIMIT)])) == [None, 0, 1]


def test_places_do_not_mix() -> None:
    old = placed(policies=[LIMIT], services=USERS, routes=[route("/a")])
    new = placed(old, services={"users": USERS["users"] | {"policies": [LIMIT]}}, routes=[route("/a", LIMIT)])
    assert kept(old, new) == [None, None]


# python


class Tenants:
    """A policy with settings."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def on_request(self, x: Any) -> None:
        pass


def imported_anew(kind: type) -> type:
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})


def test_a_class_that_is_imported_anew_is_the_same_if_its_code_is() -> None:
    def python(use: Any, name: str = "a") -> list[Any]:
        return [{"python": {"use": use, "with": {"name": name}}}]

    old, anew = placed(policies=python(Tenants)), imported_anew(Tenants)
    assert kept(old, placed(old, policies=python(Tenants)))[0] == 0
    assert kept(old, placed(old, policies=python(anew)))[0] == 0
    assert kept(old, placed(old, same_code=False, policies=python(anew)))[0] is None
    assert kept(old, placed(old, policies=python(anew, "b")))[0] is None
    assert kept(old, placed(old, policies=python(type("Other", (Tenants,), {}))))[0] is None


def test_a_function_is_taken_anew() -> None:
    def made() -> Any:
        return lambda x: None

    old = placed(policies=[{"python": made()}])
    assert kept(old, placed(old, policies=[{"python": made()}]))[0] is None


def test_an_object_of_a_program_is_itself() -> None:
    policy = Tenants()
    old = placed(policies=[policy], routes=[route("/a", policy, {"python": policy})])
    assert [each.policy for each in old] == [policy]
    assert kept(old, placed(old, routes=[route("/b", policy)])) == [0]
    assert kept(old, placed(old, policies=[Tenants()]))[0] is None


# policies of other packages


class KeysConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: ExistingFile


class Keys:
    """A policy that reads a file."""

    def __init__(self, config: KeysConfig, scope: Any) -> None:
        self.given = (config, scope)

    def on_request(self, x: Any) -> None:
        pass


def test_one_of_another_package_gets_settings_and_scope_and_is_new_when_its_file_has_another_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = SimpleNamespace(Config=KeysConfig, Policy=Keys)
    monkeypatch.setattr(POLICIES, "_entry_points", {"keys": SimpleNamespace(load=lambda: module)})
    file = tmp_path / "keys"
    file.write_text("one")
    policies = [{"keys": {"keys": str(file)}}]
    old = placed(policies=policies)
    policy: Any = old[0].policy
    assert policy.given == (KeysConfig(keys=file), old[0].scope)
    assert old[0].scope.name == "keys"
    assert kept(old, placed(old, policies=policies))[0] == 0
    file.write_text("two")
    assert kept(old, placed(old, policies=policies))[0] is None


def test_settings_that_cannot_be_compared_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Odd(KeysConfig):
        def __eq__(self, other: object) -> bool:
            if isinstance(other, Odd):
                raise RuntimeError("apples and pears")
            return False

    module = SimpleNamespace(Config=Odd, Policy=Keys)
    monkeypatch.setattr(POLICIES, "_entry_points", {"keys": SimpleNamespace(load=lambda: module)})
    (tmp_path / "keys").write_text("one")
    policies = [{"keys": {"keys": str(tmp_path / "keys")}}]
    old = placed(policies=policies)
    with pytest.raises(BuildError, match=r"^policies\.0: settings cannot be compared: apples and pears"):
        placed(old, policies=policies)
