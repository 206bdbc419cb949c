"""A policy of your own, written in Python.

    policies:
      - python: my_policies:require_key                     # a function, called with the exchange
      - python: {use: "my_policies:Tenants", with: {default: blue}}   # a class, made with these arguments

A function is an `on_request` policy: it may change `exchange.request`, and may return a `Response` to answer at once.
An object may have any of the methods on_request, on_attempt, on_response, on_request_chunk, on_response_chunk,
on_message, on_error and on_done, and also `start` and `close`. Each may be `def` or `async def`. A class with a
parameter `scope` in its `__init__` gets its scope: clock, randomness, services, a store, tasks (docs/python.md). The
module is imported from Python's search path, which includes the folder of the configuration file.

An object of a class is kept across a reload that changes neither these settings nor the code of a module in the
folder of the configuration file; a function is imported again.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from propylon.config.reference import REFERENCE, import_object
from propylon.config.schema.policy import check_policy
from propylon.config.types import short_form

if TYPE_CHECKING:
    from propylon.engine.scope import Scope

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)


def _reference(value: object) -> object:
    if isinstance(value, str) and not _REFERENCE.fullmatch(value):
        raise ValueError("should be module:name")
    if not isinstance(value, str | type):
        check_policy(value)
    return value


class Config(BaseModel):
    """The function or class, and arguments for a class."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    use: Annotated[Any, PlainValidator(_reference), WithJsonSchema({"type": "string"}), REFERENCE] = Field(
        description="`module:name` of a function or class. In a Python program also the function or object itself."
    )
    with_: dict[str, Any] | None = Field(default=None, alias="with", description="Keyword arguments of a class.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"use": data}


def Policy(config: Config, scope: Scope) -> object:
    """Import the named object; if it is a class, return an instance.

    Raises:
        ImportError, AttributeError: there is no such module, or no such name in it.
        TypeError: wrong arguments, or arguments for something that is not a class.
    """
    found: Any = import_object(config.use) if isinstance(config.use, str) else config.use
    if isinstance(found, type):
        arguments = {"scope": scope} if _accepts_scope(found) else {}
        made: object = found(**(arguments | (config.with_ or {})))
        return made
    if config.with_ is not None:
        raise TypeError(f"{config.use} is no class: 'with' has nobody to go to")
    policy: object = found
    return policy


def _accepts_scope(kind: type) -> bool:
    try:
        parameter = inspect.signature(kind).parameters.get("scope")
    except (TypeError, ValueError):  # a class written in C may have none
        return False
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
