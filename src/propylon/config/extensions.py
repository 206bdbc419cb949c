"""Keys that begin with `x-`: they are ignored wherever unknown keys are refused, so that YAML anchors have a place.

Rules of the file: only validation knows where keys are checked, and where they are names (of header fields, of
services): what it refuses as unknown is removed if it is an extension, and the rest is validated again.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from propylon.config.problems import Path, located

_EXTENSION: Final = "x-"
_UNKNOWN: Final = frozenset({"extra_forbidden", "unknown_key"})

_T = TypeVar("_T")


def is_extension(key: object) -> bool:
    """Return whether a key is an extension."""
    return isinstance(key, str) and key.startswith(_EXTENSION)


def validated(validate: Callable[[Any], _T], data: Any) -> _T:
    """Return what `validate` makes of the data without its extensions. Raises `ValidationError`."""
    while True:
        try:
            return validate(data)
        except ValidationError as error:
            refused = [part["loc"] for part in error.errors(include_url=False) if part["type"] in _UNKNOWN]
            extensions = {located(loc, data)[0] for loc in refused if is_extension(loc[-1])}
            if not extensions:
                raise
            data = _without(data, extensions)


def _without(value: Any, paths: set[Path]) -> Any:
    """Return a copy of the data without the values at these paths."""
    below: dict[str | int, set[Path]] = {}
    for path in paths:
        below.setdefault(path[0], set()).add(path[1:])
    if isinstance(value, Mapping):
        kept = {key: each for key, each in value.items() if () not in below.get(key, ())}
        return {key: _without(each, below[key]) if key in below else each for key, each in kept.items()}
    return [_without(each, below[index]) if index in below else each for index, each in enumerate(value)]
