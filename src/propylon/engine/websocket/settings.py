"""How a tunnel is watched, and what its two sides are told when the gateway ends it (RFC 6455 7.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from propylon.http import websocket as ws
from propylon.http.frames import FrameLimits
from propylon.http.websocket import Close

CLIENT_GONE: Final = Close(ws.GOING_AWAY, "client_gone")
ENDPOINT_GONE: Final = Close(ws.INTERNAL_ERROR, "upstream_error")
BACKPRESSURE: Final = Close(ws.TRY_AGAIN_LATER, "backpressure")
TOO_OLD: Final = Close(ws.GOING_AWAY, "max_age")
POLICY_FAILED: Final = Close(ws.INTERNAL_ERROR, "internal_error")
DRAINED: Final = Close(ws.GOING_AWAY, "going_away")
RESTARTED: Final = Close(ws.SERVICE_RESTART, "service_restart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How often another endpoint is tried when one has gone away.

    Attributes:
        attempts: tries in a row; the first one at once.
        interval: seconds before the second one.
        decay: what the pause before each further one is multiplied with.
    """

    attempts: int = 5
    interval: float = 1.0
    decay: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSettings:
    """How a tunnel is watched; times in seconds, sizes in bytes.

    Attributes:
        ping: a peer that has sent nothing for this long, and for twice as long at the most, is pinged; `None`: never.
        pong_timeout: it is given up if nothing has come this long after the ping.
        limits: of a frame and of a message.
        max_buffered: unsent bytes to one side at which both are closed with 1013; `None` lets the other side wait.
        max_age: the tunnel is closed when it is this old; `None`: never.
        write: a peer that takes nothing for this long is closed with 1013.
        reconnect: what is done when the endpoint goes away without a Close frame; `None`: the client is told.
    """

    ping: float | None = 30.0
    pong_timeout: float = 20.0
    limits: FrameLimits = FrameLimits()  # noqa: RUF009 - it is frozen
    max_buffered: int | None = None
    max_age: float | None = None
    write: float = 60.0
    reconnect: Reconnect | None = None
