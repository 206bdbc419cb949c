"""What a peer has not taken yet: bytes that wait in the transport, and those that wait in the kernel behind it."""

from __future__ import annotations

import fcntl
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def unsent_bytes(transport: asyncio.Transport | None) -> int:
    """Return how many bytes written to `transport` the peer's system has not acknowledged.

    The kernel holds megabytes for a slow reader, and gives its buffer free in large steps: without looking there
    (SIOCOUTQ, tcp(7); the same request as TIOCOUTQ), a peer that reads slowly would seem not to read at all.
    """
    if transport is None:
        return 0
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None:
        return waiting
    try:
        return waiting + int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), "little")
    except (OSError, ValueError):  # a kind of socket that does not tell, or one that was closed meanwhile
        return waiting
