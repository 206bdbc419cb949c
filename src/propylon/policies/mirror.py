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

import asyncio
import logging
import random as chance
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from propylon.config.types import Duration, Int, Percent, Size, Text, short_form
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.pipeline import BACKGROUND
from propylon.engine.retry import RetrySettings
from propylon.engine.snapshot import CompiledRoute
from propylon.engine.subrequest import Subrequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.attempt import Attempt
    from propylon.engine.exchange import Exchange
    from propylon.engine.snapshot import Snapshot
    from propylon.http.headers import Pair

MARK: Final = "x-mirrored"
"""A field of its own. Envoy appends `-shadow` to Host instead, which services that look at Host do not know."""

READ_BYTES: Final = 64 * 1024
"""An answer up to here is read and dropped, so that its connection can be kept; a larger one is cut."""

TELL_SECONDS: Final = 60.0

ONCE: Final = RetrySettings(attempts=1)

log = logging.getLogger("propylon.policies")


class Config(BaseModel):
    """Where copies go, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    service: Text = Field(description="Name of the service that gets the copies.")
    percent: Percent = Field(default=1.0, description="Share of the requests that are copied.")
    timeout: Annotated[Duration, Field(gt=0)] = Field(default=10.0, description="How long a copy may take in all.")
    max_body: Size = Field(default=1024 * 1024, description="Largest body of a request that is copied.")
    max: Annotated[Int, Field(ge=1)] = Field(default=100, description="Copies under way at the same time, in a worker.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"service": data} if isinstance(data, str) else data


class Tee:
    """Keeps a body under way while it goes to its service: all of it, or nothing."""

    __slots__ = ("_body", "_done", "_kept", "_room")

    def __init__(self, body: Body, limit: int, done: Callable[[bytes | None], None]) -> None:
        """Begin to keep `body`.

        Args:
            limit: bytes that are kept at the most.
            done: called once: with the body, or with `None` when it is too large or its end does not come.
        """
        self._body = body
        self._room = limit
        self._done: Callable[[bytes | None], None] | None = done
        self._kept: list[bytes] = []
        body.tap(self)

    def write_body(self, data: bytes) -> None:
        """Take a piece."""
        self._room -= len(data)
        self._kept.append(data)
        if self._room < 0:
            self.cancel()

    def end_body(self, trailers: list[Pair]) -> None:
        """Take the end; trailers go no further than the gateway."""
        self._finish(b"".join(self._kept))

    def fail_body(self, error: GatewayError) -> None:
        """Keep nothing any more."""
        self._finish(None)

    def cancel(self) -> None:
        """Keep nothing any more."""
        self._finish(None)

    def _finish(self, body: bytes | None) -> None:
        done, self._done = self._done, None
        self._kept = []
        self._body.untap(self)
        if done is not None:
            done(body)


class Policy:
    """Draws which requests are copied, and sends the copies.

    Attributes:
        sent: copies that were answered, whatever the answer.
        failed: copies that were not.
        dropped: copies that were not begun, as too many were under way.
        left_out: requests whose body was too large or never complete.
        under_way: copies that wait for their body or for an answer.
    """

    __slots__ = (
        "_clock", "_config", "_random", "_told", "dropped", "failed", "left_out", "sent", "under_way",
    )  # fmt: skip

    def __init__(
        self,
        config: Config,
        random: Callable[[], float] = chance.random,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`random` returns a float of [0, 1), `clock` monotonic seconds."""
        self._config = config
        self._random = random
        self._clock = clock
        self._told = -inf
        self.sent = self.failed = self.dropped = self.left_out = self.under_way = 0

    def on_attempt(self, x: Exchange, attempt: Attempt) -> None:
        """Copy the request if it goes out for the first time, and is drawn."""
        if attempt.number > 1 or x.is_websocket or self._random() >= self._config.percent:
            return
        body = x.body
        if body is not None and _size(body) > self._config.max_body:
            self.left_out += 1
        elif self.under_way >= self._config.max:
            self.dropped += 1
            self._tell(f"{self.under_way} are under way")
        else:
            self.under_way += 1
            own = copy_of(x)
            if isinstance(body, Body) and not body.ended:
                x.defer(Tee(body, self._config.max_body, partial(self._send_kept, x.snapshot, own)).cancel)
            else:
                own.exchange.body = body.held() if isinstance(body, Body) else body
                self._send(x.snapshot, own)

    def _send_kept(self, snapshot: Snapshot, own: Subrequest, body: bytes | None) -> None:
        if body is None:
            self.left_out += 1
            self.under_way -= 1
        else:
            own.exchange.body = body
            self._send(snapshot, own)

    def _send(self, snapshot: Snapshot, own: Subrequest) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(snapshot, own), name="propylon mirror")
        BACKGROUND.add(task)
        task.add_done_callback(BACKGROUND.discard)

    async def _deliver(self, snapshot: Snapshot, own: Subrequest) -> None:
        try:
            service = snapshot.services.get(self._config.service)
            if service is None:
                raise GatewayError("choose.no_endpoint", log="there is no such service")
            await own.ask(service, timeout=self._config.timeout, limit=READ_BYTES)
            self.sent += 1
        except GatewayError as error:
            self.failed += 1
            self._tell(str(error))
        finally:
            self.under_way -= 1

    def _tell(self, reason: str) -> None:
        now = self._clock()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            log.warning(
                "copies of requests do not all reach service %s: %d did, %d failed, %d were dropped, %d left out; %s",
                self._config.service, self.sent, self.failed, self.dropped, self.left_out, reason,
            )  # fmt: skip


def copy_of(x: Exchange) -> Subrequest:
    """Return a request that goes where `x` goes, but for the service; its body is still to come."""
    own = Subrequest(x.method, x.path, x.query, snapshot=x.snapshot, origin=x.origin)
    copy, route, seen = own.exchange, x.route, x.changed_request
    copy.id, copy.fields, copy.host = x.id, x.fields, x.host
    copy.path_params, copy.path_rest, copy.rewritten = x.path_params, x.path_rest, x.rewritten
    copy.route = CompiledRoute(route.name, rewrite=route.rewrite, query_edit=route.query_edit, retry=ONCE)
    if seen is not None:
        own.headers.raw = tuple(seen.headers.raw)
    own.headers.set(MARK, "1")
    return own


def _size(body: bytes | Body) -> int:
    return max(body.size, body.length) if isinstance(body, Body) else len(body)
