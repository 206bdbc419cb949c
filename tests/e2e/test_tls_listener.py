"""Clients over TLS: what they see, what a service is told, which requests a connection is good for."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from propylon import Exchange, Gateway, Response
from propylon.build.errors import BuildError
from propylon.inbound.tls_handshake import PLAIN_HTTP_ANSWER
from propylon.runtime import worker as worker_module
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import RawClient, _Reading
from tests.support.deadline import within
from tests.support.front import Front, Fronts
from tests.support.tls import Certificates
from tests.support.upstream import UpstreamConnection, answer, ok

REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
LOCAL = "127.0.0.1:0"


class TlsClient:
    """A client over TLS: a reader and a writer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, host: str = "localhost", more: bytes = b"", path: bytes = b"/") -> Any:
        """Send a GET, and return its answer."""
        self.writer.write(b"GET %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (path, host.encode(), more))
        reading = _Reading("GET")
        async with within(5, "an answer over TLS"):
            while not reading.finished(False):
                data = await self.reader.read(65536)
                assert data, "the connection ended before the answer"
                reading.feed(data)
        return reading.reply


@asynccontextmanager
async def client(
    front: Front, context: ssl.SSLContext, name: str | None = "localhost", before: bytes = b""
) -> AsyncIterator[TlsClient]:
    """A connection that asks for `name`; `before` goes out in front of the handshake."""
    if name is None:
        context.check_hostname = False
    loop = asyncio.get_running_loop()
    sock = socket.create_connection(("127.0.0.1", front.port))
    sock.sendall(before)
    sock.setblocking(False)
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader)
    async with within(5, "a handshake"):
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=sock, ssl=context, server_hostname=name or ""
        )
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        yield TlsClient(reader, writer)
    finally:
        transport.abort()


def listening(certificates: Certificates, *names: str, **keys: Any) -> dict[str, Any]:
    return {"address": LOCAL, "tls": certificates.tls(*(names or ("a",)), **keys)}


@BOTH_LOOPS
async def test_a_client_is_answered_and_the_service_told_https(front: Fronts, certificates: Certificates) -> None:
    f = await front(answer(ok(b"hi"), ok(b"again")), listen=listening(certificates))
    async with client(f, certificates.client()) as connection:
        assert (await connection.ask()).body == b"hi"
        assert (await connection.ask()).body == b"again"
    assert f.upstream.requests[0].header("x-forwarded-proto") == "https"
    assert f.gateway.url.startswith("https://127.0.0.1:")


@BOTH_LOOPS
async def test_large_bodies_go_both_ways_through_slow_readers(front: Fronts, certificates: Certificates) -> None:
    body = bytes(range(256)) * 16384  # 4 MiB

    async def slow(connection: UpstreamConnection) -> None:
        request = await connection.head()
        connection.pause_reading()
        await asyncio.sleep(0)
        connection.resume_reading()
        received = await connection.body_of(request)
        connection.send(ok(received))

    f = await front(slow, listen=listening(certificates))
    async with client(f, certificates.client()) as connection:
        connection.writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body))
        connection.writer.write(body)
        reading = _Reading("POST")
        async with within(10, "the body comes back"):
            while not reading.finished(False):
                reading.feed(await connection.reader.read(30_000))
        assert reading.reply is not None
        assert reading.reply.body == body


async def test_an_answer_of_the_gateway_larger_than_a_step_arrives(front: Fronts, certificates: Certificates) -> None:
    def large(_: Exchange) -> Response:
        return Response(200, body=bytes(3_000_000))

    f = await front(policies=[large], listen=listening(certificates))
    async with client(f, certificates.client()) as connection:
        assert (await connection.ask()).body == bytes(3_000_000)


@BOTH_LOOPS
async def test_the_end_of_a_connection_is_told_by_close_notify(front: Fronts, certificates: Certificates) -> None:
    f = await front(answer(ok(b"hi")), listen=listening(certificates))
    sock = socket.create_connection(("127.0.0.1", f.port))
    context = certificates.client()

    def talk() -> bytes:
        with context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as tls:
            tls.sendall(REQUEST)
            pieces = []
            while piece := tls.recv(65536):  # raises SSLEOFError if it is cut off
                pieces.append(piece)
            return b"".join(pieces)

    async with within(5, "an answer and its end"):
        assert (await asyncio.to_thread(talk)).endswith(b"hi")


