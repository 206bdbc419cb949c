"""WebSocket frames, written plainly, for tests that send them: nothing here checks anything."""

from __future__ import annotations

MASK = b"\x11\x22\x33\x44"


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, mask: bytes | None = MASK, rsv: int = 0) -> bytes:
    """One frame; masked as a client's unless `mask` is None. `rsv` is the three reserved bits as a number, RSV1 = 4."""
    size = len(payload)
    bit = 0x80 if mask is not None else 0
    if size < 126:
        length = bytes((bit | size,))
    elif size < 65536:
        length = bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((bit | 127,)) + size.to_bytes(8, "big")
    head = bytes(((0x80 if final else 0) | rsv << 4 | opcode,)) + length
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def close_frame(code: int, reason: str = "", *, mask: bytes | None = MASK) -> bytes:
    """A Close frame, whatever its code."""
    return frame(8, code.to_bytes(2, "big") + reason.encode(), mask=mask)


def handshake(target: str = "/", *lines: str, key: str = "dGhlIHNhbXBsZSBub25jZQ==", host: str = "a.example") -> bytes:
    """A good opening handshake; `lines` are further header lines."""
    head = [
        f"GET {target} HTTP/1.1", f"host: {host}", "connection: upgrade", "upgrade: websocket",
        f"sec-websocket-key: {key}", "sec-websocket-version: 13", *lines,
    ]  # fmt: skip
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode()


ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    f"sec-websocket-accept: {ACCEPT}\r\n\r\n"
).encode()
"""What an endpoint answers to `handshake()`."""
