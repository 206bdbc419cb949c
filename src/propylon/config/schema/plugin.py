"""Entries that name a module: policies, balancing algorithms, providers.

The settings are validated by the `Config` of the module, so errors in them are reported with their position.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from propylon.config.extensions import is_extension
from propylon.config.other_words import way_of_module
from propylon.config.problems import suggest
from propylon.config.schema.base import UNKNOWN_KEY, Finding, Loc, Model, combined, detail, details
from propylon.plugins import PluginBrokenError, PluginNotFoundError, Plugins


class Kind(NamedTuple):
    """One kind of module.

    Attributes:
        plugins: the modules of the kind.
        word: the noun for one of them in messages.
        place: the part of the configuration that has one, such as `a service`.
        advice: the hint for an entry with several names.
    """

    plugins: Plugins
    word: str
    place: str
    advice: str = "indent the settings below the name"


def named(data: Mapping[Any, Any], beside: Iterable[str] = ()) -> list[Any]:
    """Return the names of modules among the keys of an entry, which are text only in a file."""
    return [key for key in data if key not in beside and not is_extension(key)]


def split(
    model: type[Model], kind: Kind, data: str | Mapping[str, Any], beside: Iterable[str] = ()
) -> tuple[str, Any, Loc]:
    """Return the name, the settings and the location of the settings, of `name` or `{name: settings}`.

    Args:
        model: the model to raise errors for.
        beside: keys that are allowed beside the name.

    Raises:
        ValidationError: there is no name, or more than one.
    """
    if isinstance(data, str):
        return data, None, ()
    names = named(data, beside)
    if len(names) == 1:
        return str(names[0]), data[names[0]], (str(names[0]),)
    if others := _misspelt(kind, names, beside):
        raise combined(model, [detail(each) for each in others])
    if not names:
        message, hint = f"no {kind.word} is named here", "write its name and its settings"
    else:
        message, hint = f"one {kind.word} {kind.place}, but here are {', '.join(map(repr, names))}", kind.advice
    raise combined(model, [detail(Finding((), message, hint))])


def _misspelt(kind: Kind, names: Iterable[str], beside: Iterable[str]) -> list[Finding]:
    """Return a finding for each misspelt key beside the one name of a module."""
    known = kind.plugins.names()
    others = [str(name) for name in names if name not in known]
    hints = [suggest(name, beside) for name in others]
    if len(others) != sum(1 for _ in names) - 1 or not all(hints):
        return []
    return [
        Finding((name,), f"unknown key {name!r}", hint, UNKNOWN_KEY) for name, hint in zip(others, hints, strict=True)
    ]


def configured(kind: Kind, name: str, settings: Any, context: Any, at: Loc = ()) -> tuple[Any, list[InitErrorDetails]]:
    """Return the validated settings of a module, and their errors, located at `at`."""
    try:
        config_model = kind.plugins.find(name).Config
    except PluginNotFoundError:
        names = kind.plugins.names()
        way = way_of_module(kind.word, name)
        hint = way.hint if way is not None else suggest(name, names) or f"known are {', '.join(names)}"
        return None, [detail(Finding(at, f"unknown {kind.word} {name!r}", hint))]
    except PluginBrokenError as error:
        return None, [detail(Finding(at, f"the {kind.word} {name!r} cannot be used: {error}"))]
    if isinstance(settings, config_model):
        return settings, []
    try:
        return config_model.model_validate({} if settings is None else settings, context=context), []
    except ValidationError as error:
        return None, details(error, config_model, at)
    except Exception as error:  # validators of other packages may raise anything
        return None, [detail(Finding(at, f"the {kind.word} {name!r} failed: {type(error).__name__}: {error}"))]
