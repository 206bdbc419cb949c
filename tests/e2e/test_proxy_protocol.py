"""The word of proxies in front, through the whole gateway: the PROXY protocol, and X-Forwarded-For of trusted peers."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path
from typing import Any

import pytest

from propylon import Gateway
from propylon.inbound import proxy_protocol
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_nothing_upstream
from tests.support.client import RawClient, request_bytes
from tests.support.front import Front, Fronts
from tests.support.upstream import UpstreamConnection, answer, ok

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 50000 8443\r\n"
GET = request_bytes(b"/x")


def v2(
    peer: str, local: str, ports: tuple[int, int] = (50000, 8443), *, tlvs: bytes = b"", local_command: int = 0
) -> bytes:
    """A header of version 2 as HAProxy writes it; `local_command` 1 makes it LOCAL."""
    addresses = [ipaddress.ip_address(each) for each in (peer, local)]
    block = b"".join(each.packed for each in addresses) + b"".join(port.to_bytes(2, "big") for port in ports) + tlvs
    family = b"\x11" if addresses[0].version == 4 else b"\x21"
    command = b"\x20" if local_command else b"\x21"
    return SIGNATURE + command + family + len(block).to_bytes(2, "big") + block


V2 = v2("203.0.113.7", "198.51.100.1")
V2_TLVS = v2("203.0.113.7", "198.51.100.1", tlvs=b"\x04\x00\x40" + bytes(64))


async def behind(front: Fronts, *trusted: str, listen: str = "127.0.0.1:0", **keys: Any) -> Front:
    """A front that takes the PROXY protocol from `trusted`, by default from all of loopback."""
    listener = {"address": listen, "proxy_protocol": {"from": list(trusted or ("127.0.0.0/8",))}}
    return await front(listen=listener, **keys)


def told(f: Front, name: str = "x-forwarded-for") -> list[str | None]:
    """What the service was told in each request."""
    return [request.header(name) for request in f.upstream.requests]


async def assert_cut(f: Front, client: RawClient) -> None:
    """Not one byte is answered, the connection is closed, and nothing went to the service."""
    assert await client.until_closed() == b""
    await assert_nothing_upstream(f.upstream)


# from trusted peers


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("header", "client_address", "port"),
    [
        pytest.param(V1, "203.0.113.7", "8443", id="v1 TCP4"),
        pytest.param(b"PROXY TCP6 2001:DB8::0:7 2001:db8::1 50000 8443\r\n", "2001:db8::7", "8443", id="v1 TCP6"),
        pytest.param(b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n", "203.0.113.7", "2", id="v1 mapped"),
        pytest.param(b"PROXY UNKNOWN\r\n", "127.0.0.1", None, id="v1 UNKNOWN"),
        pytest.param(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1", None, id="v1 UNKNOWN with addresses"),
        pytest.param(V2, "203.0.113.7", "8443", id="v2 IPv4"),
        pytest.param(v2("2001:db8::7", "2001:db8::1"), "2001:db8::7", "8443", id="v2 IPv6"),
        pytest.param(V2_TLVS, "203.0.113.7", "8443", id="v2 TLVs"),
        pytest.param(v2("203.0.113.7", "198.51.100.1", local_command=1), "127.0.0.1", None, id="v2 LOCAL"),
        pytest.param(SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1", None, id="v2 LOCAL, no address"),
        pytest.param(SIGNATURE + b"\x21\x00\x00\x00", "127.0.0.1", None, id="v2 UNSPEC"),
        pytest.param(SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), "127.0.0.1", None, id="v2 Unix addresses"),
    ],
)  # fmt: skip
async def test_the_service_is_told_the_client_that_the_header_names(
    front: Fronts, header: bytes, client_address: str, port: str | None
) -> None:
    f = await behind(front)
    client = await f.client()
    assert (await client.ask(header + GET, "GET")).status == 200
    assert told(f) == [client_address]
    assert told(f, "x-forwarded-port") == [port or str(f.port)]
    assert told(f, "x-forwarded-proto") == ["http"]


@BOTH_LOOPS
async def test_the_header_holds_for_every_request_of_its_connection(front: Fronts) -> None:
    f = await behind(front)
    client = await f.client()
    await client.send(V1 + GET + GET)
    for _ in range(2):
        assert (await client.reply()).status == 200
    assert (await client.ask(GET)).status == 200
    other = await f.client()
    assert (await other.ask(V1.replace(b".7 ", b".8 ") + GET, "GET")).status == 200
    assert told(f) == ["203.0.113.7"] * 3 + ["203.0.113.8"]
    assert len(f.upstream.connections) == 1


@BOTH_LOOPS
@pytest.mark.parametrize("header", [V1, V2, v2("2001:db8::7", "2001:db8::1", tlvs=b"\x04\x00\x02ab")])
async def test_the_header_may_come_in_any_pieces(front: Fronts, header: bytes) -> None:
    f = await behind(front)
    bytewise = await f.client()
    await bytewise.send_bytewise(header + GET)
    assert (await bytewise.reply()).status == 200
    for cut in range(1, len(header) + 2):
        client = await f.client()
        await client.send(header + GET, cuts=[cut])
        assert (await client.reply()).status == 200
        client.close()
    assert len(set(told(f))) == 1
    assert told(f)[0] in ("203.0.113.7", "2001:db8::7")


@BOTH_LOOPS
async def test_a_body_behind_the_header_in_one_packet_arrives(front: Fronts) -> None:
    f = await behind(front, script=answer(lambda request: ok(bytes(request.body))))
    client = await f.client()
    body = bytes(range(256)) * 1000
    await client.send_all(V2 + request_bytes(b"/", method=b"POST", body=body))
    assert (await client.reply("POST")).body == body


async def test_routes_see_the_client_that_the_header_names(front: Fronts) -> None:
    f = await behind(front, route={"clients": ["203.0.113.0/24"]})
    assert (await (await f.client()).ask(V1 + GET, "GET")).status == 200
    assert (await (await f.client()).ask(V1.replace(b"203.0.113.7", b"198.51.100.7") + GET, "GET")).status == 404


async def test_a_second_header_is_no_request(front: Fronts) -> None:
    f = await behind(front)
    client = await f.client()
    assert (await client.ask(V1 + V1.replace(b".7 ", b".8 ") + GET, "GET")).status == 400
    await client.assert_closed()
    await assert_nothing_upstream(f.upstream)


async def test_listeners_without_the_protocol_know_nothing_of_it(front: Fronts) -> None:
    f = await front(listen=["127.0.0.1:0", {"address": "127.0.0.1:0", "proxy_protocol": {"from": ["127.0.0.1"]}}])
    plain, proxied = (int(address.rpartition(":")[2]) for address in f.gateway.addresses)
    async with RawClient(plain) as client:
        assert (await client.ask(V1 + GET, "GET")).status == 400
    async with RawClient(plain) as client, RawClient(proxied) as other:
        assert (await client.ask(GET)).status == (await other.ask(V1 + GET, "GET")).status == 200
    assert sorted(str(each) for each in told(f)) == ["127.0.0.1", "203.0.113.7"]


async def test_an_ipv6_balancer_is_believed(front: Fronts) -> None:
    f = await behind(front, "::1", listen="[::1]:0")
    async with RawClient(f.port, "::1") as client:
        assert (await client.ask(V1 + GET, "GET")).status == 200
    assert told(f) == ["203.0.113.7"]


@BOTH_LOOPS
async def test_a_balancer_on_a_unix_socket_is_believed(front: Fronts, tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    f = await behind(front, "unix", listen=f"unix:{path}")
    async with RawClient(0, unix=path) as client:
        assert (await client.ask(V1 + GET, "GET")).status == 200
    async with RawClient(0, unix=path) as client:
        assert (await client.ask(b"PROXY UNKNOWN\r\n" + GET, "GET")).status == 200
    assert told(f) == ["203.0.113.7", "unknown"]


# from anybody else, and what is no header


@BOTH_LOOPS
@pytest.mark.parametrize("data", [V1 + GET, V2 + GET, GET, b""], ids=["v1", "v2", "none", "nothing sent"])
@pytest.mark.parametrize("listener", ["tcp", "unix"])
async def test_an_untrusted_peer_is_refused_whatever_it_sends(
    front: Fronts, tmp_path: Path, data: bytes, listener: str
) -> None:
    path = str(tmp_path / "p.sock")
    f = await behind(
        front, "192.0.2.0/24", "2001:db8::/32", listen=f"unix:{path}" if listener == "unix" else "127.0.0.1:0"
    )
    async with RawClient(0, unix=path) if listener == "unix" else RawClient(f.port) as client:
        await client.send(data)
        await assert_cut(f, client)


@BOTH_LOOPS
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GET, id="a request without a header"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", id="TLS"),
        pytest.param(b"PROXY TCP4 203.0.113.7\r\n" + GET, id="v1 cut"),
        pytest.param(V1.replace(b"\r\n", b"\n") + GET, id="v1 bare LF"),
        pytest.param(V1.replace(b"PROXY", b"proxy") + GET, id="v1 lower case"),
        pytest.param(V1.replace(b"203.0.113.7", b"203.0.113.256") + GET, id="v1 bad address"),
        pytest.param(V1.replace(b"203.0.113.7", b"2001:db8::1") + GET, id="v1 wrong family"),
        pytest.param(V1.replace(b"203.0.113.7", b"evil.example") + GET, id="v1 name"),
        pytest.param(V1.replace(b"50000", b"65536") + GET, id="v1 bad port"),
        pytest.param(V1.replace(b"50000", b"050000") + GET, id="v1 port with zero"),
        pytest.param(V1.replace(b"TCP4", b"UDP4") + GET, id="v1 UDP"),
        pytest.param(V1.replace(b" 8443", b" 8443 1") + GET, id="v1 one word more"),
        pytest.param(b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n" + GET, id="v1 too long"),
        pytest.param(SIGNATURE + b"\x11" + V2[13:] + GET, id="v2 version 1"),
        pytest.param(SIGNATURE + b"\x2f" + V2[13:] + GET, id="v2 unknown command"),
        pytest.param(SIGNATURE + b"\x21\x12" + V2[14:] + GET, id="v2 datagrams"),
        pytest.param(SIGNATURE + b"\x21\x11\x00\x04\x01\x02\x03\x04" + GET, id="v2 too short"),
        pytest.param(SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535), id="v2 too long"),
        pytest.param(SIGNATURE[:-1] + b"\r" + V2[12:] + GET, id="v2 bad signature"),
    ],
)
async def test_what_is_no_header_is_cut_without_an_answer(front: Fronts, data: bytes) -> None:
    f = await behind(front)
    client = await f.client()
    await client.send(data)
    await assert_cut(f, client)
    again = await f.client()
    assert (await again.ask(V1 + GET, "GET")).status == 200


@BOTH_LOOPS
@pytest.mark.parametrize("data", [b"", V1[:10], V2[:20], V1, V2])
async def test_a_peer_that_ends_with_or_before_its_header_is_let_go(front: Fronts, data: bytes) -> None:
    f = await behind(front)
    client = await f.client()
    await client.send(data)
    client.half_close()
    await assert_cut(f, client)


@BOTH_LOOPS
@pytest.mark.parametrize("data", [b"", b"PRO", V2[:-1]])
async def test_a_header_that_does_not_come_is_waited_for_only_so_long(
    front: Fronts, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(proxy_protocol, "HEADER_TIMEOUT_S", 0.2)
    f = await behind(front)
    client = await f.client()
    await client.send(data)
    await assert_cut(f, client)


@BOTH_LOOPS
@pytest.mark.parametrize("data", [b"", V1[:10], V1])
async def test_a_gateway_that_stops_closes_connections_whose_header_has_not_come(front: Fronts, data: bytes) -> None:
    f = await behind(front)
    async with RawClient(f.port) as ready, RawClient(f.port) as client:
        await client.send(data)
        assert (await ready.ask(V1 + GET, "GET")).status == 200  # whoever connected before is accepted by now
        await f.gateway.stop()
        await client.assert_closed(1)


@BOTH_LOOPS
async def test_connections_whose_header_has_not_come_count_for_the_limit(front: Fronts) -> None:
    f = await behind(front, limits={"connections": 2})
    async with RawClient(f.port) as first, RawClient(f.port) as waiting, RawClient(f.port) as third:
        assert (await first.ask(V1 + GET, "GET")).status == 200
        await third.send(V1 + GET)
        rest = await third.until_closed()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 503 ")
        assert (await waiting.ask(V1 + GET, "GET")).status == 200


# what trusted proxies say in fields


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("trusted", "sent", "told_for"),
    [
        pytest.param([], [b"x-forwarded-for: 203.0.113.7"], "127.0.0.1", id="nobody is trusted"),
        pytest.param(["10.0.0.0/8"], [b"x-forwarded-for: 203.0.113.7"], "127.0.0.1", id="the peer is not"),
        pytest.param(["127.0.0.1"], [], "127.0.0.1", id="a proxy that says nothing"),
        pytest.param(["127.0.0.1"], [b"x-forwarded-for: 203.0.113.7"], "203.0.113.7, 127.0.0.1", id="one hop"),
        pytest.param(
            ["127.0.0.1"], [b"x-forwarded-for: 6.6.6.6, 203.0.113.7"], "203.0.113.7, 127.0.0.1", id="a lie before it"
        ),
        pytest.param(
            ["127.0.0.1", "10.0.0.0/8"],
            [b"x-forwarded-for: 6.6.6.6, 203.0.113.7, 10.1.1.1"],
            "203.0.113.7, 10.1.1.1, 127.0.0.1",
            id="two hops",
        ),
        pytest.param(
            ["127.0.0.1", "10.0.0.0/8"],
            [b"x-forwarded-for: 6.6.6.6, 203.0.113.7", b"X-Forwarded-For: 10.1.1.1"],
            "203.0.113.7, 10.1.1.1, 127.0.0.1",
            id="two lines",
        ),
        pytest.param(["127.0.0.1"], [b"x-forwarded-for: nonsense"], "127.0.0.1", id="no address"),
        pytest.param(
            ["127.0.0.1", "2001:db8::/32"],
            [b"x-forwarded-for: [2001:DB8::7]:4711"],
            "2001:db8::7, 127.0.0.1",
            id="IPv6 with a port",
        ),
        pytest.param(["127.0.0.1"], [b"forwarded: for=203.0.113.7"], "203.0.113.7, 127.0.0.1", id="RFC 7239"),
    ],
)  # fmt: skip
async def test_chains_are_read_as_far_as_they_are_trusted(
    front: Fronts, trusted: list[str], sent: list[bytes], told_for: str
) -> None:
    f = await front(**({"trusted_proxies": trusted} if trusted else {}))
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", *sent))).status == 200
    assert told(f) == [told_for]


async def test_scheme_host_and_port_of_a_trusted_proxy_are_passed_on_and_of_others_are_not(front: Fronts) -> None:
    lines = (b"x-forwarded-for: 203.0.113.7", b"x-forwarded-proto: https", b"x-forwarded-host: shop.example")
    for trusted, expected in (
        (["127.0.0.1"], ("https", "shop.example", "443")),
        (["10.0.0.1"], ("http", "a.example", None)),
    ):
        f = await front(trusted_proxies=trusted)
        assert (await (await f.client()).ask(request_bytes(b"/", *lines))).status == 200
        names = ("x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")
        found = tuple(each for name in names for each in told(f, name))
        assert found == (*expected[:2], expected[2] or str(f.port))


@BOTH_LOOPS
async def test_the_chain_begins_where_the_proxy_header_ends(front: Fronts) -> None:
    f = await behind(front, trusted_proxies=["203.0.113.7"])
    line = b"x-forwarded-for: 6.6.6.6, 192.0.2.9"
    assert (await (await f.client()).ask(V1 + request_bytes(b"/", line), "GET")).status == 200
    stranger = V1.replace(b".7 ", b".8 ")
    assert (await (await f.client()).ask(stranger + request_bytes(b"/", line), "GET")).status == 200
    # The balancer itself, trusted for its PROXY header, is not trusted for a field by that.
    assert (await (await f.client()).ask(b"PROXY UNKNOWN\r\n" + request_bytes(b"/", line), "GET")).status == 200
    assert told(f) == ["192.0.2.9, 203.0.113.7", "203.0.113.8", "127.0.0.1"]


@BOTH_LOOPS
async def test_a_trusted_proxy_on_a_unix_socket_is_believed(front: Fronts, tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    f = await front(listen=f"unix:{path}", trusted_proxies=["unix"])
    async with RawClient(0, unix=path) as client:
        assert (await client.ask(request_bytes(b"/", b"x-forwarded-for: 6.6.6.6, 203.0.113.7"))).status == 200
    assert told(f) == ["203.0.113.7, unknown"]


@BOTH_LOOPS
async def test_gateways_in_a_chain_tell_the_first_ones_client(front: Fronts) -> None:
    last = await front(trusted_proxies=["127.0.0.0/8"], name="last")
    middle = await front(route={"target": last.gateway.url}, trusted_proxies=["127.0.0.1"], name="middle")
    first = Gateway(listen="[::1]:0", name="first", timeouts={"drain": "200ms"})
    await front.start(first.route("/*", target=middle.gateway.url))
    async with RawClient(first.port, "::1") as client:
        assert (await client.ask(request_bytes(b"/", b"x-forwarded-for: 6.6.6.6"))).status == 200
    assert told(last) == ["::1, 127.0.0.1, 127.0.0.1"]
    assert told(last, "via") == ["1.1 first, 1.1 middle, 1.1 last"]
    assert told(last, "x-forwarded-host") == ["a.example"]


async def test_a_proxied_connection_that_is_cut_cuts_the_endpoints(front: Fronts) -> None:
    async def silent(connection: UpstreamConnection) -> None:
        await connection.request()

    f = await behind(front, script=silent)
    for number, way in zip(itertools.count(), ("reset", "close")):
        client = await f.client()
        await client.send(V1 + GET)
        await f.upstream.until(lambda number=number: len(f.upstream.requests) > number, "the request")
        getattr(client, way)()
        await f.upstream.connections[number].gone(1)
