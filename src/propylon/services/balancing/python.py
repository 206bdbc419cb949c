"""A custom function.

    balance: {python: my_balancing:by_tenant}      # short for {python: {function: …}}

It is called with the exchange and the tuple of available endpoints, in the order of the configuration, and returns one
of them, or its `url`; it is not called for a single endpoint. It must be a plain `def` and fast, since it blocks the
event loop. A Python program can pass the function itself. If it fails, the response is 500 (`request.policy_failed`),
and the log has the cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.schema.key import PlainFunction
from propylon.config.types import short_form
from propylon.services.balancing._function import Function

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint


class Config(BaseModel):
    """The function."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    function: PlainFunction = Field(description="`module:function`; in a Python program also the function itself.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"function": data}


class Balancer:
    """Choice by a function."""

    __slots__ = ("_endpoints", "_function")

    decides_alone = True

    def __init__(self, config: Config, chance: Chance) -> None:
        """Import the function. Raises the exceptions of `Function`."""
        self._function = Function(config.function)
        self._endpoints: tuple[Endpoint, ...] = ()

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        self._endpoints = tuple(endpoints)

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Call the function with the endpoints that are not in `avoid`.

        Raises:
            GatewayError: request.policy_failed if it raises, or does not return one of them.
        """
        available = self._endpoints
        if avoid:
            available = tuple(endpoint for endpoint in available if endpoint not in avoid) or available
        if len(available) == 1:
            return available[0]
        result = self._function.call(x, available)
        for endpoint in available:
            if endpoint is result or endpoint.url == result:
                return endpoint
        raise self._function.invalid(result, "one of the endpoints it was given")
