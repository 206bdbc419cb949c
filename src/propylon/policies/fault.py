"""Inject delays and failures, to test how clients and operators handle them.

    policies:
      - fault: {delay: {time: 200ms, percent: 10}, abort: {status: 503, percent: 5}}
      - fault: {delay: 2s}           # short for {delay: {time: 2s}}: every request
      - fault: {abort: 429}
        when: {headers: {x-fault: "*"}}

Requests are sampled for each of the two independently; one that is sampled for both is delayed first. The response is
that of any failure of the gateway, with the code `request.fault` and the configured status; nothing is sent to a
service. A delay blocks only its own request. The policy timeout (30 s, see [`timeout`](timeout.md)) ends a longer one
with a 504.
"""

from __future__ import annotations

from asyncio import sleep
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from propylon.config.types import DURATION_SCHEMA, Duration, Percent, short_form
from propylon.config.units import PERCENT_PATTERN
from propylon.engine.errors import GatewayError
from propylon.failures import FAILURES

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope
    from propylon.failures import Failure


def _as_percentage(value: object) -> object:
    """Read a number without a unit as a percentage."""
    return f"{value}%" if isinstance(value, int | float) and not isinstance(value, bool) else value


Share = Annotated[
    Percent,
    BeforeValidator(_as_percentage),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "minimum": 0,
            "maximum": 100,
            "pattern": PERCENT_PATTERN,
            "examples": [10, "0.5%"],
        }
    ),
]


class Delay(BaseModel):
    """The duration, and the share of requests."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form(schema=DURATION_SCHEMA))

    time: Duration = Field(description="Delay of a request.")
    percent: Share = Field(default="100%", validate_default=True, description="Share of the requests.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"time": data} if isinstance(data, str | int | float) else data


class Abort(BaseModel):
    """The status, and the share of requests."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("integer"))

    status: Annotated[int, Field(strict=True, ge=400, le=599)] = Field(description="Status of the response.")
    percent: Share = Field(default="100%", validate_default=True, description="Share of the requests.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"status": data} if isinstance(data, int) else data


class Config(BaseModel):
    """The faults to inject."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delay: Delay | None = Field(default=None, description="Delay requests.")
    abort: Abort | None = Field(default=None, description="Fail requests.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.delay is None and self.abort is None:
            raise ValueError("nothing would happen: give delay, abort or both")
        return self


class FaultError(GatewayError):
    """An injected failure: the row of the table with another status."""

    def __init__(self, status: int) -> None:
        super().__init__("request.fault")
        self._failure = replace(FAILURES[self.code], status=status)

    @property
    def failure(self) -> Failure:
        """The row of the table, with the configured status."""
        return self._failure

    @property
    def status(self) -> int:
        """The status of the response."""
        return self._failure.status


class Policy:
    """Samples requests to delay or fail."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._delay = config.delay
        self._abort = config.abort
        self._random = scope.random

    def on_request(self, x: Exchange) -> Awaitable[None] | None:
        """Pass the request, fail it, or return an awaitable; only a delayed request costs a Task.

        Raises:
            FaultError: the request was sampled to fail.
        """
        delay, abort = self._delay, self._abort
        delay_seconds = delay.time if delay is not None and self._random() < delay.percent else None
        fault = FaultError(abort.status) if abort is not None and self._random() < abort.percent else None
        if delay_seconds is not None:
            return _wait(delay_seconds, fault)
        if fault is not None:
            raise fault
        return None


async def _wait(seconds: float, fault: FaultError | None) -> None:
    await sleep(seconds)
    if fault is not None:
        raise fault
