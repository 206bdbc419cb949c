"""Who the client of a connection is, and what services are told about it."""

from __future__ import annotations

from typing import Any, cast

from tests.support.wire import GET, CheckedConnection, Wire


def test_a_proxy_protocol_header_tells_the_peer() -> None:
    wire = Wire(connect=False)
    wire.connection = CheckedConnection(wire.connections, (b"198.51.100.7", b"443"))
    wire.connection.connection_made(cast("Any", wire.transport))
    wire.feed(GET % 1)
    assert b"x-forwarded-for: 198.51.100.7\r\n" in wire.upstream.block


def test_a_unix_peer_has_no_address() -> None:
    wire = Wire(connect=False)
    wire.transport.extra = {"peername": "", "sockname": "/run/p.sock"}
    wire.connection.connection_made(cast("Any", wire.transport))
    assert repr(wire.connection) == "<ClientConnection unix idle>"


def test_the_origin_follows_the_host_of_each_request() -> None:
    wire = Wire(upstreams=2)
    for number, host in enumerate((b"a.example", b"b.example")):
        wire.feed(b"GET / HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
        assert b"x-forwarded-host: " + host + b"\r\n" in wire.upstreams[number].block
        wire.answers(number)
