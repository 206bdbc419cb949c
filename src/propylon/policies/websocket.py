"""Manage WebSockets: allowed origins, message sizes, keep-alive and lifetime.

    policies:
      - websocket:
          origins: ["https://app.example", "https://*.app.example"]
          ping: 30s
          max_message: 1MiB
          max_age: 12h

WebSockets are supported on every route to a service; without this policy the defaults below apply. `ping` applies to
both sides: one that sends nothing for that time gets a ping; if it then sends nothing for `pong_timeout`, its
connection is closed, and the other side gets a Close frame. A side that does not read causes backpressure on the
other; with `max_buffered` both are closed with 1013 instead as soon as that many bytes are unsent. A message over
`max_message`, or a frame over `max_frame`, is closed with 1009; a compressed message counts as it is inflated, a frame
as it is sent. After `max_age` both sides are closed with 1001. A
request with an Origin that is not in `origins` is answered with 403; one without Origin is not from a browser, and is
accepted. Above `max_connections` of the policy in a worker, the response is 503.

`reconnect: {attempts: 5}` fails over to another endpoint of the service when one is lost without a Close frame: the
gateway repeats the handshake, and the client's connection stays open. Messages that the lost endpoint had received, or
that were in transit, are lost, and so is its state of the client; the service must support this. Compression is not
negotiated then. If the endpoint is lost in the middle of a message to the client, the client's connection is closed
(1011), and the client has to reconnect.

Requests without a WebSocket handshake are not affected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from propylon.config.types import Duration, Int, ListedSome, OptionalCount, OptionalDuration, OptionalSize
from propylon.engine.errors import GatewayError
from propylon.engine.websocket.settings import Reconnect, TunnelSettings
from propylon.http.frames import FrameLimits

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

_SCHEME, _HOST, _PORT = r"[a-z][a-z0-9+.-]*://", r"(?:(?:\*\.)?[a-z0-9.-]+|\[[0-9a-f:.]+\])", r"(?::[0-9]{1,5})?"
Origin = Annotated[str, Field(pattern=f"^{_SCHEME}{_HOST}{_PORT}$")]
"""An origin as browsers send it (RFC 6454 6.2)."""


class ReconnectConfig(BaseModel):
    """The attempts at other endpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: Annotated[Int, Field(ge=1, le=100)] = Field(
        default=5, description="Consecutive attempts, the first at once."
    )
    interval: Annotated[Duration, Field(gt=0)] = Field(default=1.0, description="Pause before the second attempt.")
    decay: Annotated[float, Field(ge=1, le=10)] = Field(
        default=1.5, description="Factor of the pause for each further attempt."
    )


class Config(BaseModel):
    """The limits and keep-alive of WebSockets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origins: ListedSome[Origin] | None = Field(
        default=None,
        description="Allowed origins, in lower case; `https://*.app.example` is any subdomain of app.example.",
    )
    ping: OptionalDuration = Field(default=30.0, description="Silence after which a side gets a ping.")
    pong_timeout: Annotated[Duration, Field(gt=0)] = Field(
        default=20.0, description="Silence after a ping until the side is closed."
    )
    max_frame: OptionalSize = Field(default=None, description="Maximum size of a frame; none for no limit.")
    max_message: OptionalSize = Field(
        default=None, description="Maximum size of a message, inflated; none for no limit."
    )
    max_buffered: OptionalSize = Field(
        default=None, description="Unsent bytes to one side at which both are closed; none for backpressure instead."
    )
    max_age: OptionalDuration = Field(default=None, description="Maximum lifetime; none for no limit.")
    reconnect: ReconnectConfig | None = Field(
        default=None, description="Fail over to another endpoint when one is lost without a Close frame."
    )
    max_connections: OptionalCount = Field(default=None, description="Maximum of open WebSockets; none for no limit.")


class Policy:
    """Checks handshakes, and sets the settings of their tunnels."""

    def __init__(self, config: Config, scope: Scope) -> None:
        reconnect = config.reconnect
        self._settings = TunnelSettings(
            ping=config.ping,
            pong_timeout=config.pong_timeout,
            limits=FrameLimits(frame=config.max_frame, message=config.max_message),
            max_buffered=config.max_buffered,
            max_age=config.max_age,
            reconnect=None
            if reconnect is None
            else Reconnect(attempts=reconnect.attempts, interval=reconnect.interval, decay=reconnect.decay),
        )
        self._origins = None if config.origins is None else _pattern(config.origins)
        self._max_connections = config.max_connections
        self._open = 0

    def on_request(self, x: Exchange) -> None:
        """Refuse a handshake that is not allowed, before an endpoint is chosen."""
        if not x.is_websocket:
            return
        origin = x.header(b"origin")
        if self._origins is not None and origin is not None and not self._origins.fullmatch(origin.lower()):
            raise GatewayError("upgrade.origin")
        if self._max_connections is not None:
            if self._open >= self._max_connections:
                raise GatewayError("upgrade.too_many", headers={"retry-after": "5"})
            self._open += 1
            x.defer(self._closed)
        x.tunnel_settings = self._settings

    def _closed(self) -> None:
        self._open -= 1


def _pattern(origins: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return one linear expression for all origins; `*.` is one label or more."""
    parts = [re.escape(origin).replace(r"://\*\.", r"://(?:[a-z0-9-]+\.)+") for origin in origins]
    return re.compile("|".join(parts).encode("ascii"))
