"""`module:name` references of a configuration to Python objects."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Final, get_args

from propylon.config.problems import suggest

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


class Reference:
    """Marks model fields that hold a `module:name` reference (in `typing.Annotated`)."""


REFERENCE: Final = Reference()


class BrokenModuleError(ImportError):
    """A module that exists raised while it was imported.

    Attributes:
        why: the type and text of what it raised, and the file and line of the module that did.
    """

    def __init__(self, module: str, error: Exception) -> None:
        self.why = f"{type(error).__name__}: {error}"
        bodies = [frame for frame in extract_tb(error.__traceback__) if frame.name == "<module>"]
        if bodies and not isinstance(error, SyntaxError):  # whose text has the place
            self.why += f" ({Path(bodies[-1].filename).name}, line {bodies[-1].lineno})"
        super().__init__(f"{module!r} cannot be imported: {self.why}")


def import_object(reference: str) -> Any:
    """Import the object that `module:name` refers to; the name may have dots.

    Raises:
        ImportError, AttributeError: there is no such module, it raises when imported, or has nothing of that name.
    """
    module, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # the user's module may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise
        raise BrokenModuleError(module, error) from error
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
