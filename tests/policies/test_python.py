"""The `python` policy: anybody's function or class."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.engine.scope import Scope
from propylon.policies.python import Config, Policy


class Tenants:
    """A policy with settings."""

    def __init__(self, default: str = "red") -> None:
        self.default = default


@pytest.fixture(autouse=True)
def _module() -> Iterator[None]:
    module = ModuleType("policies_of_a_test")
    module.require_key = lambda x: None  # type: ignore[attr-defined]
    module.Tenants = Tenants  # type: ignore[attr-defined]
    module.inner = module  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    yield
    del sys.modules[module.__name__]


def made(data: object) -> Any:
    return Policy(Config.model_validate(data), Scope())


def test_a_function_is_itself() -> None:
    assert made("policies_of_a_test:require_key") is sys.modules["policies_of_a_test"].require_key
    assert made({"use": "policies_of_a_test:inner.require_key"}) is sys.modules["policies_of_a_test"].require_key


def test_a_class_is_made_with_its_settings() -> None:
    assert made("policies_of_a_test:Tenants").default == "red"
    assert made({"use": "policies_of_a_test:Tenants", "with": {"default": "blue"}}).default == "blue"


class Scoped:
    def __init__(self, scope: Any, default: str = "red") -> None:
        self.scope, self.default = scope, default


class OnlyByName(Scoped):
    def __init__(self, *, scope: Any = None, default: str = "red") -> None:
        super().__init__(scope, default)


class Anything:
    def __init__(self, **given: Any) -> None:
        self.given = given


@pytest.mark.parametrize("kind", [Scoped, OnlyByName])
def test_a_class_gets_its_scope_if_it_has_a_parameter_of_that_name(kind: type) -> None:
    scope = Scope()
    policy: Any = Policy(Config.model_validate({"use": kind, "with": {"default": "blue"}}), scope)
    assert (policy.scope, policy.default) == (scope, "blue")
    assert made({"use": Anything, "with": {"a": 1}}).given == {"a": 1}
    assert made({"use": kind, "with": {"scope": "mine"}}).scope == "mine"


def test_a_class_without_a_signature_gets_none() -> None:
    class Unknown(type):
        __signature__ = property(lambda cls: 5)

    assert isinstance(made(Unknown("Plain", (), {})), object)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("no_such_module_at_all:x", ImportError),
        ("policies_of_a_test:nothing", AttributeError),
        ({"use": "policies_of_a_test:require_key", "with": {}}, TypeError),
        ({"use": "policies_of_a_test:Tenants", "with": {"other": 1}}, TypeError),
    ],
)
def test_what_cannot_be_made_says_why(data: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        made(data)


@pytest.mark.parametrize(
    "data", [{}, "module", "module:", ":name", "a b:c", "a:b()", {"use": "a:b", "whit": {}}, 5, "a:b\n"]
)
def test_what_names_nothing_is_refused(data: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(data)
