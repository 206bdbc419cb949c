"""The files that a configuration refers to: certificates, error pages, and files in the settings of policies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator


def files_named(config: BaseModel) -> frozenset[Path]:
    """Return the path of every file in a configuration, except those of providers, which watch their files themselves.

    Directories are left out: what is in one is read when it is asked for.
    """
    return frozenset(_paths(config))


def _paths(value: Any) -> Iterator[Path]:
    if value is None or isinstance(value, str | int | float) or value == ():
        return
    if isinstance(value, Path):
        if not value.is_dir():
            yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if name != "discover":
                yield from _paths(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _paths(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _paths(each)
