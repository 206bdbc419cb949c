"""Endpoints over TLS, through the whole gateway: who is believed, what a client sees when nobody is, bodies, reuse."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from propylon import Gateway
from propylon.runtime import core
from tests.conftest import BOTH_LOOPS
from tests.e2e.test_dns_endpoints import DnsServer
from tests.outbound.conftest import make_ca, make_leaf, openssl
from tests.support.checks import assert_problem
from tests.support.client import ConnectionEnded, RawClient, request_bytes
from tests.support.deadline import PATIENCE, within
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import Script, ScriptedUpstream, UpstreamConnection, answer, chunked, ok

MEGABYTE = bytes(range(256)) * 4096
TLS_ALERT = b"\x15\x03"


@dataclass(frozen=True)
class Identity:
    """A certificate and its key: paths of PEM files."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Authorities:
    """What the tests' own CA has issued, and a CA nobody here trusts."""

    ca: str
    other_ca: str
    local: Identity  # for localhost, 127.0.0.1 and ::1
    named: Identity  # for api.test alone
    expired: Identity  # for 127.0.0.1, until yesterday
    self_signed: Identity  # for 127.0.0.1, vouched for by itself
    client: Identity


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    """Certificates made with the openssl command; a failure says what to install."""
    folder = tmp_path_factory.mktemp("tls")
    ca, other_ca = make_ca(folder, "ca"), make_ca(folder, "other")
    local = Identity(*make_leaf(folder, "local", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"))
    named = Identity(*make_leaf(folder, "named", "subjectAltName=DNS:api.test"))
    client = Identity(*make_leaf(folder, "client", "extendedKeyUsage=clientAuth"))
    return Authorities(ca, other_ca, local, named, _expired(folder), _self_signed(folder), client)


def _expired(folder: Path) -> Identity:
    _, key = make_leaf(folder, "expired", "subjectAltName=IP:127.0.0.1")
    path = folder / "expired-yesterday.pem"
    openssl(
        "x509", "-req", "-in", str(folder / "expired.csr"), "-CA", str(folder / "ca.pem"),
        "-CAkey", str(folder / "ca.key"), "-CAcreateserial", "-days", "-1",
        "-extfile", str(folder / "expired.ext"), "-out", str(path),
    )  # fmt: skip
    return Identity(str(path), key)


def _self_signed(folder: Path) -> Identity:
    path, key = folder / "self.pem", folder / "self.key"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path),
    )  # fmt: skip
    return Identity(str(path), str(key))


class TlsUpstream(ScriptedUpstream):
    """A scripted upstream that speaks TLS; `names` are the server names it was asked for, None for none."""

    def __init__(self, script: Script, identity: Identity, *, client_ca: str | None = None) -> None:
        super().__init__(script)
        self.names: list[str | None] = []
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(identity.certificate, identity.key)
        self.context.sni_callback = self._asked
        if client_ca is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)

    def _asked(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.names.append(name)

    @property
    def url(self) -> str:
        """The https URL of this upstream."""
        return f"https://{self.authority}"

    async def start(self) -> Self:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: UpstreamConnection(self), "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


async def through(front: Fronts, url: str, *, connect: str = "3s", dns: Any = None, **tls: Any) -> RawClient:
    """A client of a new gateway in front of `url`, with `tls` as the service's TLS settings."""
    keys = {"listen": "127.0.0.1:0", "timeouts": {"drain": "200ms"}} | ({"dns": dns} if dns else {})
    gateway = Gateway(**keys)
    gateway.service("secure", [url], **({"tls": tls} if tls else {}))
    gateway.route("/*", service="secure", policies=[{"timeout": {"connect": connect}}])
    return await front.client(await front.start(gateway))


async def assert_refused_with(client: RawClient, status: int, code: str, *secrets: bytes) -> None:
    """The client gets `code`, nothing of `secrets`, and may go on with its connection."""
    reply = await client.ask(request_bytes(b"/x", method=b"POST", body=b"confidential"))
    assert assert_problem(reply, status) == code
    for secret in (b"certificate", b"verify", b"ssl", b"SSL", *secrets):
        assert secret not in reply.body
    assert (reply.header("connection") or "") != "close"


# who is believed


@BOTH_LOOPS
async def test_https_in_capitals_is_https(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok(b"secret")), pki.local) as upstream:
        url = f"HTTPS://{upstream.authority}"
        reply = await (await through(front, url, ca=pki.ca)).ask(request_bytes())
        assert (reply.status, bytes(reply.body)) == (200, b"secret")
        gateway = Gateway(listen="127.0.0.1:0").route("/*", target=url)
        await assert_refused_with(await front.client(await front.start(gateway)), 502, "connect.tls")


