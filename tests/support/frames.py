"""WebSocket frames: written plainly, whatever they say, and read strictly, to judge what the gateway sends."""

from __future__ import annotations

from dataclasses import dataclass

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
    return head + mask + unmask(payload, mask)


@dataclass(slots=True)
class Frame:
    """One frame as it came."""

    opcode: int
    payload: bytes
    final: bool = True
    rsv: int = 0

    @property
    def close(self) -> tuple[int, str]:
        """Code and reason of a Close frame."""
        assert self.opcode == 8, self
        return int.from_bytes(self.payload[:2], "big"), self.payload[2:].decode()


def read_frames(data: bytes, *, masked: bool) -> tuple[list[Frame], bytes]:
    """Read whole frames, and what is left behind them. Fails for a wrong mask, length or control frame (RFC 6455 5)."""
    found = []
    while len(data) >= 2:
        assert bool(data[1] & 0x80) is masked, f"mask: {data[:20]!r}"
        size, head = data[1] & 0x7F, 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head], "big")
            assert len(data) < head or size > (125 if head == 4 else 65535), f"length: {data[:20]!r}"
        mask = data[head : head + 4] if masked else bytes(4)
        head += 4 if masked else 0
        if len(data) < head + size:
            break
        made = Frame(data[0] & 0x0F, unmask(data[head : head + size], mask), bool(data[0] & 0x80), data[0] >> 4 & 7)
        assert made.opcode < 8 or (made.final and size < 126), made
        found.append(made)
        data = data[head + size :]
    return found, data


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask a payload (RFC 6455 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


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