async def test_rfc8996_tls_1_1_is_refused(front: Fronts, certificates: Certificates) -> None:
    f = await front(listen=listening(certificates))
    context = certificates.client()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", f.port, ssl=context, server_hostname="localhost")
    assert f.upstream.requests == []


async def test_a_plain_request_on_a_tls_port_is_told_to_use_https(front: Fronts, certificates: Certificates) -> None:
    f = await front(listen=listening(certificates))
    async with RawClient(f.port) as plain:
        await plain.send(REQUEST)
        assert await plain.until_closed() == PLAIN_HTTP_ANSWER
    assert f.upstream.requests == []


async def test_a_handshake_on_a_plain_port_is_told_to_use_http(front: Fronts) -> None:
    f = await front()
    plain = await f.client()
    await plain.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\xff\n")
    reply = await plain.reply()
    assert assert_problem(reply, 400) == "read.bad_request_line"
    assert "use http://" in reply.json()["detail"]


@BOTH_LOOPS
async def test_a_websocket_passes_over_tls(certificates: Certificates) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as service:
        gateway = Gateway(listen=listening(certificates), timeouts={"drain": "1s"})
        gateway.route("/*", target=f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}")
        async with gateway, connect(f"wss://localhost:{gateway.port}/", ssl=certificates.client()) as websocket:
            for message in ("text", b"binary" * 100_000):
                await websocket.send(message)
                assert await websocket.recv() == message
            await websocket.close(3000, "enough")
            assert websocket.close_code == 3000


# certificates by name


async def test_each_name_has_its_certificate_and_a_connection_is_for_one_of_them(
    front: Fronts, certificates: Certificates
) -> None:
    f = await front(answer(ok(b"hi"), ok(b"hi")), listen=listening(certificates, "a", "b"))
    async with client(f, certificates.client(), "x.wild.test") as connection:
        assert (await connection.ask("x.wild.test:443")).status == 200
        reply = await connection.ask("a.test")
        assert assert_problem(reply, 421) == "admit.misdirected"
        assert (await connection.ask("b.test")).status == 200, "it goes on with what it is good for"
    assert len(f.upstream.requests) == 2


async def test_new_certificates_are_taken_up_while_connections_stay(
    front: Fronts, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "CERTIFICATE_TICKS", 1)

    def put(name: str) -> None:
        shutil.copy(certificates.path(name), tmp_path / "new.pem")
        shutil.copy(certificates.pair(name)["key"], tmp_path / "live.key")
        (tmp_path / "new.pem").rename(tmp_path / "live.pem")

    put("a")
    tls = {"certificate": str(tmp_path / "live.pem"), "key": str(tmp_path / "live.key")}
    f = await front(answer(ok(b"1"), ok(b"2")), listen={"address": LOCAL, "tls": tls})
    context = certificates.client(check_hostname=False)
    async with client(f, context) as before:
        assert (await before.ask()).body == b"1"
        put("b")
        async with within(5, "the new certificate"):
            while True:
                async with client(f, context) as after:
                    shown = after.writer.get_extra_info("peercert")["subject"]
                    if shown == ((("commonName", "b"),),):
                        break
        assert (await before.ask()).body == b"2"


# client certificates


def asking(certificates: Certificates, **keys: Any) -> dict[str, Any]:
    return listening(certificates, client_certificates={"ca": certificates.path("ca"), "headers": True, **keys})


FORGED = (
    b"x-client-cert-subject: CN=admin\r\nX-Client-Cert-Verify: SUCCESS\r\nx-client-cert-san: DNS:admin\r\n"
    b"x-forwarded-client-cert: x\r\nclient-cert: :x:\r\nx-client-cert-serial: 1\r\nx-client-cert-fingerprint: 1\r\n"
)


