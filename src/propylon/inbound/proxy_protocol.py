"""The PROXY protocol, versions 1 and 2: the client address of a connection, sent by a load balancer.

Rules of the file:

- The header is accepted from listed peers only, and is required: a listener with the PROXY protocol accepts no
  connection without it (specification, section 2: receivers must not guess).
- `ProxyHeaderParser` has no I/O; it accepts pieces of any size, up to the maximum size of a header.
- LOCAL, UNKNOWN, UNSPEC and Unix addresses mean "no address": then the addresses of the socket are used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.address import SocketAddress
    from propylon.engine.timing import Ending
    from propylon.inbound.connections import Acceptor, Connections

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""The first 12 bytes of version 2."""
MAX_V1_BYTES: Final = 107
"""Maximum header size of version 1, CRLF included (specification, section 2.1)."""
MAX_V2_BODY_BYTES: Final = 4096
"""Maximum size of the address block with TLVs; HAProxy and nginx stop at one buffer (16 KiB, 4 KiB)."""
HEADER_TIMEOUT_S: Final = 10.0
"""Seconds for the whole header; in practice it is one packet."""

_V1_START: Final = b"PROXY "
_V1: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]+) ([0-9]+))\r\n"
)
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_V2_ADDRESS_BYTES: Final = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}


class ProxyHeaderError(ValueError):
    """Invalid PROXY header; the message is for the operator's log."""


class ProxyInfo(NamedTuple):
    """The source and destination address of a header; both None for "no address"."""

    peer: SocketAddress | None
    local: SocketAddress | None


_NO_ADDRESSES: Final = ProxyInfo(None, None)


