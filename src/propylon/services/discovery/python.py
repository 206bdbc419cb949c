"""Endpoints from a Python function: an async generator that yields the whole list after each change.

    discover:
      python: my_registry:users          # module:function

    async def users(context):              # or without arguments; context.service is the service's name
        while True:
            yield ["http://10.0.0.1:8080", {"url": "http://10.0.0.2:8080", "weight": 3}]
            await asyncio.sleep(10)

An item is a URL, a mapping of url, weight, priority and zone, or an `EndpointSpec`. When the function raises or ends,
that is logged, the last endpoints are kept, and it is called again after a delay. The module is imported from Python's
module path, which includes the folder of the configuration file. A Python program can pass the function itself.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.reference import import_object
from propylon.config.schema.matching import PythonReference
from propylon.config.types import short_form
from propylon.services.discovery import DiscoveryError, EndpointSpec, ProviderContext

_KEYS = tuple(field.name for field in fields(EndpointSpec))


class Config(BaseModel):
    """The function."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    source: PythonReference = Field(
        description="`module:function` of an async generator; in a Python program also the function itself."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"source": data}


class Provider:
    """Discovery by a Python function."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        """Import the function.

        Raises:
            ImportError, AttributeError: the module, or the name in it, does not exist.
            TypeError: it is not callable, or requires arguments other than the context.
        """
        source: Any = import_object(config.source) if isinstance(config.source, str) else config.source
        if not callable(source):
            raise TypeError(f"{config.source} cannot be called: name an async generator function")
        self._source: Callable[..., object] = source
        self._arguments = (context,) if _takes_context(source) else ()

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the lists of the function."""
        lists: Any = self._source(*self._arguments)
        if not hasattr(lists, "__aiter__"):
            if inspect.iscoroutine(lists):
                lists.close()
            raise DiscoveryError(
                f"{_name(self._source)} gives no async iterator: write it with `async def` and `yield` the endpoints"
            )
        if not hasattr(lists, "aclose"):
            async for listed in lists:
                yield _parse_list(listed)
            return
        async with aclosing(lists):
            async for listed in lists:
                yield _parse_list(listed)


def _takes_context(source: Callable[..., object]) -> bool:
    """Return whether a function takes the context; raises `TypeError` if it requires other arguments."""
    signature = inspect.signature(source)
    for arguments in ((object(),), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise TypeError(f"{_name(source)} is called with the place or without arguments, and takes {signature}")


def _parse_list(listed: object) -> list[EndpointSpec]:
    if isinstance(listed, str | bytes | Mapping) or not isinstance(listed, Iterable):
        raise DiscoveryError(f"yield a list of all endpoints, not {type(listed).__name__}")
    return [_parse_item(item) for item in listed]


def _parse_item(item: object) -> EndpointSpec:
    if isinstance(item, EndpointSpec):
        return item
    if isinstance(item, str):
        return EndpointSpec(item)
    if not isinstance(item, Mapping):
        raise DiscoveryError(f"an endpoint is a URL, a mapping or a EndpointSpec, not {type(item).__name__}")
    unknown = [str(key) for key in item if key not in _KEYS]
    if unknown or "url" not in item:
        wrong = f"the unknown key {unknown[0]!r}" if unknown else "no url"
        raise DiscoveryError(f"an endpoint has {wrong}: its keys are {', '.join(_KEYS)}")
    return EndpointSpec(**item)


def _name(source: object) -> str:
    return str(getattr(source, "__qualname__", type(source).__name__))
