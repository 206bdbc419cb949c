"""A peer that vanishes without FIN or RST, as a phone in a tunnel: its socket's packets are dropped by the kernel."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from typing import Any

import pytest

SO_ATTACH_FILTER = 26  # socket(7)
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: return 0 bytes of each packet

needs_vanishing = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets a socket drop its own packets (SO_ATTACH_FILTER)"
)


def vanish(sock: Any) -> None:
    """Drop every packet that arrives for `sock` from now on: nothing is acknowledged any more."""
    program = ctypes.create_string_buffer(DROP_ALL)
    own = socket.socket(fileno=os.dup(sock.fileno()))
    try:
        own.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
    finally:
        own.close()
