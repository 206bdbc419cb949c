"""Settings of a tunnel, and the Close frames that the gateway sends (RFC 6455 7.4)."""

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
    """Attempts to reconnect to another endpoint when one is lost.

    Attributes:
        attempts: consecutive attempts; the first one at once.
        interval: seconds before the second one.
        decay: factor of the pause for each further one.
    """

    attempts: int = 5
    interval: float = 1.0
    decay: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSettings:
    """Settings of a tunnel; times in seconds, sizes in bytes.

    Attributes:
        ping: a peer is pinged after it was idle for this long, and at most twice as long; `None`: never.
        pong_timeout: the tunnel is aborted if nothing has arrived this long after the ping.
        limits: of a frame and of a message.
        max_buffered: unsent bytes to one side at which both are closed with 1013; `None`: backpressure instead.
        max_age: the tunnel is closed at this age; `None`: never.
        write: both sides are closed with 1013 if a peer reads nothing for this long.
        reconnect: for an endpoint lost without a Close frame; `None`: the client is closed.
    """

    ping: float | None = 30.0
    pong_timeout: float = 20.0
    limits: FrameLimits = FrameLimits()  # noqa: RUF009 - it is frozen
    max_buffered: int | None = None
    max_age: float | None = None
    write: float = 60.0
    reconnect: Reconnect | None = None
