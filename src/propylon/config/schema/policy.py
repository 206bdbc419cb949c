"""`policies`: a list of entries, each a policy with its settings and conditions.

An entry is `name`, or `{name: settings}` with `when` and `unless` beside the name. In Python it may also be a callable
or an object with policy methods. The settings are validated by the `Config` of the policy's module, so errors in them
are reported with their position.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator

from propylon.config.schema.base import Finding, Model, combined, details
from propylon.config.schema.matching import (
    FieldName,
    Host,
    ListenerNames,
    Method,
    Path,
    PythonReference,
    Scheme,
    claimed_findings,
)
from propylon.config.schema.plugin import Kind, configured, split
from propylon.config.types import FROM_FILE, Cidr, ListedSome
from propylon.phases import PHASES
from propylon.plugins import POLICIES

CONDITIONS: Final = ("when", "unless")
KIND: Final = Kind(
    POLICIES, "policy", "an entry", "indent the settings below the name, and begin every policy with '- '"
)


class Condition(Model):
    """A condition on a request; all given keys must match."""

    methods: ListedSome[Method] | None = Field(default=None, description="One of these methods.")
    paths: ListedSome[Path] | None = Field(default=None, description="A path that one of these matches.")
    headers: dict[FieldName, str] | None = Field(
        default=None, description='Headers, each with its value or "*" for any.'
    )
    query: dict[str, str] | None = Field(
        default=None, description='Query parameters, each with its value or "*" for any.'
    )
    hosts: ListedSome[Host] | None = Field(default=None, description="One of these hosts, as for routes.")
    clients: ListedSome[Cidr] | None = Field(default=None, description="A client in one of these networks.")
    scheme: Scheme | None = Field(default=None, description="http or https, as for routes.")
    listeners: ListenerNames | None = Field(default=None, description="One of these listeners, by name or address.")
    python: PythonReference | None = Field(default=None, description="module:function, called with the exchange.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """At least one key is required, as an empty condition always holds."""
        if not data:
            yield Finding((), "an empty condition", f"give at least one of {', '.join(cls.model_fields)}")
        yield from claimed_findings(data.get("headers"), "hosts")


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
    """Raise `ValueError` unless the object is a policy; a class instead of an instance is not."""
    if isinstance(policy, type):
        raise ValueError(f"{policy.__name__} is a class: give an instance, {policy.__name__}(...)")
    if not callable(policy) and not any(hasattr(policy, hook) for hook in PHASES):
        raise ValueError(f"{type(policy).__name__} is no policy: give a callable, or an object with on_request")


class PolicyEntry(Model):
    """One policy of a list: `config` is set for a named policy, `instance` for a Python callable or object."""

    name: str = Field(description="Name of the policy, or of the callable.")
    config: Any = Field(default=None, description="The settings, an instance of the policy's Config.")
    when: Conditions = Field(default=None, description="Run the policy when one of these conditions holds.")
    unless: Conditions = Field(default=None, description="Do not run the policy when one of these conditions holds.")
    instance: Any = Field(default=None, description="The callable or object, if given in Python.")

    @classmethod
    def of(cls, policy: Callable[..., Any] | object) -> Self:
        """Return the entry of a callable, which is an `on_request` policy, or of an object with policy methods.

        Raises `ValueError` for anything else, and for a class instead of an instance.
        """
        check_policy(policy)
        name = getattr(policy, "__name__", type(policy).__name__)
        return cls.model_construct(name=name, config=None, when=None, unless=None, instance=policy)

    @classmethod
    def named(cls, name: str, settings: Any, context: Any = None) -> Self:
        """Return the entry of the policy `name`; the locations of its errors are relative to the settings."""
        config, found = configured(KIND, name, settings, context)
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
        name, settings, at = split(cls, KIND, data, CONDITIONS)
        config, found = configured(KIND, name, settings, info.context, at)
        conditions = {key: data[key] for key in CONDITIONS if key in data} if isinstance(data, Mapping) else {}
        try:
            entry = handler({"name": name, "config": config, **conditions})
        except ValidationError as error:
            raise combined(cls, [*found, *details(error, cls)]) from None
        if found:
            raise combined(cls, found)
        return entry


Policies = tuple[PolicyEntry, ...]
