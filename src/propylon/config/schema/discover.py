"""`discover` of a service: a provider of endpoints with its settings, instead of a list of endpoints.

It is `{name: settings}` or `name`. In Python it may also be a callable, which stands for the provider `python`. The
settings are validated by the `Config` of the provider's module, so errors in them are reported with their position.
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
        """Return the entry of the provider `name`; the locations of its errors are relative to the settings."""
        config, found = configured(KIND, name, settings, context)
        if found:
            raise combined(cls, found)
        return cls.model_construct(name=name, config=config)

    @classmethod
    def of(cls, source: Callable[..., Any]) -> Self:
        """Return the entry of a Python callable. Raises `ValidationError` for an unsuitable one."""
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
        """Describe the written form, `{name: settings}` with the settings of every provider, not this model."""
        settings: dict[str, JsonSchemaValue] = {}
        for name in PROVIDERS.names():
            try:
                model = PROVIDERS.find(name).Config
            except PluginBrokenError:
                settings[name] = {}  # a dependency is missing here, but may be installed where the file is used
                continue
            settings[name] = {"anyOf": [handler(model.__pydantic_core_schema__), {"type": "null"}]}
        named = {
            "type": "object",
            "properties": settings,
            "additionalProperties": False,
            "oneOf": [{"required": [name]} for name in settings],
        }
        return {
            "anyOf": [named, {"type": "string", "enum": PROVIDERS.names()}],
            "description": cls.__doc__ or "",
            "title": cls.__name__,
        }
