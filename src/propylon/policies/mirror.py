"""Send copies of requests to another service, to see how it takes real traffic. Its answers are dropped.

    services:
      users: {endpoints: [http://10.0.0.1:8000]}
      users-next: {endpoints: [http://10.0.0.9:8000]}
    routes:
      - path: /users/*
        service: users
        policies:
          - mirror: {service: users-next, percent: 10%}
          # mirror: users-next is short for {service: users-next}: every request

A copy goes out when the body of its request is complete, and no client waits for it: whatever becomes of it, the
request and its answer are the same. It is what the service of the route gets, on the same rewritten path and with the
same `X-Request-Id`, and has `X-Mirrored: 1` besides. Base path, Host, TLS and balancing are those of the other service;
policies of the other service do not run. Only a request that is sent to an endpoint is copied, and once, however often
it is tried: what a policy has answered or refused is not. What policies change for one try alone, or in a body that
passes, is not in the copy. WebSockets are not copied.

A copy is never tried again. Bodies larger than `max_body` are not copied, and while `max` copies wait for their bodies
or are under way no further ones are begun, so they hold `max` times `max_body` of memory at the most. What failed or
was left out is counted, and told in the log, once a minute at the most. A gateway that stops waits for its copies.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Duration, Int, Percent, ServiceRef, Size, short_form
from propylon.engine.errors import GatewayError
from propylon.engine.tee import copy_request

if TYPE_CHECKING:
    from propylon.engine.attempt import Attempt
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope
    from propylon.engine.subrequest import Subrequest

MARK: Final = "x-mirrored"
"""A field of its own. Envoy appends `-shadow` to Host instead, which services that look at Host do not know."""

READ_BYTES: Final = 64 * 1024
"""An answer up to here is read and dropped, so that its connection can be kept; a larger one is cut."""

TELL_SECONDS: Final = 60.0

log = logging.getLogger("propylon.policies")


class Config(BaseModel):
    """Where copies go, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    service: ServiceRef = Field(description="Name of the service that gets the copies.")
    percent: Percent = Field(default=1.0, description="Share of the requests that are copied.")
    timeout: Annotated[Duration, Field(gt=0)] = Field(default=10.0, description="How long a copy may take in all.")
    max_body: Size = Field(default=1024 * 1024, description="Largest body of a request that is copied.")
    max: Annotated[Int, Field(ge=1)] = Field(default=100, description="Copies under way at the same time, in a worker.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"service": data} if isinstance(data, str) else data


class Policy:
    """Draws which requests are copied, and sends the copies.

    Attributes:
        sent: copies that were answered, whatever the answer.
        failed: copies that were not.
        dropped: copies that were not begun, as too many were under way.
        left_out: requests whose body was too large or never complete.
        under_way: copies that wait for their body or for an answer.
    """

    __slots__ = ("_config", "_scope", "_service", "_told", "dropped", "failed", "left_out", "sent", "under_way")

    def __init__(self, config: Config, scope: Scope) -> None:
        self._config = config
        self._scope = scope
        self._service = scope.service(config.service)
        self._told = -inf
        self.sent = self.failed = self.dropped = self.left_out = self.under_way = 0

    def on_attempt(self, x: Exchange, attempt: Attempt) -> None:
        """Copy the request if it goes out for the first time, and is drawn."""
        if attempt.number > 1 or x.is_websocket or self._scope.random() >= self._config.percent:
            return
        if self.under_way >= self._config.max:
            self.dropped += 1
            self._tell(f"{self.under_way} are under way")
        else:
            self.under_way += 1
            copy_request(x, self._config.max_body, self._send)

    def _send(self, own: Subrequest | None) -> None:
        if own is None:
            self.left_out += 1
            self.under_way -= 1
        else:
            own.headers.set(MARK, "1")
            self._scope.task(self._deliver(own), finish=True)

    async def _deliver(self, own: Subrequest) -> None:
        try:
            await self._service.ask(own, timeout=self._config.timeout, limit=READ_BYTES)
            self.sent += 1
        except GatewayError as error:
            self.failed += 1
            self._tell(str(error))
        finally:
            self.under_way -= 1

    def _tell(self, reason: str) -> None:
        now = self._scope.clock()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            log.warning(
                "copies of requests do not all reach service %s: %d did, %d failed, %d were dropped, %d left out; %s",
                self._config.service, self.sent, self.failed, self.dropped, self.left_out, reason,
            )  # fmt: skip