class ProxyHeaderParser:
    """Parser of one header, fed in pieces of any size."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> tuple[ProxyInfo, bytes] | None:
        """Parse received bytes; return the header's content and the bytes after it, or None while incomplete.

        Raises `ProxyHeaderError`. Must not be called again after that, nor after a result.
        """
        self._buffer = buffer = self._buffer + data
        if buffer.startswith(SIGNATURE):
            return _read_v2(buffer)
        if buffer.startswith(_V1_START):
            return _read_v1(buffer)
        if SIGNATURE.startswith(buffer) or _V1_START.startswith(buffer):
            return None
        raise ProxyHeaderError("the connection does not begin with a PROXY header")


def _read_v1(buffer: bytes) -> tuple[ProxyInfo, bytes] | None:
    end = buffer.find(b"\n", 0, MAX_V1_BYTES) + 1
    if not end:
        if len(buffer) >= MAX_V1_BYTES:
            raise ProxyHeaderError(f"the header has no end within {MAX_V1_BYTES} bytes")
        return None
    found = _V1.fullmatch(buffer, 0, end)
    if found is None:
        raise ProxyHeaderError("the header of version 1 is malformed")
    family, source, target, source_port, target_port = found.groups()
    if family is None:
        return _NO_ADDRESSES, buffer[end:]
    peer = (_address(source, family), _port(source_port))
    local = (_address(target, family), _port(target_port))
    return ProxyInfo(peer, local), buffer[end:]


def _address(text: bytes, family: bytes) -> str:
    try:
        if family == b"4":
            return str(ipaddress.IPv4Address(text.decode("ascii")))
        return _plain(ipaddress.IPv6Address(text.decode("ascii")))
    except ValueError:
        raise ProxyHeaderError(f"the header of version 1 has a bad TCP{family.decode('ascii')} address") from None


def _port(text: bytes) -> int:
    port = int(text) if _PORT.fullmatch(text) else 65536
    if port > 65535:
        raise ProxyHeaderError("the header of version 1 has a bad port")
    return port


def _read_v2(buffer: bytes) -> tuple[ProxyInfo, bytes] | None:
    """Parse version 2 (section 2.2): signature, version, command, family, transport, length, addresses, TLVs."""
    if len(buffer) < 16:
        return None
    version, command, family = buffer[12] >> 4, buffer[12] & 15, buffer[13]
    length = int.from_bytes(buffer[14:16], "big")
    if version != 2:
        raise ProxyHeaderError(f"the header has version {version}, known are 1 and 2")
    if command > 1:
        raise ProxyHeaderError(f"the header has command {command}, known are LOCAL (0) and PROXY (1)")
    if length > MAX_V2_BODY_BYTES:
        raise ProxyHeaderError(f"the header announces {length} bytes, at most {MAX_V2_BODY_BYTES} are taken")
    if command == 1:
        needed = _V2_ADDRESS_BYTES.get(family)
        if needed is None:
            raise ProxyHeaderError(f"the header has family and transport {family:#04x}, which is no stream connection")
        if length < needed:
            raise ProxyHeaderError(f"the header announces {length} bytes, its addresses have {needed}")
    if len(buffer) < 16 + length:
        return None
    # LOCAL: the balancer's own connection, as a health check; its addresses must be ignored.
    info = _addresses_v2(family, buffer) if command == 1 else _NO_ADDRESSES
    return info, buffer[16 + length :]


def _addresses_v2(family: int, buffer: bytes) -> ProxyInfo:
    if family == 0x11:
        source, target, ports = buffer[16:20], buffer[20:24], buffer[24:28]
        peer, local = str(ipaddress.IPv4Address(source)), str(ipaddress.IPv4Address(target))
    elif family == 0x21:
        source, target, ports = buffer[16:32], buffer[32:48], buffer[48:52]
        peer, local = _plain(ipaddress.IPv6Address(source)), _plain(ipaddress.IPv6Address(target))
    else:
        return _NO_ADDRESSES
    return ProxyInfo((peer, int.from_bytes(ports[:2], "big")), (local, int.from_bytes(ports[2:], "big")))


def _plain(address: ipaddress.IPv6Address) -> str:
    """Return an address as text, an IPv4-mapped one as IPv4."""
    return str(address.ipv4_mapped or address)


class ProxyPreface(asyncio.Protocol):
    """Reads the header of one connection, then hands the connection over to the next protocol.

    The next protocol gets `connection_made`, and `data_received` with the bytes after the header, in the same call.

    Attributes:
        deadline: when the header must be complete (`time.monotonic`).
        listener: the listener that accepted the connection.
    """

    __slots__ = ("_connections", "_factory", "_parser", "_transport", "_trusts", "deadline", "listener")

    exchange = None  # none before the header
    due = inf

    def __init__(
        self,
        connections: Connections,
        trusts: Callable[[bytes], bool],
        factory: Callable[[SocketAddress | None, SocketAddress | None], asyncio.Protocol],
    ) -> None:
        """Make the preface of one connection.

        Parameters:
            connections: the open connections, with their limit and deadlines.
            trusts: returns whether a peer may send a header; called with its address, or b"unix" for a Unix socket.
            factory: makes the next protocol from (peer, local); both None to use those of the socket.
        """
        self._connections = connections
        self._trusts = trusts
        self._factory = factory
        self._parser = ProxyHeaderParser()
        self._transport: asyncio.Transport | None = None
        self.listener: Acceptor | None = None
        self.deadline = inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header if this peer may send one; otherwise abort."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        peer = str(name[0]).encode("ascii", "replace") if isinstance(name, tuple) else b"unix"
        if not self._trusts(peer) or self._connections.full:
            self.abort()
            return
        self._connections.open.add(self)
        self.deadline = monotonic() + HEADER_TIMEOUT_S

    def data_received(self, data: bytes) -> None:
        """Parse a piece of the header."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return  # aborted; bytes read before are still delivered
        try:
            found = self._parser.feed(data)
        except ProxyHeaderError:
            self.abort()
            return
        if found is None:
            return
        info, rest = found
        self._connections.open.discard(self)
        protocol = self._factory(info.peer, info.local)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest and not transport.is_closing():
            protocol.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self._connections.forget(self)

    def check(self, now: float) -> None:
        """Abort a connection whose header is late."""
        if self.deadline <= now:
            self.abort()

    def drain(self, ending: Ending | None) -> None:
        """Abort: there is no request in flight."""
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self.deadline = inf
        if self._transport is not None:
            self._transport.abort()
