"""Watch WebSockets: who may open one, how large messages may be, and when a connection is given up.

    policies:
      - websocket:
          origins: ["https://app.example", "https://*.app.example"]
          ping: 30s
          max_message: 1MiB
          max_age: 12h

WebSockets pass through every route that goes to a service; without this policy with the defaults below. `ping` watches
both sides: who sends nothing for that long is pinged, and who still sends nothing for `pong_timeout` is given up, which
the other side is told. A side that does not read makes the other one wait; with `max_buffered` both are closed with
1013 instead as soon as that many bytes are unsent. A message over `max_message`, or a frame over `max_frame`, is closed
with 1009. Behind `max_age` both sides are closed with 1001. A request whose Origin is not among `origins` is answered
with 403; one without Origin comes from no browser, and is let through. Beyond `max_connections` at the place where the
policy stands, in one worker, the answer is 503.

`reconnect: {attempts: 5}` lets another endpoint of the service take over when one goes away without a Close frame: the
gateway sends it the same handshake, and the client notices nothing. It cannot promise more than that. Messages that the
lost endpoint had taken, or that were on the way, are lost, and so is what it remembered of the client; a service must
be made for it. No compression is negotiated then, and when the endpoint was lost in the middle of a message to the
client, the client is told (1011) and has to come back itself.

Requests that are no handshake of a WebSocket pass untouched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from propylon.config.types import Duration, Int, OptionalCount, OptionalDuration, OptionalSize
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
    """How often another endpoint is tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: Annotated[Int, Field(ge=1, le=100)] = Field(default=5, description="Tries in a row, the first at once.")
    interval: Annotated[Duration, Field(gt=0)] = Field(default=1.0, description="Pause before the second try.")
    decay: Annotated[float, Field(ge=1, le=10)] = Field(
        default=1.5, description="What the pause before each further try is multiplied with."
    )


class Config(BaseModel):
    """What is allowed, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origins: tuple[Origin, ...] | None = Field(
        default=None,
        min_length=1,
        description="Origins that may open one, in lower case; `https://*.app.example` is any host below app.example.",
    )
    ping: OptionalDuration = Field(default=30.0, description="How long a side may send nothing until it is pinged.")
    pong_timeout: Annotated[Duration, Field(gt=0)] = Field(
        default=20.0, description="How long a pinged side may go on sending nothing."
    )
    max_frame: OptionalSize = Field(default=None, description="The largest frame; none for any size.")
    max_message: OptionalSize = Field(default=None, description="The largest message; none for any size.")
    max_buffered: OptionalSize = Field(
        default=None, description="Unsent bytes to one side at which both are closed; none to let the other side wait."
    )
    max_age: OptionalDuration = Field(default=None, description="How long one may be open; none for ever.")
    reconnect: ReconnectConfig | None = Field(
        default=None, description="Let another endpoint take over when one goes away without a Close frame."
    )
    max_connections: OptionalCount = Field(default=None, description="How many may be open; none for any number.")


class Policy:
    """Checks handshakes, and says how what follows them is watched."""

    def __init__(self, config: Config, scope: Scope) -> None:
        again = config.reconnect
        self._settings = TunnelSettings(
            ping=config.ping,
            pong_timeout=config.pong_timeout,
            limits=FrameLimits(frame=config.max_frame, message=config.max_message),
            max_buffered=config.max_buffered,
            max_age=config.max_age,
            reconnect=None
            if again is None
            else Reconnect(attempts=again.attempts, interval=again.interval, decay=again.decay),
        )
        self._origins = None if config.origins is None else _pattern(config.origins)
        self._most = config.max_connections
        self._open = 0

    def on_request(self, x: Exchange) -> None:
        """Refuse what is not allowed, before an endpoint hears of it."""
        if not x.is_websocket:
            return
        origin = x.header(b"origin")
        if self._origins is not None and origin is not None and not self._origins.fullmatch(origin.lower()):
            raise GatewayError("upgrade.origin")
        if self._most is not None:
            if self._open >= self._most:
                raise GatewayError("upgrade.too_many", headers={"retry-after": "5"})
            self._open += 1
            x.defer(self._closed)
        x.tunnel_settings = self._settings

    def _closed(self) -> None:
        self._open -= 1


def _pattern(origins: tuple[str, ...]) -> re.Pattern[bytes]:
    """One linear expression for all origins: `*.` is one label or more."""
    parts = [re.escape(origin).replace(r"://\*\.", r"://(?:[a-z0-9-]+\.)+") for origin in origins]
    return re.compile("|".join(parts).encode("ascii"))
