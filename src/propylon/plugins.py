"""Modules found by name: built-in ones, then those of the entry points of other packages.

Rules of the file: the name of a module is the name in the configuration, so there is no list to edit. Listing the
names imports nothing, and `find` imports only the requested module. A built-in name cannot be overridden.
"""

import importlib
import importlib.util
import pkgutil
import re
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

# Also keeps dotted names in configuration files away from importlib.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class PluginNotFoundError(LookupError):
    """No module has this name."""


class PluginBrokenError(Exception):
    """The module exists, but cannot be imported or lacks a required attribute."""


class Plugins:
    """All modules of one kind."""

    def __init__(self, package: str, *parts: str) -> None:
        """Define a kind of module.

        Args:
            package: the package of the built-in modules, such as `propylon.policies`; `propylon.` and the last part of
                its name is the group of the entry points. It is imported with the first of its modules.
            parts: the attributes required of every module, such as `Config` and `Policy`.
        """
        self.group = f"propylon.{package.rpartition('.')[2]}"
        self._package = package
        self._parts = parts

    def names(self) -> list[str]:
        """Return the names of all modules, sorted, without importing them."""
        return sorted({*self._built_in, *self._entry_points})

    def is_built_in(self, name: str) -> bool:
        """Return whether a module is one of this package."""
        return name in self._built_in

    def find(self, name: str) -> Any:
        """Return a module by its name.

        Raises `PluginNotFoundError` for an unknown name, and `PluginBrokenError` with the reason when the module
        cannot be used, for example because an optional dependency is not installed.
        """
        if name in self._built_in:
            load = self._import_built_in
        elif name in self._entry_points:
            load = self._import_entry_point
        else:
            raise PluginNotFoundError(name)
        try:
            module = load(name)
        except Exception as error:  # importing third-party code may raise anything
            raise PluginBrokenError(f"{type(error).__name__}: {error}") from error
        missing = [part for part in self._parts if not hasattr(module, part)]
        if missing:
            raise PluginBrokenError(f"its module has no {' and no '.join(missing)}")
        return module

    @cached_property
    def _built_in(self) -> frozenset[str]:
        spec = importlib.util.find_spec(self._package)
        assert spec is not None
        found = (module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))
        return frozenset(name for name in found if _NAME.fullmatch(name))

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group) if _NAME.fullmatch(point.name)}

    def _import_built_in(self, name: str) -> object:
        return importlib.import_module(f"{self._package}.{name}")

    def _import_entry_point(self, name: str) -> object:
        return cast("object", self._entry_points[name].load())


POLICIES: Final = Plugins("propylon.policies", "Config", "Policy")
BALANCERS: Final = Plugins("propylon.services.balancing", "Config", "Balancer")
PROVIDERS: Final = Plugins("propylon.services.discovery", "Config", "Provider")