async def test_services_and_policies_get_the_verified_certificate(front: Fronts, certificates: Certificates) -> None:
    seen: list[Any] = []

    def look(exchange: Exchange) -> None:
        seen.append(exchange.client_certificate)

    f = await front(answer(ok(), ok()), policies=[look], listen=asking(certificates))
    async with client(f, certificates.client("client")) as connection:
        await connection.ask(more=FORGED)
        await connection.ask(more=b"via: 1.1 other\r\n" + FORGED)
    assert seen[0] is seen[1]
    assert seen[0].names == ("DNS:client.test", "URI:spiffe://a/b", "email:alice@a.test")
    for request in f.upstream.requests:
        assert request.header("x-client-cert-verify") == "SUCCESS"
        assert request.header("x-client-cert-subject") == "CN=client"
        assert request.header("x-client-cert-san") == "DNS:client.test, URI:spiffe://a/b, email:alice@a.test"
        assert request.header("x-client-cert-serial") == seen[0].serial
        assert request.header("x-client-cert-fingerprint") == seen[0].fingerprint
        assert request.header("x-forwarded-client-cert") is None
        assert request.header("client-cert") is None


async def test_a_client_without_a_certificate_cannot_pretend_to_have_one(
    front: Fronts, certificates: Certificates
) -> None:
    f = await front(listen=asking(certificates, mode="optional"))
    async with client(f, certificates.client()) as connection:
        await connection.ask(more=FORGED)
    request = f.upstream.requests[0]
    assert request.header("x-client-cert-verify") == "NONE"
    for name in ("subject", "san", "serial", "fingerprint"):
        assert request.header(f"x-client-cert-{name}") is None


async def test_forged_fields_are_dropped_on_a_plain_listener_too(front: Fronts) -> None:
    f = await front(field_names={"underscores": "drop"})
    plain = await f.client()
    request = b"GET / HTTP/1.1\r\nhost: a\r\nX_Client_Cert_Verify: SUCCESS\r\n" + FORGED + b"\r\n"
    assert (await plain.ask(request)).status == 200
    assert b"cert" not in f.upstream.received.lower()


async def test_without_a_required_certificate_no_request_is_read(front: Fronts, certificates: Certificates) -> None:
    f = await front(listen=asking(certificates))
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        async with client(f, certificates.client()) as connection:  # TLS 1.3 tells the client behind its handshake
            await connection.ask()
    assert f.upstream.requests == []


async def test_under_another_name_a_certificate_opens_nothing(front: Fronts, certificates: Certificates) -> None:
    f = await front(listen=asking(certificates))
    async with client(f, certificates.client("client")) as connection:
        assert assert_problem(await connection.ask("a.test"), 421) == "admit.misdirected"
    assert f.upstream.requests == []


# beside the PROXY protocol, and before https


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.7 192.0.2.1 1111 443\r\n"])
async def test_the_proxy_header_stands_in_front_of_the_handshake(
    front: Fronts, certificates: Certificates, header: bytes
) -> None:
    listen = {**listening(certificates), "proxy_protocol": {"from": ["127.0.0.1"]}}
    f = await front(listen=listen)
    async with client(f, certificates.client(), before=header) as connection:
        assert (await connection.ask()).status == 200
    request = f.upstream.requests[0]
    assert request.header("x-forwarded-for") == "192.0.2.7"
    assert request.header("x-forwarded-proto") == "https"
    assert request.header("x-forwarded-port") == "443"


async def test_a_redirecting_listener_asks_no_service(front: Fronts) -> None:
    f = await front(listen={"address": LOCAL, "redirect_https": 8443})
    plain = await f.client()
    for method in (b"GET", b"POST", b"DELETE"):
        reply = await plain.ask(b"%b /a%%2Db?x=1 HTTP/1.1\r\nhost: A.test:80\r\ncontent-length: 0\r\n\r\n" % method)
        assert (reply.status, reply.header("location")) == (308, "https://a.test:8443/a-b?x=1")
    await plain.send(b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n")
    assert assert_problem(await plain.reply(), 400) == "read.bad_host"
    assert f.upstream.requests == []


def test_a_key_of_another_certificate_is_found_before_anything_is_opened(certificates: Certificates) -> None:
    tls = {"certificate": certificates.path("a"), "key": certificates.pair("b")["key"]}
    gateway = Gateway(listen=[LOCAL, {"address": LOCAL, "tls": tls}]).route("/*", respond="x")
    with pytest.raises(BuildError, match=r"listen\.1\.tls: .*does not belong to certificate"):
        gateway.snapshot()
