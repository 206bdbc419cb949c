"""A configuration as plain data with the keys of the file, defaults included.

Rules of the file: secrets are never shown: every text for people passes `Redactor`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from propylon.config.problems import is_secret
from propylon.config.schema.balance import BalanceEntry
from propylon.config.schema.discover import DiscoverConfig
from propylon.config.schema.policy import PolicyEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "***"
_MAX_SHOWN: Final = 80
_MIN_INSIDE: Final = 4  # shorter secrets are redacted only where they are the entire value
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/\s@\"]+(?=@)")


def plain(value: Any) -> Any:
    """Return a value of a configuration as mappings, lists, texts and numbers."""
    if isinstance(value, PolicyEntry):
        return plain_policy(value)
    if isinstance(value, BalanceEntry | DiscoverConfig):
        settings = plain(value.config)
        return {value.name: settings} if settings else value.name
    if isinstance(value, BaseModel):
        known = type(value).model_fields
        found = {field.alias or name: plain_key(name, getattr(value, name)) for name, field in known.items()}
        return {name: each for name, each in found.items() if each is not None}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, frozenset | set):
        return sorted((plain(each) for each in value), key=str)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    text = str(value)
    return _named(value) if callable(value) or " at 0x" in text else text


def plain_key(name: str, value: Any) -> Any:
    """Return the value of a key; for a key that is short for a policy, such as `respond`, the policy's settings."""
    if isinstance(value, PolicyEntry) and value.name == name and value.instance is None:
        return plain(value.config)
    return plain(value)


def plain_policy(entry: PolicyEntry) -> dict[str, Any]:
    """Return `{name: settings}` with its conditions."""
    settings = plain(entry.config) if entry.instance is None else _of_object(entry.instance)
    found = {entry.name: settings}
    for key in ("when", "unless"):
        if (conditions := getattr(entry, key)) is not None:
            found[key] = plain(conditions)
    return found


def _of_object(policy: object) -> Any:
    """Return the settings of a policy given in Python: the fields of a dataclass, else its name."""
    if not is_dataclass(policy) or isinstance(policy, type):
        return _named(policy)
    return {field.name: plain(getattr(policy, field.name)) for field in fields(policy) if field.repr}


def _named(value: Any) -> str:
    """Return the qualified name of a Python object, which identifies it across reloads."""
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


class Redactor:
    """Formats values with secrets redacted: known secrets, and values below keys that suggest a secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """`secrets` are values from the environment or from files."""
        self._secrets = frozenset(secrets)
        inside = sorted((each for each in self._secrets if len(each) >= _MIN_INSIDE), key=len, reverse=True)
        self._inside = re.compile("|".join(map(re.escape, inside)), re.IGNORECASE) if inside else None

    def text(self, text: str) -> str:
        """Return a text with its secrets redacted."""
        if self._inside is not None:
            text = self._inside.sub(HIDDEN, text)
        return _CREDENTIALS.sub(HIDDEN, text)

    def value(self, value: Any, path: tuple[str, ...]) -> str:
        """Return a value as it is written in a file; `path` is its path of keys."""
        if any(map(is_secret, path)):
            return HIDDEN
        shown = self._shown(value, path)
        return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."

    def _shown(self, value: Any, path: tuple[str, ...]) -> str:
        if value is None:
            return "none"
        if isinstance(value, Mapping):
            return f"{{{', '.join(f'{key}: {self._below(each, path, str(key))}' for key, each in value.items())}}}"
        if isinstance(value, list):
            return f"[{', '.join(self._shown(each, path) for each in value)}]"
        if str(value) in self._secrets:
            return HIDDEN
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:g}" if isinstance(value, float) else self.text(str(value))

    def _below(self, value: Any, path: tuple[str, ...], key: str) -> str:
        return HIDDEN if is_secret(key) else self._shown(value, (*path, key))
