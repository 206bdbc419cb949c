"""Policies are found by their names, and imported only when they are used."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from propylon.plugins import POLICIES, PluginBrokenError, PluginNotFoundError


def test_built_in_policies_are_listed() -> None:
    names = POLICIES.names()
    assert "headers" in names
    assert names == sorted(names)


def imported_by(statement: str) -> set[str]:
    """Return the modules of ours that a statement imports besides `propylon.plugins`, in a process of its own."""
    code = (
        "import sys; from propylon.plugins import BALANCERS, POLICIES, PROVIDERS; before = {*sys.modules};"
        f"{statement}; print(*before.intersection(WATCHED), *{{*sys.modules}} - before)"
    ).replace("WATCHED", repr(["propylon.policies", "propylon.services"]))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name for name in result.stdout.split() if name.startswith("propylon.")}


def test_listing_imports_no_module_of_any_kind_and_no_package_of_them() -> None:
    assert imported_by("POLICIES.names()") == set()
    assert imported_by("BALANCERS.names(); PROVIDERS.names()") == {"propylon.services"}  # a docstring, to find both in


def test_only_the_module_asked_for_is_imported() -> None:
    found = imported_by("POLICIES.find('hsts')")
    assert {name for name in found if name.startswith("propylon.policies.")} == {"propylon.policies.hsts"}


@pytest.mark.parametrize("name", ["nope", "os", "os.path", "..config", "headers.x", "", "_private"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    with pytest.raises(PluginNotFoundError):
        POLICIES.find(name)


def test_every_built_in_policy_has_settings_and_behaviour() -> None:
    for name in POLICIES.names():
        module = POLICIES.find(name)
        assert module.Config.model_config["frozen"] is True
        assert module.Config.model_config["extra"] == "forbid"
        assert callable(module.Policy)


def with_entry_point(monkeypatch: pytest.MonkeyPatch, name: str, load: Any) -> None:
    monkeypatch.setattr(POLICIES, "_entry_points", {name: SimpleNamespace(load=load)})


def test_another_package_brings_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Config=object, Policy=object)
    with_entry_point(monkeypatch, "colour", lambda: module)
    assert POLICIES.find("colour") is module
    assert "colour" in POLICIES.names()


def test_another_package_cannot_take_over_a_built_in_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with_entry_point(monkeypatch, "headers", lambda: pytest.fail("loaded"))
    assert POLICIES.find("headers").__name__ == "propylon.policies.headers"  # type: ignore[attr-defined]


def test_a_policy_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise ModuleNotFoundError("No module named 'joserfc'")

    with_entry_point(monkeypatch, "colour", load)
    with pytest.raises(PluginBrokenError, match="No module named 'joserfc'"):
        POLICIES.find("colour")


def test_a_module_without_its_parts_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    with_entry_point(monkeypatch, "colour", SimpleNamespace)
    with pytest.raises(PluginBrokenError, match="has no Config and no Policy"):
        POLICIES.find("colour")
