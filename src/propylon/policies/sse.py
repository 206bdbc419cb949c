"""Manage event streams (`text/event-stream`): heartbeats, errors as events, limits. Each is off by default.

    policies:
      - sse: {heartbeat: 15s, error_event: true, max_streams: 1000, max_age: 1h}

`heartbeat` sends a comment line when a stream has been silent for that time, so that proxies and clients do not time
out. `error_event` sends a failure of the service as an event of the type `error` and ends the response, instead of
closing the connection; for that, only complete events are passed on: an incomplete one is buffered, up to 64 KiB.
`max_streams` limits the open streams of the policy in each worker; further ones are answered with 503, before the
request is sent to the service if its Accept field is exactly `text/event-stream`. `max_age` ends a stream after an
event at this age, or up to a tenth earlier, so that clients do not all reconnect at once; an `EventSource` then
continues with Last-Event-ID.

For a stream that is compressed or has a Content-Length, only `max_streams` applies. A later `sse` for the same exchange
changes only the settings that it names; each `max_streams` is counted separately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Bool, OptionalCount, OptionalDuration
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.http.sse import is_event_stream

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

RETRY_AFTER_SECONDS = 5  # streams are long, so capacity is not free at once
AGE_SPREAD = 0.1


class Config(BaseModel):
    """The settings; those that are not given stay unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heartbeat: OptionalDuration = Field(default=None, description="Silence after which a comment is sent.")
    error_event: Bool = Field(default=False, description="Send a failure as an event instead of aborting.")
    max_streams: OptionalCount = Field(default=None, description="Open streams in a worker; none for no limit.")
    max_age: OptionalDuration = Field(default=None, description="Age at which a stream is ended, after an event.")

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("nothing is set: give heartbeat, error_event, max_streams or max_age")
        return self


class Policy:
    """Sets the rules for event streams of its exchanges, and limits their number."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._rules = config.model_dump(include=config.model_fields_set - {"max_streams"})
        self._max_age = config.max_age
        self._random = scope.random
        self._limit = None if config.max_streams is None else Limit(config.max_streams)
        if self._limit is not None:
            self.on_response = self._limit.on_response

    def on_request(self, x: Exchange) -> None:
        """Set the rules; at the limit, refuse a request that accepts only an event stream."""
        if self._limit is not None and x.header(b"accept") == b"text/event-stream":
            self._limit.refuse_if_full()
        rules = self._rules
        if self._max_age is not None:
            rules = {**rules, "max_age": self._max_age * (1 - AGE_SPREAD * self._random())}
        if rules:
            x.set_stream_rules(**rules)


class Limit:
    """The limit of open streams.

    Separate from the policy, so that there is no reference cycle and the policy is freed with its configuration.
    """

    def __init__(self, streams: int) -> None:
        self._max = streams
        self._open = 0

    def on_response(self, x: Exchange) -> None:
        """Count a stream until the end of its exchange, or refuse it."""
        response = x.response
        if response is None or not isinstance(response.content, Body):
            return
        kind = response.headers.get("content-type") or ""
        if is_event_stream(kind.encode("latin-1")) and x.client_method != b"HEAD":
            self.refuse_if_full()
            self._open += 1
            x.defer(self._closed)

    def refuse_if_full(self) -> None:
        """Raise `GatewayError` response.too_many_streams if the limit is reached."""
        if self._open >= self._max:
            raise GatewayError("response.too_many_streams", headers={"retry-after": str(RETRY_AFTER_SECONDS)})

    def _closed(self) -> None:
        self._open -= 1
