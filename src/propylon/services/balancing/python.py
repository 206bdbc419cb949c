"""A function of your own.

    balance: {python: my_balancing:by_tenant}      # short for {python: {function: …}}

It is called with the exchange and the tuple of endpoints that can take it, in the order of the configuration, and
returns one of them, or its `url`. It must be a plain `def` and quick: everything waits for it. In a Python program the
function itself can be given. What it does wrong is answered with 500 (`request.policy_failed`), and the log says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import iscoroutine, iscoroutinefunction
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from propylon.config.reference import import_object
from propylon.config.schema.matching import PythonReference
from propylon.config.types import short_form
from propylon.engine.errors import GatewayError
from propylon.engine.pipeline import BLOCKING_SECONDS, blocked, failed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint

_NO_ASYNC = "an async function cannot choose an endpoint: write a plain def"


class Config(BaseModel):
    """What is called."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    function: PythonReference = Field(
        description="`module:function`. In a Python program also the function itself.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"function": data}

    @field_validator("function", mode="after")
    @classmethod
    def _plain(cls, function: str | Callable[..., Any]) -> str | Callable[..., Any]:
        if isinstance(function, type):
            raise ValueError(f"{function.__name__} is a class: give a function")
        if iscoroutinefunction(function):
            raise ValueError(_NO_ASYNC)
        return function


class Balancer:
    """Asks a function."""

    __slots__ = ("_endpoints", "_function", "_name")

    def __init__(self, config: Config, chance: Chance) -> None:
        """Import what is named.

        Raises:
            ImportError, AttributeError: there is no such module, or nothing of that name in it.
            TypeError: it cannot be called, or is async.
        """
        reference = config.function
        self._function: Any = import_object(reference) if isinstance(reference, str) else reference
        self._name = f"balance {getattr(self._function, '__name__', reference)}"
        if not callable(self._function):
            raise TypeError(f"{reference} is no function")
        if iscoroutinefunction(self._function):
            raise TypeError(_NO_ASYNC)
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
        begun = monotonic()
        try:
            answer = self._function(x, offered)
        except GatewayError:
            raise
        except Exception as error:  # it is code of others
            raise failed(x, self._name, "request.policy_failed", error) from error
        if (took := monotonic() - begun) > BLOCKING_SECONDS:
            blocked(self._name, took)
        for endpoint in offered:
            if endpoint is answer or endpoint.url == answer:
                return endpoint
        if iscoroutine(answer):
            answer.close()  # nobody will await it
        raise GatewayError("request.policy_failed", log=f"{self._name} returned {answer!r}, which is none it was given")
