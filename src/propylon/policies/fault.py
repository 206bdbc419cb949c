"""Delay requests or fail them on purpose, to see how clients and operators take it.

    policies:
      - fault: {delay: {time: 200ms, percent: 10}, abort: {status: 503, percent: 5}}
      - fault: {delay: 2s}           # short for {delay: {time: 2s}}: every request
      - fault: {abort: 429}
        when: {headers: {x-fault: "*"}}

A request is drawn for each of the two on its own; one that is drawn for both is delayed first. The answer looks like
any failure of the gateway, with the code `request.fault` and the status of your choice; no service is asked. A delay
holds nothing but its request. The policy timeout (30 s, see [`timeout`](timeout.md)) ends a longer one with a 504.
"""

from __future__ import annotations

from asyncio import sleep
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from propylon.config.types import Duration, Percent, short_form
from propylon.engine.errors import GatewayError
from propylon.failures import FAILURES

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope
    from propylon.failures import Failure


def _with_sign(value: object) -> object:
    """Take a bare number for what its key says."""
    return f"{value}%" if isinstance(value, int | float) and not isinstance(value, bool) else value


Share = Annotated[
    Percent,
    BeforeValidator(_with_sign),
    WithJsonSchema({"type": ["string", "number"], "examples": [10, "0.5%"]}),
]


class Delay(BaseModel):
    """For how long, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string", "number"))

    time: Duration = Field(description="How long the request waits.")
    percent: Share = Field(default="100%", validate_default=True, description="How many of the requests.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"time": data} if isinstance(data, str | int | float) else data


class Abort(BaseModel):
    """With what, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("integer"))

    status: Annotated[int, Field(strict=True, ge=400, le=599)] = Field(description="The status of the answer.")
    percent: Share = Field(default="100%", validate_default=True, description="How many of the requests.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"status": data} if isinstance(data, int) else data


class Config(BaseModel):
    """What happens to requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delay: Delay | None = Field(default=None, description="Let requests wait.")
    abort: Abort | None = Field(default=None, description="Answer requests with a failure.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.delay is None and self.abort is None:
            raise ValueError("nothing would happen: give delay, abort or both")
        return self


class FaultError(GatewayError):
    """A failure on purpose: the row of the table with another status."""

    def __init__(self, status: int) -> None:
        super().__init__("request.fault")
        self._failure = replace(FAILURES[self.code], status=status)

    @property
    def failure(self) -> Failure:
        """The row, as it is for this status."""
        return self._failure

    @property
    def status(self) -> int:
        """The status a client gets."""
        return self._failure.status


class Policy:
    """Draws who is delayed and who fails."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._delay = config.delay
        self._abort = config.abort
        self._random = scope.random

    def on_request(self, x: Exchange) -> Awaitable[None] | None:
        """Let the request pass, fail it, or return what waits; only a request that waits costs a Task.

        Raises:
            FaultError: the request was drawn.
        """
        delay, abort = self._delay, self._abort
        late = delay.time if delay is not None and self._random() < delay.percent else None
        fault = FaultError(abort.status) if abort is not None and self._random() < abort.percent else None
        if late is not None:
            return _wait(late, fault)
        if fault is not None:
            raise fault
        return None


async def _wait(seconds: float, fault: FaultError | None) -> None:
    await sleep(seconds)
    if fault is not None:
        raise fault
