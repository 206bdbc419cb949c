"""The PROXY protocol: both versions in any pieces, what is refused, and how a connection is handed over."""

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon import Gateway
from propylon.address import SocketAddress
from propylon.inbound.connections import Connections
from propylon.inbound.proxy_protocol import (
    MAX_V2_BODY_BYTES,
    SIGNATURE,
    ProxyHeaderError,
    ProxyHeaderParser,
    ProxyInfo,
    ProxyPreface,
)
from propylon.runtime.core import Core

EMPTY = Gateway().route("/", respond="x").snapshot()
NOTHING = ProxyInfo(None, None)
FOUR = ProxyInfo(("192.0.2.7", 56324), ("198.51.100.1", 443))
SIX = ProxyInfo(("2001:db8::7", 56324), ("2001:db8::1", 443))


def v2(body: bytes, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + body


def v2_body(info: ProxyInfo) -> bytes:
    places = [place for place in info if place is not None]
    addresses = [ipaddress.ip_address(place[0]).packed for place in places]
    ports = [place[1].to_bytes(2, "big") for place in places]
    return b"".join(addresses + ports)


V2_FOUR = v2(v2_body(FOUR))
V2_SIX = v2(v2_body(SIX), family=0x21)
V1_FOUR = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"

GOOD = [
    pytest.param(V1_FOUR, FOUR, id="2.1 TCP4"),
    pytest.param(b"PROXY TCP6 2001:db8::7 2001:DB8::1 56324 443\r\n", SIX, id="2.1 TCP6"),
    pytest.param(b"PROXY UNKNOWN\r\n", NOTHING, id="2.1 UNKNOWN"),
    pytest.param(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", NOTHING, id="2.1 UNKNOWN with addresses"),
    pytest.param(
        b"PROXY TCP6 " + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535\r\n",
        ProxyInfo(
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535)
        ),
        id="2.1 longest TCP6",
    ),
    pytest.param(b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", NOTHING, id="2.1 longest"),
    pytest.param(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 443\r\n", FOUR, id="IPv4-mapped"),
    pytest.param(V2_FOUR, FOUR, id="2.2 TCP over IPv4"),
    pytest.param(V2_SIX, SIX, id="2.2 TCP over IPv6"),
    pytest.param(v2(v2_body(FOUR) + b"\x03\x00\x04abcd"), FOUR, id="2.2.1 TLVs are skipped"),
    pytest.param(v2(v2_body(FOUR) + b"x" * (MAX_V2_BODY_BYTES - 12)), FOUR, id="longest"),
    pytest.param(v2(b"", command=0x20, family=0), NOTHING, id="2.2 LOCAL"),
    pytest.param(v2(v2_body(FOUR), command=0x20), NOTHING, id="2.2 LOCAL with addresses"),
    pytest.param(v2(b"anything", family=0), NOTHING, id="2.2 UNSPEC"),
    pytest.param(v2(b"\0" * 216, family=0x31), NOTHING, id="2.2 Unix stream"),
]

BAD = [
    pytest.param(b"GET / HTTP/1.1\r\n", "does not begin with", id="no header"),
    pytest.param(b"\x16\x03\x01", "does not begin with", id="TLS"),
    pytest.param(b"PROXX", "does not begin with", id="nearly version 1"),
    pytest.param(SIGNATURE[:11] + b"x", "does not begin with", id="nearly version 2"),
    pytest.param(b"PROXY " + b"x" * 101, "no end within 107", id="2.1 no end"),
    pytest.param(b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n", "no end within 107", id="2.1 too long"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n", "malformed", id="2.1 LF alone"),
    pytest.param(b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n", "malformed", id="2.1 two spaces"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n", "malformed", id="2.1 a port too few"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n", "malformed", id="2.1 a word too many"),
    pytest.param(b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", "malformed", id="2.1 UDP"),
    pytest.param(b"PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n", "malformed", id="2.1 lower case"),
    pytest.param(b"PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n", "bad TCP4 address", id="2.1 wrong family"),
    pytest.param(b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", "bad TCP6 address", id="2.1 wrong family 6"),
    pytest.param(b"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", "bad TCP4 address", id="2.1 leading zero"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n", "bad port", id="2.1 port too big"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", "bad port", id="2.1 port with a zero"),
    pytest.param(v2(v2_body(FOUR), command=0x31), "version 3", id="2.2 version 3"),
    pytest.param(v2(v2_body(FOUR), command=0x22), "command 2", id="2.2 command 2"),
    pytest.param(v2(v2_body(FOUR), family=0x12), "no stream connection", id="2.2 UDP"),
    pytest.param(v2(v2_body(FOUR), family=0x41), "no stream connection", id="2.2 family 4"),
    pytest.param(v2(b"x" * 11), "its addresses have 12", id="2.2 IPv4 too short"),
    pytest.param(v2(b"x" * 35, family=0x21), "its addresses have 36", id="2.2 IPv6 too short"),
    pytest.param(v2(b"", length=MAX_V2_BODY_BYTES + 1), "at most 4096", id="2.2 too long"),
]


def parse(*pieces: bytes) -> tuple[ProxyInfo, bytes] | None:
    """Feed pieces up to the result; what is left of the last piece and all further pieces are the rest."""
    parser = ProxyHeaderParser()
    for number, piece in enumerate(pieces):
        found = parser.feed(piece)
        if found is not None:
            return found[0], found[1] + b"".join(pieces[number + 1 :])
    return None


@pytest.mark.parametrize(("header", "info"), GOOD)
def test_a_header_says_the_same_whole_split_anywhere_and_byte_by_byte(header: bytes, info: ProxyInfo) -> None:
    stream = header + b"GET / HTTP/1.1\r\n"
    expected = (info, b"GET / HTTP/1.1\r\n")
    assert parse(stream) == expected
    assert parse(*[stream[at : at + 1] for at in range(len(stream))]) == expected
    for at in range(1, min(len(stream), 300)):
        assert parse(stream[:at], stream[at:]) == expected
    assert parse(header[:-1]) is None


@pytest.mark.parametrize(("header", "reason"), BAD)
def test_what_is_no_header_is_refused_whole_and_byte_by_byte(header: bytes, reason: str) -> None:
    with pytest.raises(ProxyHeaderError, match=reason):
        parse(header)
    with pytest.raises(ProxyHeaderError, match=reason):
        parse(*[header[at : at + 1] for at in range(len(header))])


@given(st.one_of(st.binary(max_size=150), st.binary(max_size=150).map(lambda more: SIGNATURE + more)), st.data())
def test_any_bytes_in_any_pieces_end_the_same(stream: bytes, data: st.DataObject) -> None:
    def outcome(*pieces: bytes) -> object:
        try:
            return parse(*pieces)
        except ProxyHeaderError:
            return "refused"

    at = data.draw(st.integers(min_value=0, max_value=len(stream)))
    whole = outcome(stream)
    assert outcome(stream[:at], stream[at:]) == whole
    assert outcome(*[stream[at : at + 1] for at in range(len(stream))]) == whole


@given(
    addresses=st.one_of(
        st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
    ),
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
)
def test_both_versions_of_the_same_addresses_say_the_same(addresses: tuple[Any, Any], ports: tuple[int, int]) -> None:
    version = addresses[0].version
    line = f"PROXY TCP{version} {addresses[0]} {addresses[1]} {ports[0]} {ports[1]}\r\n".encode()
    info = ProxyInfo((str(addresses[0]), ports[0]), (str(addresses[1]), ports[1]))
    binary = v2(v2_body(info), family=0x11 if version == 4 else 0x21)
    assert parse(line) == parse(binary)


class Real(asyncio.Protocol):
    """The protocol behind the preface; records."""

    def __init__(self, peer: SocketAddress | None, local: SocketAddress | None) -> None:
        self.info = ProxyInfo(peer, local)
        self.made = 0
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made += 1

    def data_received(self, data: bytes) -> None:
        self.data += data


class FakeTransport(asyncio.Transport):
    """Knows its peer and its protocol, and whether it was aborted."""

    def __init__(self, peer: object) -> None:
        super().__init__({"peername": peer})
        self.protocol: asyncio.BaseProtocol | None = None
        self.aborted = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


def connected(peer: object = ("10.0.0.1", 5000)) -> tuple[ProxyPreface, FakeTransport]:
    preface = ProxyPreface(Connections(Core(EMPTY)), lambda address: address in (b"10.0.0.1", b"unix"), Real)
    transport = FakeTransport(peer)
    preface.connection_made(transport)
    return preface, transport


def real_of(transport: FakeTransport) -> Real:
    assert isinstance(transport.protocol, Real)
    return transport.protocol


async def test_the_real_protocol_takes_over_with_peer_and_rest() -> None:
    preface, transport = connected()
    preface.data_received(V1_FOUR[:10])
    assert transport.protocol is None
    preface.data_received(V1_FOUR[10:] + b"GET /")
    real = real_of(transport)
    assert (real.info, real.made, real.data) == (FOUR, 1, b"GET /")


async def test_no_address_in_the_header_leaves_the_connection_its_own() -> None:
    preface, transport = connected()
    preface.data_received(v2(b"", command=0x20, family=0))
    real = real_of(transport)
    assert (real.info, real.made, real.data) == (NOTHING, 1, b"")


@pytest.mark.parametrize("peer", ["", None, b""])
async def test_a_balancer_may_come_over_a_unix_socket(peer: object) -> None:
    preface, transport = connected(peer)
    preface.data_received(V2_FOUR)
    assert real_of(transport).info == FOUR


async def test_case_42_a_peer_that_is_not_listed_is_closed_and_not_read() -> None:
    preface, transport = connected(("203.0.113.5", 5000))
    assert transport.aborted
    preface.data_received(V1_FOUR)
    assert transport.protocol is None


async def test_a_connection_without_a_header_is_closed() -> None:
    preface, transport = connected()
    preface.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert transport.aborted
    preface.data_received(V1_FOUR)
    assert transport.protocol is None


async def test_a_real_protocol_that_closes_at_once_gets_no_data() -> None:
    class Closing(Real):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.abort()  # type: ignore[attr-defined]  # BaseTransport has no abort

    preface = ProxyPreface(Connections(Core(EMPTY)), lambda _: True, Closing)
    transport = FakeTransport(("10.0.0.1", 1))
    preface.connection_made(transport)
    preface.data_received(V1_FOUR + b"GET /")
    assert real_of(transport).data == b""


async def test_a_header_that_does_not_come_ends_the_connection() -> None:
    preface, transport = connected()
    preface.check(preface.deadline - 0.1)
    assert not transport.aborted
    preface.check(preface.deadline)
    assert transport.aborted


async def test_the_deadline_ends_with_the_header() -> None:
    connections = Connections(Core(EMPTY))
    preface = ProxyPreface(connections, lambda _: True, Real)
    preface.connection_made(FakeTransport(("10.0.0.1", 1)))
    assert connections.open == {preface}
    preface.data_received(V1_FOUR)
    assert connections.open == set()


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_on_a_real_loop_the_connection_changes_hands(kind: str) -> None:
    import uvloop

    class Echo(Real):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(repr(self.info.peer).encode() + data)  # type: ignore[attr-defined]
            self.transport.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        connections = Connections(Core(EMPTY))
        server = await loop.create_server(
            lambda: ProxyPreface(connections, lambda ip: ip == b"127.0.0.1", Echo), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), family=socket.AF_INET)
        writer.write(V2_FOUR)
        await writer.drain()
        writer.write(b"!")
        assert await reader.read() == b"('192.0.2.7', 56324)!"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if kind == "uvloop" else asyncio.new_event_loop) as runner:
        runner.run(main())
