"""A function of your own.

    balance: {python: my_balancing:by_tenant}      # short for {python: {function: …}}

It is called with the exchange and the tuple of endpoints that can take it, in the order of the configuration, and
returns one of them, or its `url`; with a single endpoint there is nothing to ask. It must be a plain `def` and quick,
since everything waits for it. In a Python program the function itself can be given. What it does wrong is answered with
500 (`request.policy_failed`), and the log says it.
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
    """What is called."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    function: PlainFunction = Field(description="`module:function`. In a Python program also the function itself.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"function": data}


class Balancer:
    """Asks a function."""

    __slots__ = ("_endpoints", "_function")

    decides_alone = True

    def __init__(self, config: Config, chance: Chance) -> None:
        """Import what is named. Raises what `Function` raises."""
        self._function = Function(config.function)
        self._endpoints: tuple[Endpoint, ...] = ()

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Offer `endpoints` from now on."""
        self._endpoints = tuple(endpoints)

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Ask the function, with the endpoints that are not to be avoided.

        Raises:
            GatewayError: request.policy_failed if it raises, or returns none of them.
        """
        offered = self._endpoints
        if avoid:
            offered = tuple(endpoint for endpoint in offered if endpoint not in avoid) or offered
        if len(offered) == 1:
            return offered[0]
        answer = self._function.ask(x, offered)
        for endpoint in offered:
            if endpoint is answer or endpoint.url == answer:
                return endpoint
        raise self._function.wrong(answer, "one of the endpoints it was given")