@BOTH_LOOPS
async def test_an_endpoint_of_the_own_ca_is_spoken_to(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok(b"secret")), pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        reply = await client.ask(request_bytes(b"/x?y=1"))
        assert (reply.status, bytes(reply.body)) == (200, b"secret")
        assert upstream.requests[0].target == b"/x?y=1"
        assert upstream.requests[0].header("host") == upstream.authority
        assert upstream.requests[0].header("x-forwarded-proto") == "http"  # as the client came


@BOTH_LOOPS
@pytest.mark.parametrize("identity", ["local", "self_signed"])
async def test_an_unknown_ca_is_refused_by_default(front: Fronts, pki: Authorities, identity: str) -> None:
    async with TlsUpstream(answer(ok()), getattr(pki, identity)) as upstream:
        await assert_refused_with(await through(front, upstream.url), 502, "connect.tls")
        assert upstream.received == b""


async def test_a_target_url_is_verified_too(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.local) as upstream:
        f = await front(route={"target": upstream.url})
        await assert_refused_with(await f.client(), 502, "connect.tls")
        assert upstream.received == b""


@BOTH_LOOPS
@pytest.mark.parametrize("identity", ["named", "expired", "self_signed"])
async def test_a_wrong_name_and_an_expired_certificate_are_refused_with_the_right_ca_too(
    front: Fronts, pki: Authorities, identity: str
) -> None:
    async with TlsUpstream(answer(ok()), getattr(pki, identity)) as upstream:
        await assert_refused_with(await through(front, upstream.url, ca=pki.ca), 502, "connect.tls", b"api.test")
        assert upstream.received == b""


async def test_an_own_ca_replaces_all_others(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.local) as upstream:
        await assert_refused_with(await through(front, upstream.url, ca=pki.other_ca), 502, "connect.tls")


@BOTH_LOOPS
@pytest.mark.parametrize("identity", ["local", "named", "expired", "self_signed"])
async def test_verify_false_believes_whoever_answers(front: Fronts, pki: Authorities, identity: str) -> None:
    async with TlsUpstream(answer(ok(b"anybody")), getattr(pki, identity)) as upstream:
        client = await through(front, upstream.url, verify=False)
        assert bytes((await client.ask(request_bytes())).body) == b"anybody"


@BOTH_LOOPS
async def test_a_server_name_is_asked_for_and_verified_instead_of_the_host(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.named) as upstream:
        client = await through(front, upstream.url, ca=pki.ca, server_name="api.test")
        assert (await client.ask(request_bytes())).status == 200
        assert upstream.names == ["api.test"]
        assert upstream.requests[0].header("host") == upstream.authority


async def test_a_server_name_that_the_certificate_lacks_is_refused(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca, server_name="other.test")
        await assert_refused_with(client, 502, "connect.tls", b"other.test")
        assert upstream.names == ["other.test"]


