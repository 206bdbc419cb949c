"""`balance`: how a service chooses among its endpoints.

It is the name of an algorithm, or `{name: settings}`. In Python it may also be a function, as for `python`. The
settings are validated by the `Config` of the algorithm's own module, so that a mistake in them is reported with its
place.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails

from propylon.config.problems import suggest
from propylon.config.schema.base import Finding, Loc, Model, combined, detail, details
from propylon.config.types import FROM_FILE
from propylon.plugins import BALANCERS, PluginBrokenError, PluginNotFoundError

DEFAULT = "p2c"


class BalanceEntry(Model):
    """One algorithm with its settings."""

    name: str = Field(description="Name of the algorithm.")
    config: Any = Field(default=None, description="The settings, an instance of the algorithm's Config.")

    @classmethod
    def named(cls, name: str = DEFAULT, settings: Any = None) -> Self:
        """Return the entry of an algorithm found by its name. Raises `ValidationError` for an unknown name."""
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
        name, settings, at = _split(cls, data)
        config, found = _configured(name, settings, info.context, at)
        if found:
            raise combined(cls, found)
        return handler({"name": name, "config": config})


def _split(model: type[Model], data: str | Mapping[str, Any]) -> tuple[str, Any, Loc]:
    """Return the name, the settings and where the settings are."""
    if isinstance(data, str):
        return data, None, ()
    if len(data) == 1:
        name = str(next(iter(data)))
        return name, data[name], (name,)
    if not data:
        raise combined(model, [detail(Finding((), "no algorithm is named here", "write one, for example p2c"))])
    message = f"one algorithm a service, but here are {', '.join(repr(str(name)) for name in data)}"
    raise combined(model, [detail(Finding((), message, "indent the settings below the name of the algorithm"))])


def _configured(name: str, settings: Any, context: Any, at: Loc) -> tuple[Any, list[InitErrorDetails]]:
    """Return the algorithm's validated settings, and what is wrong with them."""
    try:
        config_model = BALANCERS.find(name).Config
    except PluginNotFoundError:
        hint = suggest(name, BALANCERS.names()) or f"known are {', '.join(BALANCERS.names())}"
        return None, [detail(Finding(at, f"unknown balancing algorithm {name!r}", hint))]
    except PluginBrokenError as error:
        return None, [detail(Finding(at, f"the balancing algorithm {name!r} cannot be used: {error}"))]
    if isinstance(settings, config_model):
        return settings, []
    try:
        return config_model.model_validate({} if settings is None else settings, context=context), []
    except ValidationError as error:
        return None, details(error, config_model, at)
    except Exception as error:  # a third party's validator may raise anything
        return None, [detail(Finding(at, f"the balancing algorithm {name!r} failed: {type(error).__name__}: {error}"))]
