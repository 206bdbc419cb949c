"""Unsent bytes: those in the transport's buffer and those in the kernel's."""

from __future__ import annotations

import fcntl
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def unsent_bytes(transport: asyncio.Transport | None) -> int:
    """Return the number of bytes written to `transport` that the peer's system has not acknowledged.

    The kernel buffers megabytes for a slow reader, and frees them in large steps: without its count (SIOCOUTQ, tcp(7);
    the same request as TIOCOUTQ), a slow reader could not be distinguished from one that does not read.
    """
    if transport is None:
        return 0
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None:
        return waiting
    try:
        return waiting + int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), "little")
    except (OSError, ValueError):  # unsupported by this kind of socket, or already closed
        return waiting
