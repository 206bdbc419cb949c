"""Detection of a peer that vanished: its connection ends although neither FIN nor RST ever arrives.

A phone in a tunnel, a machine without power, a firewall that forgot the connection: the kernel learns of it only by
packets that are not acknowledged. With TCP keepalive (tcp(7)) it sends some while the connection is silent, at no cost
for this process, and ends the connection with ETIMEDOUT.

Keepalive is suspended while sent data is unacknowledged. TCP_USER_TIMEOUT bounds that, but it also counts while the
window of a peer that reads slowly is closed, and is not restarted by every reopening: with a limit of 6 s Linux 6.18
ended connections of clients that read 16 KB each second into a buffer of 16 KB. So it is off unless it is set, and who
writes watches that the peer acknowledges: `Lifetime` and `Tunnel`.
"""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass
from math import inf
from typing import Final

PROBES: Final = 3
"""Unanswered keepalive probes that end a connection; they fit into one more time of silence."""

_IDLE: Final = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # macOS has the second name
_INTERVAL: Final = getattr(socket, "TCP_KEEPINTVL", None)
_COUNT: Final = getattr(socket, "TCP_KEEPCNT", None)
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
_MAX_SECONDS: Final = 32767  # the kernel accepts no larger keepalive time
_MAX_MILLISECONDS: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Probes:
    """When the kernel gives up a silent peer; times in seconds, `inf` for never.

    Attributes:
        keepalive: silence before the first probe; the peer has as long again to answer one of them.
        user_timeout: TCP_USER_TIMEOUT (RFC 5482): how long sent data may stay unacknowledged, or wait for a peer
            whose window is closed. It bounds the probes too.
    """

    keepalive: float = 30.0
    user_timeout: float = inf

    def apply(self, sock: socket.socket | None) -> None:
        """Set the options of a TCP socket; those accepted on a listening one inherit them.

        Nothing is done for a Unix socket or one that is closed, nor for options that the platform does not have.
        """
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        on = self.keepalive < inf
        idle = min(max(1, math.ceil(self.keepalive)), _MAX_SECONDS) if on else 0
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, on)
            if on:
                _set(sock, _IDLE, idle)
                _set(sock, _INTERVAL, max(1, idle // PROBES))
                _set(sock, _COUNT, PROBES)
            limited = self.user_timeout < inf
            _set(sock, _USER_TIMEOUT, min(math.ceil(self.user_timeout * 1000), _MAX_MILLISECONDS) if limited else 0)
        except OSError:  # it is closed, or the platform refuses the option
            return


def _set(sock: socket.socket, option: int | None, value: int) -> None:
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
