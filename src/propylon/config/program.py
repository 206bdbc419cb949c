"""The configuration that a Python program writes, with the file and line of each call.

Rules of the file: nothing is validated before the gateway is used, so that all problems are reported together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from propylon.config.problems import ConfigSource, Path, Position, Problem

if TYPE_CHECKING:
    from propylon.config.load import Loaded

_PACKAGE = __name__.partition(".")[0]


class Program:
    """The keys that `Gateway(...)`, `route`, `service` and `policy` were called with."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        # Lists and mappings are copied, as calls add to them; others are reported when they are validated.
        self._settings = {key: _copied(value) for key, value in settings.items()}
        self._calls: dict[Path, Position] = {(): calling()}
        self._problems: list[Problem] = []

    def add_route(self, keys: Mapping[str, Any]) -> None:
        """Add a route."""
        self._append("routes", {key: _copied(value) for key, value in keys.items()})

    def add_policy(self, policy: object) -> None:
        """Add a policy of every route."""
        self._append("policies", policy)

    def add_service(self, name: str, keys: Mapping[str, Any]) -> None:
        """Add a service; a second one of the same name is a problem."""
        services = self._settings.setdefault("services", {})
        if not isinstance(services, dict):
            return
        path, at = ("services", name), calling()
        if name in services:
            first = self._calls.get(path, self._calls[()])
            message = f"duplicate service {name!r}, first in {first.file}:{first.line}"
            self._problems.append(Problem(at.file, at.line, at.column, ".".join(map(str, path)), message))
            return
        self._calls[path] = at
        services[name] = {key: _copied(value) for key, value in keys.items()}

    def listen_at(self, address: str) -> None:
        """Set the address, in the place of the one that was given before."""
        self._calls[("listen",)] = calling()
        self._settings["listen"] = address

    def listen_by_default(self, address: str) -> None:
        """Set the address of a gateway that has none."""
        self._settings.setdefault("listen", address)

    def loaded(self) -> Loaded:
        """Return the validated configuration. Raises `ConfigError` with every problem."""
        from propylon.config.load import of_program

        return of_program(ConfigSource(self._calls[()].file, self._settings, self._calls), self._problems)

    def _append(self, key: str, item: object) -> None:
        items = self._settings.setdefault(key, [])
        if isinstance(items, list):
            self._calls[key, len(items)] = calling()
            items.append(item)


def _copied(value: Any) -> Any:
    """Return a list for what can be gone through, perhaps only once, a mapping's copy, or the value itself."""
    if isinstance(value, list | tuple | AbstractSet | Iterator | ValuesView):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def calling() -> Position:
    """Return the file and line of the innermost call that is not in this package."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE and frame.f_back is not None:
        frame = frame.f_back
    file, folder = frame.f_code.co_filename, os.path.join(os.getcwd(), "")
    return Position(file.removeprefix(folder), frame.f_lineno)
