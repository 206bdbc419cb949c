"""Ports for programs that have to be told one before they listen."""

from __future__ import annotations

import random
import socket

# Below the range from which outgoing connections take theirs. Other randomness may be seeded, alike in two processes.
_CANDIDATES = range(20000, 32000)
_CHOICE = random.SystemRandom()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now, for TCP nor for UDP."""
    while True:
        port = _CHOICE.choice(_CANDIDATES)
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)
