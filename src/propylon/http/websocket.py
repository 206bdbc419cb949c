"""WebSockets without I/O: the opening handshake, control frames of the gateway, close codes (RFC 6455).

Frames of the peers are parsed in `frames.py`.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64encode
from typing import Final, NamedTuple

VERSION: Final = b"13"
UPGRADE: Final = b"upgrade: websocket\r\nconnection: upgrade\r\n"
"""The fields that switch HTTP/1.1 to WebSockets, in requests, 101 and 426 (RFC 9110 7.8, 15.5.22)."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_KEY_BYTES: Final = 16

CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MAX_CONTROL_BYTES: Final = 125  # RFC 6455 5.5

GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013

# Codes allowed in a Close frame: the registered ones without those that mean "no frame" (RFC 6455 7.4).
_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


class Close(NamedTuple):
    """The content of a Close frame; `NO_STATUS` is a frame without a code."""

    code: int
    reason: str = ""


class WebSocketError(Exception):
    """A protocol error of a peer.

    Attributes:
        code: the close code sent to it.
        detail: the rule that was broken; the close reason sent to it.
        passed: the valid data before the error, to be passed on.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code} {detail}")
        self.code = code
        self.detail = detail
        self.passed = b""


def accept_of(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept for `key` (RFC 6455 4.2.2)."""
    return b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def is_key(value: bytes | None) -> bool:
    """Return whether a Sec-WebSocket-Key is 16 bytes in base64 (RFC 6455 4.2.1)."""
    if value is None:
        return False
    try:
        return len(binascii.a2b_base64(value, strict_mode=True)) == _KEY_BYTES
    except binascii.Error:
        return False


def may_be_sent(code: int) -> bool:
    """Return whether a Close frame may have this code (RFC 6455 7.4)."""
    return code in _SENDABLE or 3000 <= code <= 4999


def read_close(payload: bytes) -> Close:
    """Parse the payload of a Close frame (RFC 6455 5.5.1).

    Raises:
        WebSocketError: 1002 for an incomplete or invalid code, 1007 for a reason that is not UTF-8.
    """
    if not payload:
        return Close(NO_STATUS)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_sent(code):
        raise WebSocketError(PROTOCOL_ERROR, "bad close code")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise WebSocketError(INVALID_DATA, "close reason is not UTF-8") from None


def close_payload(close: Close) -> bytes:
    """Return the payload of a Close frame; a reason that is too long is cut at a character boundary."""
    if close.code == NO_STATUS:
        return b""
    reason = close.reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore")
    return close.code.to_bytes(2, "big") + reason.encode()


def control_frame(opcode: int, payload: bytes, mask: bytes | None) -> bytes:
    """Return a control frame; `mask` is four random bytes towards an endpoint, None towards a client (RFC 6455 5.3)."""
    if mask is None:
        return bytes((0x80 | opcode, len(payload))) + payload
    return bytes((0x80 | opcode, 0x80 | len(payload))) + mask + apply_mask(payload, mask)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask the short payload of a control frame (RFC 6455 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
