"""Set the timeouts of requests. Defaults: connect 5s, response 60s, idle 60s, expect 1s, policy 30s, total none.

    policies:
      - timeout: {connect: 1s, response: 2s, total: 5s}
      - timeout: 2s                  # short for {response: 2s}

`response` runs from the last byte of the request to the head of the response, `idle` between two reads or writes of a
body, `total` from the request's head to the response's. None of them ends a response that makes progress. After a
timeout the response is 504. A later `timeout` for the same exchange changes only the settings that it names; `none`
disables a timeout.

`expect` is for clients that wait for `100 Continue` before they send a body: it is passed on to the service, so that it
can refuse an upload before it is sent. A service that responds nothing for so long is taken for one that does not know
`Expect`, and the gateway asks for the body itself, as it does at once with `expect: none`, if a policy reads the body,
or for the next ten minutes if the endpoint was silent.

An event stream may be silent without limit, unless `idle` or `event_stream` is set here: `idle` applies to event
streams too, and `event_stream` replaces it for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import DURATION_SCHEMA, OptionalDuration, short_form

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope


class Config(BaseModel):
    """The timeouts; those that are not given stay unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form(schema=DURATION_SCHEMA))

    connect: OptionalDuration = Field(default=None, description="To connect to an endpoint, TLS included.")
    response: OptionalDuration = Field(default=None, description="From the request's end to the response's head.")
    idle: OptionalDuration = Field(default=None, description="Between two reads or writes of a body.")
    event_stream: OptionalDuration = Field(default=None, description="Between two reads of an event stream.")
    total: OptionalDuration = Field(default=None, description="From the request's head to the response's head.")
    expect: OptionalDuration = Field(
        default=None, description="For the service's 100 (Continue), before the client is asked for its body anyway."
    )
    policy: OptionalDuration = Field(default=None, description="For one async policy in one phase.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"response": data} if isinstance(data, str | int | float) else data

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("no time is set: give connect, response, idle, event_stream, total, expect or policy")
        return self


class Policy:
    """Sets the timeouts of its exchanges."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._seconds = config.model_dump(include=config.model_fields_set)

    def on_request(self, x: Exchange) -> None:
        """Set the timeouts before an endpoint is chosen."""
        x.set_timeouts(**self._seconds)
