"""`discover` of a service: one provider of endpoints with its settings, in place of a list of them.

It is `{name: settings}` or `name`. In Python it may also be a callable, which is the provider `python`. The settings
are validated by the `Config` of the provider's own module, so that a mistake in them is reported with its place like
every other.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from propylon.config.schema.base import Model, combined
from propylon.config.schema.plugin import Kind, configured, split
from propylon.config.types import FROM_FILE
from propylon.plugins import PROVIDERS, PluginBrokenError

_PYTHON = "python"
KIND = Kind(PROVIDERS, "provider", "a service")


class DiscoverConfig(Model):
    """Where the endpoints of a service come from: one provider by its name, with its settings."""

    name: str = Field(description="Name of the provider.")
    config: Any = Field(default=None, description="The settings, an instance of the provider's Config.")

    @classmethod
    def named(cls, name: str, settings: Any, context: Any = None) -> Self:
        """Return what a provider's name and settings stand for; the places of its errors count from the settings."""
        config, found = configured(KIND, name, settings, context)
        if found:
            raise combined(cls, found)
        return cls.model_construct(name=name, config=config)

    @classmethod
    def of(cls, source: Callable[..., Any]) -> Self:
        """Return what a Python callable stands for. Raises `ValidationError` for what is none."""
        return cls.named(_PYTHON, {"source": source})

    @model_validator(mode="wrap")
    @classmethod
    def _find_provider(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(data, cls):
            return data
        if callable(data) and not (info.context and info.context.get(FROM_FILE)):
            return cls.of(data)
        if not isinstance(data, str | Mapping):
            raise ValueError("should be {name: settings}, with the name of a provider")
        name, settings, at = split(cls, KIND, data)
        config, found = configured(KIND, name, settings, info.context, at)
        if found:
            raise combined(cls, found)
        return handler({"name": name, "config": config})

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe what is written, `{name: settings}` with the settings of every provider, and not what it becomes."""
        settings: dict[str, JsonSchemaValue] = {}
        for name in PROVIDERS.names():
            try:
                model = PROVIDERS.find(name).Config
            except PluginBrokenError:
                settings[name] = {}  # something is missing here, and may be there where the file is used
                continue
            settings[name] = handler(model.__pydantic_core_schema__)
        named = {
            "type": "object",
            "properties": settings,
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        return {
            "anyOf": [named, {"type": "string", "enum": PROVIDERS.names()}],
            "description": cls.__doc__ or "",
            "title": cls.__name__,
        }
