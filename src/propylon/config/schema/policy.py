"""`policies`: entries of a list, each one policy with its settings, and the conditions when it runs.

An entry is `name`, or `{name: settings}` with `when` and `unless` beside the name. In Python it may also be a callable
or an object with policy methods. The settings are validated by the `Config` of the policy's own module, so that a
mistake in them is reported with its place like every other.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails

from propylon.config.problems import suggest
from propylon.config.schema.base import Finding, Loc, Model, combined, detail, details
from propylon.config.schema.matching import FieldName, Method, Path, PythonReference
from propylon.config.types import FROM_FILE
from propylon.engine.pipeline import PHASES
from propylon.plugins import POLICIES, PluginBrokenError, PluginNotFoundError

_CONDITIONS: Final = ("when", "unless")


class Condition(Model):
    """What must hold of a request: every key that is given."""

    methods: tuple[Method, ...] | None = Field(default=None, min_length=1, description="One of these methods.")
    paths: tuple[Path, ...] | None = Field(default=None, min_length=1, description="A path that one of these matches.")
    headers: dict[FieldName, str] | None = Field(
        default=None, description='Headers, each with its value or "*" for any.'
    )
    query: dict[str, str] | None = Field(
        default=None, description='Query parameters, each with its value or "*" for any.'
    )
    python: PythonReference | None = Field(default=None, description="module:function, called with the exchange.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """A condition of nothing would hold for everything."""
        if not data:
            yield Finding((), "an empty condition", f"give at least one of {', '.join(cls.model_fields)}")


def _list_of_conditions(value: Any) -> Any:
    """Accept one condition instead of a list."""
    return [value] if isinstance(value, Mapping | Condition) else value


Conditions = Annotated[
    tuple[Condition, ...] | None,
    Field(min_length=1),
    BeforeValidator(_list_of_conditions, json_schema_input_type=Condition | list[Condition]),
]
"""A condition, or a list of which any must hold."""


def check_policy(policy: object) -> None:
    """Raise `ValueError` for what is no policy, and for a class in place of its instance."""
    if isinstance(policy, type):
        raise ValueError(f"{policy.__name__} is a class: give an instance, {policy.__name__}(...)")
    if not callable(policy) and not any(hasattr(policy, hook) for hook in PHASES):
        raise ValueError(f"{type(policy).__name__} is no policy: give a callable, or an object with on_request")


class PolicyEntry(Model):
    """One policy of a list: `config` for a named policy, `instance` for a Python callable or object."""

    name: str = Field(description="Name of the policy, or of the callable.")
    config: Any = Field(default=None, description="The settings, an instance of the policy's Config.")
    when: Conditions = Field(default=None, description="Run the policy when one of these conditions holds.")
    unless: Conditions = Field(default=None, description="Do not run the policy when one of these conditions holds.")
    instance: Any = Field(default=None, description="The callable or object itself, when it comes from Python.")

    @classmethod
    def of(cls, policy: Callable[..., Any] | object) -> Self:
        """Return the entry of a callable, which is an `on_request` policy, or of an object with policy methods.

        Raises `ValueError` for anything else, and for a class in place of its instance.
        """
        check_policy(policy)
        name = getattr(policy, "__name__", type(policy).__name__)
        return cls.model_construct(name=name, config=None, when=None, unless=None, instance=policy)

    @classmethod
    def named(cls, name: str, settings: Any, context: Any = None) -> Self:
        """Return the entry of a policy found by its name; the places of its errors count from the settings."""
        config, found = _configured(name, settings, context)
        if found:
            raise combined(cls, found)
        return cls.model_construct(name=name, config=config, when=None, unless=None, instance=None)

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(data, cls):
            return data
        if not isinstance(data, str | Mapping):
            if info.context and info.context.get(FROM_FILE):
                raise ValueError("should be the name of a policy, or {name: settings}")
            return cls.of(data)
        name, settings, at = _split(cls, data)
        config, found = _configured(name, settings, info.context, at)
        conditions = {key: data[key] for key in _CONDITIONS if key in data} if isinstance(data, Mapping) else {}
        try:
            entry = handler({"name": name, "config": config, **conditions})
        except ValidationError as error:
            raise combined(cls, [*found, *details(error, cls)]) from None
        if found:
            raise combined(cls, found)
        return entry


def _split(model: type[Model], data: str | Mapping[str, Any]) -> tuple[str, Any, Loc]:
    """Return the name, the settings and where the settings are."""
    if isinstance(data, str):
        return data, None, ()
    named = [str(key) for key in data if key not in _CONDITIONS]
    if len(named) == 1:
        return named[0], data[named[0]], (named[0],)
    if not named:
        raise combined(model, [detail(Finding((), "no policy is named here", "write its name and its settings"))])
    message = f"one policy an entry, but here are {', '.join(map(repr, named))}"
    hint = "indent the settings below the name, and begin every policy with '- '"
    raise combined(model, [detail(Finding((), message, hint))])


def _configured(name: str, settings: Any, context: Any, at: Loc = ()) -> tuple[Any, list[InitErrorDetails]]:
    """Return the policy's validated settings, and what is wrong with them."""
    try:
        config_model = POLICIES.find(name).Config
    except PluginNotFoundError:
        return None, [detail(Finding(at, f"unknown policy {name!r}", suggest(name, POLICIES.names())))]
    except PluginBrokenError as error:
        return None, [detail(Finding(at, f"the policy {name!r} cannot be used: {error}"))]
    if isinstance(settings, config_model):
        return settings, []
    try:
        return config_model.model_validate({} if settings is None else settings, context=context), []
    except ValidationError as error:
        return None, details(error, config_model, at)
    except Exception as error:  # a third party's validator may raise anything
        return None, [detail(Finding(at, f"the policy {name!r} failed: {type(error).__name__}: {error}"))]


Policies = tuple[PolicyEntry, ...]
