"""A policy of your own, written in Python.

    policies:
      - python: my_policies:require_key                     # a function, called with the exchange
      - python: {use: "my_policies:Tenants", with: {default: blue}}   # a class, made with these arguments

A function is an `on_request` policy: it may change `exchange.request`, and a `Response` that it returns answers at
once. An object may have any of the methods on_request, on_attempt, on_response, on_request_chunk, on_response_chunk,
on_error and on_done. Each may be `def` or `async def`. The module is looked for where Python looks for modules, the
folder of the configuration file included.
"""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Config(BaseModel):
    """What is called, and what a class is made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", description="`module:name` of a function or class.")
    with_: dict[str, Any] | None = Field(default=None, alias="with", description="Keyword arguments of a class.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"use": data} if isinstance(data, str) else data


def Policy(config: Config) -> object:
    """Import what is named, and make it if it is a class.

    Raises:
        ImportError, AttributeError: there is no such module, or nothing of that name in it.
        TypeError: arguments for something that is no class, or wrong ones.
    """
    module, _, name = config.use.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if isinstance(found, type):
        made: object = found(**(config.with_ or {}))
        return made
    if config.with_ is not None:
        raise TypeError(f"{config.use} is no class: 'with' has nobody to go to")
    policy: object = found
    return policy