async def test_rfc6066_3_an_address_is_never_sent_as_a_server_name(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        assert (await client.ask(request_bytes())).status == 200
        assert upstream.names in ([], [None])


async def test_a_name_from_dns_is_asked_for_and_verified(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.named) as upstream, DnsServer() as dns:
        await dns.tell({"api.test": ["127.0.0.1"], "alias.test": ["127.0.0.1"]})
        settings = {"servers": [dns.address]}
        client = await through(front, f"https://api.test:{upstream.port}", dns=settings, ca=pki.ca)
        assert (await client.ask(request_bytes())).status == 200
        assert upstream.names == ["api.test"]
        client = await through(front, f"https://alias.test:{upstream.port}", dns=settings, ca=pki.ca)
        await assert_refused_with(client, 502, "connect.tls", b"alias.test", b"api.test")


# the gateway's own certificate


@BOTH_LOOPS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_demanded_client_certificate_is_shown(front: Fronts, pki: Authorities, version: ssl.TLSVersion) -> None:
    async with TlsUpstream(answer(ok(b"welcome")), pki.local, client_ca=pki.ca) as upstream:
        upstream.context.minimum_version = upstream.context.maximum_version = version
        tls = {"ca": pki.ca, "certificate": pki.client.certificate, "key": pki.client.key}
        client = await through(front, upstream.url, **tls)
        assert bytes((await client.ask(request_bytes())).body) == b"welcome"


@BOTH_LOOPS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("own", ["none", "unknown"])
async def test_an_endpoint_that_demands_another_client_certificate_is_a_bad_gateway(
    front: Fronts, pki: Authorities, own: str, version: ssl.TLSVersion
) -> None:
    # With TLS 1.3 the gateway's handshake is over before the endpoint looks at the certificate (RFC 8446 4.4.2.4):
    # it learns of it when it has sent its request already, as of any endpoint that closes without an answer.
    async with TlsUpstream(answer(ok()), pki.local, client_ca=pki.ca) as upstream:
        upstream.context.minimum_version = upstream.context.maximum_version = version
        stranger = {"certificate": pki.self_signed.certificate, "key": pki.self_signed.key}
        client = await through(front, upstream.url, ca=pki.ca, **(stranger if own == "unknown" else {}))
        reply = await client.ask(request_bytes())
        assert assert_problem(reply, 502) in ("connect.tls", "attempt.closed")
        assert upstream.requests == []


# handshakes that fail


@BOTH_LOOPS
async def test_an_endpoint_that_speaks_plain_http_on_its_tls_port_is_a_bad_gateway(
    front: Fronts, pki: Authorities
) -> None:
    async def plain(connection: UpstreamConnection) -> None:
        await connection.until(lambda: bool(connection.received), "the first bytes")
        connection.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhuh?")
        connection.close()

    upstream = await front.upstream(plain)
    upstream.tolerant = True
    client = await through(front, f"https://{upstream.authority}", ca=pki.ca)
    await assert_refused_with(client, 502, "connect.tls", b"huh?")
    assert b"confidential" not in upstream.received


@BOTH_LOOPS
async def test_an_endpoint_that_speaks_tls_on_its_plain_port_is_a_bad_gateway(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.local) as upstream:
        client = await through(front, f"http://{upstream.authority}")
        reply = await client.ask(request_bytes())
        assert assert_problem(reply, 502) in ("head.bad", "attempt.closed")
        assert TLS_ALERT not in reply.body
        assert upstream.received == b""


@BOTH_LOOPS
async def test_a_handshake_that_stalls_is_a_connect_timeout(front: Fronts, pki: Authorities) -> None:
    async def silent(connection: UpstreamConnection) -> None:
        await connection.until(lambda: False, "nothing")

    upstream = await front.upstream(silent)
    upstream.tolerant = True
    client = await through(front, f"https://{upstream.authority}", connect="300ms", ca=pki.ca)
    started = asyncio.get_running_loop().time()
    await assert_refused_with(client, 504, "connect.timeout")
    assert 0.25 < asyncio.get_running_loop().time() - started < 2
    await upstream.connections[0].gone()


@BOTH_LOOPS
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("after", [b"", b"\x16\x03\x03\x00\x20half a record"])
async def test_an_endpoint_that_leaves_in_the_handshake_is_a_bad_gateway(
    front: Fronts, pki: Authorities, way: str, after: bytes
) -> None:
    async def leave(connection: UpstreamConnection) -> None:
        await connection.until(lambda: bool(connection.received), "the client's hello")
        connection.send(after)
        getattr(connection, way)()

    upstream = await front.upstream(leave)
    upstream.tolerant = True
    await assert_refused_with(await through(front, f"https://{upstream.authority}", ca=pki.ca), 502, "connect.tls")


async def test_nobody_at_the_tls_port_is_nobody_there(front: Fronts, pki: Authorities) -> None:
    upstream = await front.upstream()
    upstream.stop_listening()
    await assert_refused_with(await through(front, f"https://{upstream.authority}", ca=pki.ca), 503, "connect.refused")


# what goes over it


@BOTH_LOOPS
async def test_a_connection_is_kept_and_used_again(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok(b"1"), chunked(b"2", b"2"), ok(b"3")), pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        assert bytes((await client.ask(request_bytes(b"/1"))).body) == b"1"
        assert bytes((await client.ask(request_bytes(b"/2", method=b"POST", body=b"body"))).body) == b"22"
        assert (await client.ask(request_bytes(b"/3", method=b"HEAD"))).status == 200
        assert [request.target for request in upstream.requests] == [b"/1", b"/2", b"/3"]
        assert len(upstream.connections) == 1
        assert len(upstream.names) <= 1


@BOTH_LOOPS
async def test_a_kept_connection_that_the_endpoint_closes_is_replaced(front: Fronts, pki: Authorities) -> None:
    async with TlsUpstream(answer(ok()), pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        assert (await client.ask(request_bytes(b"/1"))).status == 200
        upstream.connections[0].close()
        assert (await client.ask(request_bytes(b"/2"))).status == 200
        assert [len(connection.oracle.requests) for connection in upstream.connections] == [1, 1]


@BOTH_LOOPS
@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_a_megabyte_goes_both_ways_unchanged(front: Fronts, pki: Authorities, coding: str) -> None:
    def echo(request: Message) -> bytes:
        return ok(bytes(request.body)) if coding == "length" else chunked(bytes(request.body[:7]), request.body[7:])

    async with TlsUpstream(answer(echo), pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        head = b"POST /echo HTTP/1.1\r\nhost: a.example\r\n"
        if coding == "length":
            request = head + b"content-length: %d\r\n\r\n" % len(MEGABYTE) + MEGABYTE
        else:
            request = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(MEGABYTE), MEGABYTE)
        sending = asyncio.create_task(client.send_all(request))
        reply = await client.reply("POST", seconds=10)
        await sending
        assert reply.body == MEGABYTE
        assert bytes(upstream.requests[0].body) == MEGABYTE


@BOTH_LOOPS
async def test_an_answer_without_length_ends_with_the_endpoints_close_notify(front: Fronts, pki: Authorities) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + MEGABYTE)
        connection.close()

    async with TlsUpstream(script, pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        assert (await client.ask(request_bytes())).body == MEGABYTE


async def test_9112_9_8_an_answer_without_length_that_ends_without_close_notify_is_incomplete(
    front: Fronts, pki: Authorities
) -> None:
    seen = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await seen.wait()
        descriptor = os.dup(connection._transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as below:
            below.shutdown(socket.SHUT_WR)  # the end of TCP, as anybody on the way can make it; none of TLS

    async with TlsUpstream(script, pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        await client.send(request_bytes())
        head = await client.read_until(b"half\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        seen.set()
        assert await client.read_some() == b"", "the cut answer was ended as if it were whole"


@BOTH_LOOPS
async def test_an_endpoint_that_is_cut_inside_its_answer_cuts_the_clients(front: Fronts, pki: Authorities) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        connection.close()

    async with TlsUpstream(script, pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        with pytest.raises(ConnectionEnded) as caught:
            await client.ask(request_bytes())
        assert caught.value.partial is not None
        assert caught.value.partial.body == b"half"


@BOTH_LOOPS
async def test_a_client_that_goes_away_closes_the_tls_connection(front: Fronts, pki: Authorities) -> None:
    async def silent(connection: UpstreamConnection) -> None:
        await connection.request()

    async with TlsUpstream(silent, pki.local) as upstream:
        client = await through(front, upstream.url, ca=pki.ca)
        await client.send(request_bytes())
        await upstream.until(lambda: bool(upstream.requests), "the request")
        client.reset()
        await upstream.connections[0].gone(1)


async def test_one_service_has_plain_and_tls_endpoints(front: Fronts, pki: Authorities) -> None:
    plain = await front.upstream(answer(ok(b"plain")))
    async with TlsUpstream(answer(ok(b"tls")), pki.local) as upstream:
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
        gateway.service("mixed", [plain.url, upstream.url], tls={"ca": pki.ca}, balance="round_robin")
        gateway.route("/*", service="mixed")
        client = await front.client(await front.start(gateway))
        assert {bytes((await client.ask(request_bytes())).body) for _ in range(2)} == {b"plain", b"tls"}


# files that are replaced


@BOTH_LOOPS
async def test_files_that_are_replaced_are_read_again_and_kept_connections_end(
    front: Fronts, pki: Authorities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "LOOK_SECONDS", 0.1)
    ca, certificate, key = (tmp_path / name for name in ("ca.pem", "client.pem", "client.key"))

    def put(identity: Identity) -> None:
        shutil.copy(identity.certificate, certificate)
        shutil.copy(identity.key, key)

    put(pki.client)
    shutil.copy(pki.ca, ca)
    async with TlsUpstream(answer(ok()), pki.local, client_ca=pki.ca) as upstream:
        files = {"ca": str(ca), "certificate": str(certificate), "key": str(key)}
        client = await through(front, upstream.url, **files)
        assert (await client.ask(request_bytes())).status == 200
        put(pki.named)
        async with within(PATIENCE, "the new certificate"):
            while len(upstream.connections) == 1:
                assert (await client.ask(request_bytes())).status == 200
        shown = [peer_name(connection) for connection in upstream.connections]
        assert shown == ["client", "named"]
        await upstream.connections[0].gone()
        shutil.copy(pki.other_ca, ca)  # the endpoint is not trusted any more
        async with within(PATIENCE, "the new authorities"):
            while (await client.ask(request_bytes())).status == 200:
                pass
        await assert_refused_with(client, 502, "connect.tls")


def peer_name(connection: UpstreamConnection) -> str:
    """The common name of the certificate that the gateway has shown."""
    subject = connection._transport.get_extra_info("peercert")["subject"]
    return str(dict(pair for (pair,) in subject)["commonName"])
