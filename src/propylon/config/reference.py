"""`module:name` references of a configuration to Python objects."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, get_args

from propylon.config.problems import suggest

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


class Reference:
    """Marks model fields that hold a `module:name` reference (in `typing.Annotated`)."""


REFERENCE: Final = Reference()


def import_object(reference: str) -> Any:
    """Import the object that `module:name` refers to; the name may have dots.

    Raises:
        ImportError, AttributeError: there is no such module, or nothing of that name in it.
    """
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            hint = suggest(part, dir(found))
            raise AttributeError(f"{module!r} has no {part!r}{f', {hint}' if hint else ''}")
        found = getattr(found, part)
    return found


def with_objects(config: BaseModel) -> BaseModel:
    """Return a copy of settings with every reference replaced by its object.

    Two such copies are equal only if they refer to the same object, not if its module was imported again in between.

    Raises:
        ImportError, AttributeError: there is no such module, or nothing of that name in it.
    """
    named = {name: value for name in _references(type(config)) if isinstance(value := getattr(config, name), str)}
    return config.model_copy(update={name: import_object(value) for name, value in named.items()}) if named else config


@lru_cache
def _references(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name, field in model.model_fields.items() if _is_reference(field))


def _is_reference(field: FieldInfo) -> bool:
    members = (getattr(member, "__metadata__", ()) for member in get_args(field.annotation))
    return REFERENCE in field.metadata or any(REFERENCE in metadata for metadata in members)
