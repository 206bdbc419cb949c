"""Bytes that a peer sent before its connection was lost, and that no read has taken from the kernel yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

READ_BYTES: Final = 65536


def unread_bytes(transport: asyncio.Transport) -> bytes:
    """Return what is left to read from a transport's socket, within its `connection_lost`.

    A write to a connection that was reset fails at once, and the event loop then reports the loss without reading what
    came before the reset. Linux keeps it readable. It is at most the socket's receive buffer, as nothing more can come.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return b""
    pieces = []
    try:
        number = sock.fileno()
        while piece := os.read(number, READ_BYTES):
            pieces.append(piece)
    except (OSError, ValueError):  # nothing is left, or the socket is closed already
        pass
    return b"".join(pieces)
