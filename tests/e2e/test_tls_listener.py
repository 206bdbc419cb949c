"""Clients over TLS: what they see, what a service is told, and what a wrong certificate says."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from propylon import Gateway
from propylon.config.build import BuildError
from propylon.config.problems import ConfigError
from tests.conftest import BOTH_LOOPS
from tests.outbound.conftest import make_ca, make_leaf
from tests.support.client import RawClient
from tests.support.deadline import within
from tests.support.front import Fronts
from tests.support.upstream import answer, ok

REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The listener's certificate for localhost, who vouches for it, and the key of another one."""
    folder = tmp_path_factory.mktemp("listener")
    ca = make_ca(folder, "ca")
    certificate, key = make_leaf(folder, "local", "subjectAltName=DNS:localhost")
    _, other_key = make_leaf(folder, "other", "subjectAltName=DNS:other")
    return {"ca": ca, "certificate": certificate, "key": key, "other_key": other_key}


async def over_tls(port: int, ca: str, data: bytes, **limits: ssl.TLSVersion) -> bytes:
    """Send `data` over TLS and return all that comes back."""
    context = ssl.create_default_context(cafile=ca)
    for name, version in limits.items():
        setattr(context, name, version)
    async with within(5, "an answer over TLS"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(data)
        answered = await reader.read()
        writer.close()
        return answered


def listening(identity: dict[str, str]) -> dict[str, object]:
    tls = {"certificate": identity["certificate"], "key": identity["key"]}
    return {"address": "127.0.0.1:0", "tls": tls}


@BOTH_LOOPS
async def test_a_client_is_answered_and_the_service_told_https(front: Fronts, identity: dict[str, str]) -> None:
    f = await front(answer(ok(b"hi")), listen=listening(identity))
    answered = await over_tls(f.gateway.port, identity["ca"], REQUEST)
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert answered.endswith(b"\r\n\r\nhi")
    assert f.upstream.requests[0].header("x-forwarded-proto") == "https"
    assert f.gateway.url.startswith("https://127.0.0.1:")


async def test_rfc8996_tls_1_1_is_refused(front: Fronts, identity: dict[str, str]) -> None:
    f = await front(listen=listening(identity))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises((ssl.SSLError, ConnectionError)):
        await over_tls(
            f.gateway.port,
            identity["ca"],
            REQUEST,
            minimum_version=ssl.TLSVersion.TLSv1_1,
            maximum_version=ssl.TLSVersion.TLSv1_1,
        )
    assert f.upstream.requests == []


async def test_a_plain_request_on_a_tls_port_never_reaches_a_service(front: Fronts, identity: dict[str, str]) -> None:
    f = await front(listen=listening(identity))
    async with RawClient(f.gateway.port) as client:
        await client.send(REQUEST)
        await client.assert_closed()
    assert f.upstream.requests == []


async def test_a_handshake_on_a_plain_port_is_refused_as_no_http(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert (await client.reply()).status == 400


async def test_a_client_that_goes_away_in_the_handshake_leaves_nothing(front: Fronts, identity: dict[str, str]) -> None:
    f = await front(listen=listening(identity))
    with socket.create_connection(("127.0.0.1", f.gateway.port)) as half:
        half.sendall(b"\x16\x03\x01")
    assert (await over_tls(f.gateway.port, identity["ca"], REQUEST)).startswith(b"HTTP/1.1 200 ")


def test_a_key_of_another_certificate_is_found_before_anything_is_opened(identity: dict[str, str]) -> None:
    tls = {"certificate": identity["certificate"], "key": identity["other_key"]}
    gateway = Gateway(listen=["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": tls}]).route("/*", respond="x")
    with pytest.raises(BuildError, match=r"listen\.1\.tls: .*does not belong to certificate"):
        gateway.snapshot()


def test_tls_behind_a_proxy_protocol_header_is_refused(identity: dict[str, str]) -> None:
    listen = {**listening(identity), "proxy_protocol": {"from": ["10.0.0.0/8"]}}
    with pytest.raises(ConfigError, match="exclude each other"):
        _ = Gateway(listen=listen).route("/*", respond="x").config
