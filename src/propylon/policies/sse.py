"""Look after event streams (`text/event-stream`): heartbeats, errors as events, limits. Each is off unless it is set.

    policies:
      - sse: {heartbeat: 15s, error_event: true, max_streams: 1000, max_age: 1h}

`heartbeat` sends a comment line when a stream has been silent for so long, which keeps proxies and clients on the way
from giving it up. `error_event` tells a failure of the service as an event of the type `error` and ends the response,
instead of cutting the connection; for that, only whole events are passed on: one under way is held back, up to 64 KiB.
`max_streams` counts open streams where the policy stands, in each worker; a further one is answered with 503, before
the service is asked if its Accept field says nothing but `text/event-stream`. `max_age` ends a stream behind an event
when it is so old, or up to a tenth younger, so that not all clients connect again at once; an `EventSource` then goes
on with Last-Event-ID.

A stream that is compressed, or has a length, passes untouched: only `max_streams` counts for it. A later `sse` on the
same way changes only what it names; each `max_streams` counts for itself.
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

RETRY_AFTER_SECONDS = 5  # streams are long, so a place is not free at once
AGE_SPREAD = 0.1


class Config(BaseModel):
    """What is done; what is not given stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heartbeat: OptionalDuration = Field(default=None, description="Silence after which the client gets a comment.")
    error_event: Bool = Field(default=False, description="Tell a failure as an event instead of cutting the stream.")
    max_streams: OptionalCount = Field(default=None, description="Open streams of a worker, or none for no limit.")
    max_age: OptionalDuration = Field(default=None, description="Age at which a stream is ended behind an event.")

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("nothing is set: give heartbeat, error_event, max_streams or max_age")
        return self


class Policy:
    """Sets the rules of its exchanges' event streams, and counts the streams."""

    def __init__(self, config: Config, scope: Scope) -> None:
        self._rules = config.model_dump(include=config.model_fields_set - {"max_streams"})
        self._max_age = config.max_age
        self._random = scope.random
        self._limit = None if config.max_streams is None else Limit(config.max_streams)
        if self._limit is not None:
            self.on_response = self._limit.on_response

    def on_request(self, x: Exchange) -> None:
        """Set the rules; refuse at once what can only become a stream, if there are too many."""
        if self._limit is not None and x.header(b"accept") == b"text/event-stream":
            self._limit.refuse_if_full()
        rules = self._rules
        if self._max_age is not None:
            rules = {**rules, "max_age": self._max_age * (1 - AGE_SPREAD * self._random())}
        if rules:
            x.set_stream_rules(**rules)


class Limit:
    """Open streams, of which there may be so many.

    It is apart from the policy, so that a policy does not lead back to itself and is freed with its configuration.
    """

    def __init__(self, streams: int) -> None:
        self._max = streams
        self._open = 0

    def on_response(self, x: Exchange) -> None:
        """Count a stream until its exchange is over, or refuse it."""
        response = x.response
        if response is None or not isinstance(response.content, Body):
            return
        kind = response.headers.get("content-type") or ""
        if is_event_stream(kind.encode("latin-1")) and x.client_method != b"HEAD":
            self.refuse_if_full()
            self._open += 1
            x.defer(self._closed)

    def refuse_if_full(self) -> None:
        """Raise `GatewayError` response.too_many_streams if no further stream may be opened."""
        if self._open >= self._max:
            raise GatewayError("response.too_many_streams", headers={"retry-after": str(RETRY_AFTER_SECONDS)})

    def _closed(self) -> None:
        self._open -= 1
