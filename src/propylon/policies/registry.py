"""Where policies are found: by name, in this package, then among entry points of the group `propylon.policies`.

Rules of the file: the name of the module is the name of the policy, so there is no list to edit. Nothing is imported
to list the names, and only the one module asked for is imported by `find`. A built-in name cannot be taken over.
"""

import importlib
import pkgutil
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import propylon.policies

if TYPE_CHECKING:
    from pydantic import BaseModel

ENTRY_POINT_GROUP: Final = "propylon.policies"

# Also what keeps a name from a file from reaching importlib as a dotted path.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class PolicyModule(Protocol):
    """What every policy module has."""

    @property
    def Config(self) -> "type[BaseModel]":
        """The pydantic model of the policy's settings."""

    @property
    def Policy(self) -> Any:
        """The class made with one `Config`, whose methods are the policy's hooks."""


class PolicyNotFoundError(LookupError):
    """No policy has this name."""


class PolicyBrokenError(Exception):
    """The policy exists, and cannot be imported or lacks `Config` or `Policy`."""


def names() -> list[str]:
    """Return the names of all policies that can be configured, sorted; imports none of them."""
    return sorted({*_built_in(), *_entry_points()})


def find(name: str) -> PolicyModule:
    """Return the module of a policy.

    Raises `PolicyNotFoundError` for an unknown name, and `PolicyBrokenError` with the reason when the module cannot
    be used, for example because an optional dependency is not installed.
    """
    if name in _built_in():
        load = _import_built_in
    elif name in _entry_points():
        load = _import_entry_point
    else:
        raise PolicyNotFoundError(name)
    try:
        module = load(name)
    except Exception as error:  # a third party's module may raise anything when it is imported
        raise PolicyBrokenError(f"{type(error).__name__}: {error}") from error
    missing = [part for part in ("Config", "Policy") if not hasattr(module, part)]
    if missing:
        raise PolicyBrokenError(f"its module has no {' and no '.join(missing)}")
    return cast("PolicyModule", module)


@cache
def _built_in() -> frozenset[str]:
    found = pkgutil.iter_modules(propylon.policies.__path__)
    return frozenset(module.name for module in found if module.name != "registry" and _NAME.fullmatch(module.name))


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP) if _NAME.fullmatch(point.name)}


def _import_built_in(name: str) -> object:
    return importlib.import_module(f"propylon.policies.{name}")


def _import_entry_point(name: str) -> object:
    return cast("object", _entry_points()[name].load())
