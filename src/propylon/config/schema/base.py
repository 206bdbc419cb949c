"""The base of every configuration model: frozen, unknown keys refused, and every problem reported at once.

pydantic reports all invalid fields of a model, but runs the model's own validators only if there are none. So that all
problems are reported together, rules between fields are `findings` over the raw data.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from propylon.config.other_words import way_of_key
from propylon.config.problems import closest
from propylon.config.validation import DEPTH, MEANS, NEEDS

Loc: TypeAlias = tuple[str | int, ...]

# The type of errors with a complete message: the value is not appended.
COMPLETE: Final = "complete"
UNKNOWN_KEY: Final = "unknown_key"

_KEPT: Final = frozenset({"hint", DEPTH, MEANS, NEEDS})


class Finding(NamedTuple):
    """One problem of a model: its location, a message and a hint.

    Attributes:
        needs: keys of the model of which one is missing; an unknown key that stands for one of them is the only
            problem then.
    """

    loc: Loc
    message: str
    hint: str | None = None
    kind: str = COMPLETE
    needs: tuple[str, ...] = ()


class Model(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, defer_build=True
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Yield violations of rules between the fields of `data`, which is not validated yet."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        found = [detail(finding) for finding in cls.findings(data, info)] if isinstance(data, Mapping) else []
        try:
            model = handler(data)
        except ValidationError as error:
            raise combined(cls, [*details(error, cls), *found]) from None
        if found:
            raise combined(cls, found)
        return model


def combined(model: type[BaseModel], found: list[InitErrorDetails]) -> ValidationError:
    """Combine errors into one; pydantic prefixes their locations when it is raised in a validator."""
    return ValidationError.from_exception_data(model.__name__, found)


def complete(message: str, hint: str | None = None) -> PydanticCustomError:
    """Return an error with a complete message, for a field's validator."""
    return PydanticCustomError(COMPLETE, _literal(message), {"hint": hint} if hint else None)


def detail(finding: Finding) -> InitErrorDetails:
    """Convert a finding to pydantic's form."""
    context: dict[str, Any] = {"hint": finding.hint} if finding.hint else {}
    if finding.needs:
        context |= {NEEDS: finding.needs, DEPTH: len(finding.loc)}
    return InitErrorDetails(
        type=PydanticCustomError(finding.kind, _literal(finding.message), context or None), loc=finding.loc, input=None
    )


def details(error: ValidationError, model: type[BaseModel], at: Loc = ()) -> list[InitErrorDetails]:
    """Return the parts of an error of `model`, located below `at`, with a suggestion for every unknown key."""
    found = []
    for part in error.errors(include_url=False):
        loc, kind, message = part["loc"], part["type"], part["msg"]
        context = {key: value for key, value in part.get("ctx", {}).items() if key in _KEPT}
        if kind == "extra_forbidden":
            kind, message = UNKNOWN_KEY, f"unknown key {str(loc[-1])!r}"
            context = _meaning(str(loc[-1]), _models_at(model, loc[:-1]))
        custom = PydanticCustomError(_literal(kind), _literal(message), context or None)
        found.append(InitErrorDetails(type=custom, loc=(*at, *loc), input=part["input"]))
    return found


def _meaning(word: str, models: list[type[BaseModel]]) -> dict[str, Any]:
    """Return the hint for an unknown key of one of these models, and the keys that it stands for."""
    for kind in models:
        if (way := way_of_key(kind.__name__, word)) is not None:
            return {"hint": way.hint, MEANS: way.keys}
    close = closest(word, _keys(models))
    return {} if close is None else {"hint": f"did you mean {close!r}?", MEANS: (close,)}


def keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys of the models at `loc` inside `model`."""
    return _keys(_models_at(model, loc))


def _keys(models: Iterable[type[BaseModel]]) -> list[str]:
    return [field.alias or name for kind in models for name, field in kind.model_fields.items()]


def _models_at(model: type[BaseModel], loc: Loc) -> list[type[BaseModel]]:
    """Return the models at `loc` inside `model`.

    A step that is not a field is an item of a list or mapping, or pydantic's name for a member of a union: the models
    stay the same.
    """
    models = [model]
    for step in loc:
        fields = [field for kind in models for name, field in kind.model_fields.items() if step in (name, field.alias)]
        if fields:
            models = [found for field in fields for found in _models(field.annotation)]
    return models


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for argument in getattr(kind, "__args__", ()):
        yield from _models(argument)


def _literal(text: str) -> Any:
    """Cast a text for pydantic's `LiteralString` parameters; it is a template only if its fields are in `ctx`."""
    return text
