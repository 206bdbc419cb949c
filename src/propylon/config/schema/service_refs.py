"""The services that settings of policies refer to: every field of a `Config` that is a `ServiceRef`.

Rules of the file: settings are raw data, or in Python ready objects; raw data is parsed by the policy's own `Config`,
with its short forms and defaults. If that fails, the raw data is searched, so that all problems are reported together.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from propylon.config.schema.base import Loc
from propylon.config.schema.plugin import configured, named
from propylon.config.schema.policy import CONDITIONS, KIND, PolicyEntry
from propylon.config.types import SERVICE
from propylon.plugins import POLICIES, PluginBrokenError, PluginNotFoundError


def policy_services(policies: Any, context: Any) -> Iterator[tuple[Loc, str]]:
    """Yield the services that a list of policies refers to, each with its location in the list.

    Errors of a policy itself are reported elsewhere.

    Args:
        policies: the value of the key `policies`, not validated.
        context: the validation context.
    """
    for index, name, settings in named_policies(policies):
        if (model := _model_with_services(name)) is not None:
            config, _ = configured(KIND, name, settings, context)
            for loc, service in services_of(settings if config is None else config, model):
                yield (index, name, *loc), service


def named_policies(policies: Any) -> Iterator[tuple[int, str, Any]]:
    """Yield the index, the name and the settings of every policy in a list that is not validated."""
    for index, entry in enumerate(policies if isinstance(policies, list | tuple) else ()):
        if isinstance(entry, PolicyEntry):
            name, settings = entry.name, entry.config
        elif isinstance(entry, str):
            name, settings = entry, None
        elif isinstance(entry, Mapping) and len(names := named(entry, CONDITIONS)) == 1:
            name, settings = names[0], entry[names[0]]
        else:
            continue
        if isinstance(name, str):
            yield index, name, settings


def _model_with_services(policy: str) -> type[BaseModel] | None:
    """Return the model of a policy's settings if it can refer to services."""
    try:
        model = POLICIES.find(policy).Config
    except (PluginNotFoundError, PluginBrokenError):
        return None
    return model if isinstance(model, type) and issubclass(model, BaseModel) and _has_services(model) else None


@lru_cache
def _has_services(model: type[BaseModel]) -> bool:
    todo: list[Any] = [model]
    seen: list[Any] = []
    while todo:
        kind = todo.pop()
        if SERVICE in getattr(kind, "__metadata__", ()):
            return True
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
            seen.append(kind)  # models may be recursive
            if any(SERVICE in field.metadata for field in kind.model_fields.values()):
                return True
            todo += [field.annotation for field in kind.model_fields.values()]
        todo += get_args(kind)
    return False


def services_of(settings: object, model: type[BaseModel]) -> Iterator[tuple[Loc, str]]:
    """Yield the services that settings of a model refer to at any depth, each with its location.

    Args:
        settings: an instance of the model, or a mapping of its keys.
    """
    for name, field in model.model_fields.items():
        at = field.alias or name
        value = settings.get(at) if isinstance(settings, Mapping) else getattr(settings, name, None)
        found = _services(value, field.annotation, SERVICE in field.metadata)
        yield from (((at, *below), service) for below, service in found)


def _services(value: Any, kind: Any, marked: bool = False) -> Iterator[tuple[Loc, str]]:
    """Yield the services in a value that is annotated as `kind`."""
    arguments = get_args(kind)
    if SERVICE in getattr(kind, "__metadata__", ()) or marked:
        if isinstance(value, str):
            yield (), value
    elif isinstance(value, BaseModel):
        yield from services_of(value, type(value))
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from services_of(value, kind)
    elif get_origin(kind) in (Annotated, Union, UnionType):
        for member in arguments[:1] if get_origin(kind) is Annotated else arguments:
            yield from _services(value, member)
    elif isinstance(value, Mapping) and len(arguments) == 2:
        for key, each in value.items():
            for part, its in ((key, arguments[0]), (each, arguments[1])):
                yield from (((key, *below), service) for below, service in _services(part, its))
    elif isinstance(value, list | tuple | set | frozenset) and arguments:
        for index, each in enumerate(value):
            its = arguments[0] if Ellipsis in arguments else arguments[min(index, len(arguments) - 1)]
            yield from (((index, *below), service) for below, service in _services(each, its))
