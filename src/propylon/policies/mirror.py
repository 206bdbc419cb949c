"""Send copies of requests to another service, to test it with real traffic. Its responses are dropped.

    services:
      users: {endpoints: [http://10.0.0.1:8000]}
      users-next: {endpoints: [http://10.0.0.9:8000]}
    routes:
      - path: /users/*
        service: users
        policies:
          - mirror: {service: users-next, percent: 10%}
          # mirror: users-next is short for {service: users-next}: every request

A copy is sent when the body of its request is complete. It never affects or delays the request and its response. It
has the same rewritten path, header fields and body as the request to the route's service, with the same
`X-Request-Id`, and `X-Mirrored: 1` in addition. Base path, Host, TLS and balancing are those of the other service,
whose policies do not run. A request is copied at its first attempt, never for a retry, and not if a policy has answered
or refused it. Changes by policies to a single attempt (`on_attempt`) or to a streamed body are not in the copy.
WebSockets are not copied.

A copy is never retried. Requests with a body larger than `max_body` are not copied, and at most `max` copies wait for
their body or are in flight, so they use at most `max` times `max_body` of memory; further requests are not copied.
Failed and omitted copies are counted, and logged at most once a minute. A gateway that drains waits for its copies.
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
"""A separate field. Envoy appends `-shadow` to Host instead, which breaks services that check Host."""

READ_BYTES: Final = 64 * 1024
"""A response up to here is read and dropped, so that its connection can be kept; a larger one is aborted."""

LOG_SECONDS: Final = 60.0

log = logging.getLogger("propylon.policies")


class Config(BaseModel):
    """The other service, and the limits of copies."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    service: ServiceRef = Field(description="Name of the service that gets the copies.")
    percent: Percent = Field(default=1.0, description="Share of the requests that are copied.")
    timeout: Annotated[Duration, Field(gt=0)] = Field(default=10.0, description="Total time of a copy.")
    max_body: Size = Field(default=1024 * 1024, description="Maximum body size of a request to copy.")
    max: Annotated[Int, Field(ge=1)] = Field(default=100, description="Maximum of concurrent copies in a worker.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"service": data} if isinstance(data, str) else data


class Policy:
    """Samples requests, and sends copies of them.

    Attributes:
        sent: copies with a response of any status.
        failed: copies without a response.
        dropped: copies that were not begun, as too many were in flight.
        left_out: requests with a body that was too large or never complete.
        under_way: copies that wait for their body or for a response.
    """

    __slots__ = ("_config", "_logged_at", "_scope", "_service", "dropped", "failed", "left_out", "sent", "under_way")

    def __init__(self, config: Config, scope: Scope) -> None:
        self._config = config
        self._scope = scope
        self._service = scope.service(config.service)
        self._logged_at = -inf
        self.sent = self.failed = self.dropped = self.left_out = self.under_way = 0

    def on_attempt(self, x: Exchange, attempt: Attempt) -> None:
        """Copy the request at its first attempt, if it is sampled."""
        if attempt.number > 1 or x.is_websocket or self._scope.random() >= self._config.percent:
            return
        if self.under_way >= self._config.max:
            self.dropped += 1
            self._log_failures(f"{self.under_way} are under way")
        else:
            self.under_way += 1
            copy_request(x, self._config.max_body, self._send)

    def _send(self, subrequest: Subrequest | None) -> None:
        if subrequest is None:
            self.left_out += 1
            self.under_way -= 1
        else:
            subrequest.headers.set(MARK, "1")
            self._scope.task(self._deliver(subrequest), finish=True)

    async def _deliver(self, subrequest: Subrequest) -> None:
        try:
            await self._service.ask(subrequest, timeout=self._config.timeout, limit=READ_BYTES)
            self.sent += 1
        except GatewayError as error:
            self.failed += 1
            self._log_failures(str(error))
        finally:
            self.under_way -= 1

    def _log_failures(self, reason: str) -> None:
        now = self._scope.clock()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning(
                "copies of requests do not all reach service %s: %d did, %d failed, %d were dropped, %d left out; %s",
                self._config.service, self.sent, self.failed, self.dropped, self.left_out, reason,
            )  # fmt: skip
