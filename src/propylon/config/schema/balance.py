"""`balance`: how a service chooses among its endpoints.

It is the name of an algorithm, or `{name: settings}`. In Python it may also be a function, as for `python`. The
settings are validated by the `Config` of the algorithm's module, so errors in them are reported with their position.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationInfo, model_validator

from propylon.config.schema.base import Model, combined
from propylon.config.schema.plugin import Kind, configured, split
from propylon.config.types import FROM_FILE
from propylon.plugins import BALANCERS

DEFAULT = "p2c"
KIND = Kind(BALANCERS, "balancing algorithm", "a service", "indent the settings below the name of the algorithm")


class BalanceEntry(Model):
    """One algorithm with its settings."""

    name: str = Field(description="Name of the algorithm.")
    config: Any = Field(default=None, description="The settings, an instance of the algorithm's Config.")

    @classmethod
    def named(cls, name: str = DEFAULT, settings: Any = None) -> Self:
        """Return the entry of the algorithm `name`. Raises `ValidationError` for an unknown name."""
        return cls.model_validate({name: settings})

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Self:
        """Return the entry of a function, called with the exchange and the endpoints."""
        return cls.named("python", {"function": function})

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(data, cls):
            return data
        if not isinstance(data, str | Mapping):
            if callable(data) and not (info.context and info.context.get(FROM_FILE)):
                return cls.of(data)
            raise ValueError("should be the name of an algorithm, for example p2c, or {name: settings}")
        name, settings, at = split(cls, KIND, data)
        config, found = configured(KIND, name, settings, info.context, at)
        if found:
            raise combined(cls, found)
        return handler({"name": name, "config": config})
