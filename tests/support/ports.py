"""Ports for those who have to be told one."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has now, for TCP and UDP.

    It is from below the range that outgoing connections take theirs from, so none of them takes it meanwhile.
    """
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return several of them that differ."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
