"""Routes and conditions that ask for the scheme or the listener: what is reached by which, and by nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from propylon import Exchange, Gateway, Subrequest
from propylon.testing import TestClient
from tests.support.client import RawClient, Reply, request_bytes
from tests.support.tls import Certificates

FROM_PROXY = b"x-forwarded-proto: https"


def text(reply: Reply) -> tuple[int, str]:
    return reply.status, (reply.header("location") or bytes(reply.body).decode())


@pytest.fixture
def admin_gateway() -> Gateway:
    """Everything is public but /admin/*, which belongs to the second listener."""
    listen = ["127.0.0.1:0", {"address": "[::1]:0", "name": "internal"}]
    gateway = Gateway(listen=listen, services_json=True)
    gateway.route("/admin/*", listeners="internal", respond="admin")
    gateway.route("/admin/keys", listeners=["[::1]:0"], methods=["DELETE"], respond="keys")
    return gateway.route("/*", respond="public")


async def ask(address: str, raw: bytes) -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    async with RawClient(int(port), host.strip("[]")) as client:
        return text(await client.ask(raw))


BY_ANY_MEANS = [
    request_bytes(b"/admin/x"),
    request_bytes(b"/admin/x", host=b"[::1]:80"),
    request_bytes(b"http://[::1]/admin/x", host=b"[::1]"),
    request_bytes(b"/admin/x", b"x-forwarded-host: internal", b"x-forwarded-for: ::1", b'forwarded: for="[::1]"'),
    request_bytes(b"/admin/x", b"x-forwarded-port: 1", b"x-original-url: /admin/x"),
    request_bytes(b"//admin//x"),
    request_bytes(b"/%61dmin/x"),
    request_bytes(b"/admin"),
]


@pytest.mark.parametrize("raw", BY_ANY_MEANS, ids=range(len(BY_ANY_MEANS)))
async def test_an_admin_route_is_reached_by_its_listener_only(admin_gateway: Gateway, raw: bytes) -> None:
    async with admin_gateway as gateway:
        public, internal = gateway.addresses
        assert await ask(public, raw) == (200, "public")
        assert await ask(internal, raw) == (200, "admin")


async def test_another_listener_is_not_told_of_it(admin_gateway: Gateway) -> None:
    async with admin_gateway as gateway:
        public, internal = gateway.addresses
        listed = request_bytes(b"/services.json")
        assert await ask(public, listed) == (200, '[{"prefix":"/"}]')
        assert "/admin" in (await ask(internal, listed))[1]
        assert await ask(public, request_bytes(b"/admin/keys", method=b"DELETE")) == (200, "public")
        assert await ask(internal, request_bytes(b"/admin/keys", method=b"DELETE")) == (200, "keys")


async def test_a_connection_keeps_the_listener_that_accepted_it(admin_gateway: Gateway) -> None:
    async with admin_gateway as gateway:
        public, internal = gateway.addresses
        async with RawClient(int(public.rpartition(":")[2])) as client:
            await client.send(request_bytes(b"/admin/1") * 3)
            assert [text(await client.reply())[1] for _ in range(3)] == ["public"] * 3
        assert await ask(internal, request_bytes(b"/admin/1")) == (200, "admin")


async def test_the_listener_of_a_proxy_protocol_is_the_one_that_accepted() -> None:
    proxied = {"address": "127.0.0.1:0", "proxy_protocol": {"from": ["127.0.0.1"]}}
    gateway = Gateway(listen=[proxied, {"address": "[::1]:0", "name": "in"}])
    gateway.route("/*", listeners="in", respond="in")
    async with gateway:
        raw = b"PROXY TCP6 ::1 ::1 1 %d\r\n" % int(gateway.addresses[1].rpartition(":")[2]) + request_bytes()
        assert (await ask(gateway.addresses[0], raw))[0] == 404


async def test_a_unix_socket_is_a_listener_too(tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/p.sock"
    gateway = Gateway(listen=["127.0.0.1:0", path])
    gateway.route("/*", listeners=path, respond="in")
    async with gateway:
        assert (await ask(gateway.addresses[0], request_bytes()))[0] == 404
        async with RawClient(0, unix=f"{tmp_path}/p.sock") as client:
            assert text(await client.ask(request_bytes())) == (200, "in")


async def test_after_a_reload_a_name_means_the_address_that_has_it_now() -> None:
    gateway = Gateway(listen=["127.0.0.1:0", {"address": "[::1]:0", "name": "in"}])
    gateway.route("/*", listeners="in", respond="in")
    async with gateway:
        first, second = gateway.addresses
        async with RawClient(int(first.rpartition(":")[2])) as client:
            assert (await client.ask(request_bytes())).status == 404
            new = Gateway(listen=[{"address": "127.0.0.1:0", "name": "in"}, "[::1]:0"])
            new.route("/*", listeners="in", respond="in")
            await gateway.reload(new.config)
            assert (await client.ask(request_bytes())).status == 200, "the connection is one of the listener 'in' now"
        assert (await ask(second, request_bytes()))[0] == 404


def test_a_subrequest_reaches_no_more_than_its_client() -> None:
    async def inside(x: Exchange) -> None:
        answer = await Subrequest(b"GET", b"/admin", parent=x).pass_route(timeout=5)
        x.state["inside"] = answer.status
        await answer.body.read_all(100, "request.body_too_large")

    gateway = Gateway(listen=["127.0.0.1:1", {"address": "127.0.0.1:2", "name": "internal"}])
    gateway.route("/admin", listeners="internal", respond="admin")
    gateway.route("/", respond="here", policies=[inside])
    assert TestClient(gateway).get("/").exchange.state["inside"] == 404
    assert TestClient(gateway, listener="internal").get("/").exchange.state["inside"] == 200


def test_a_condition_may_name_a_listener() -> None:
    gateway = Gateway(
        listen=["127.0.0.1:1", {"address": "127.0.0.1:2", "name": "internal"}],
        policies=[{"respond": {"body": "for you only"}, "when": {"listeners": "internal"}}],
    ).route("/*", respond="here")
    assert TestClient(gateway).get("/").text == "here"
    assert TestClient(gateway, listener="127.0.0.1:2").get("/").text == "for you only"
    with pytest.raises(ValueError, match="no listener 'inside'"):
        TestClient(gateway, listener="inside")


# the scheme


HTTPS = [
    pytest.param([], [FROM_PROXY], False, id="an untrusted client's word"),
    pytest.param(["127.0.0.1"], [FROM_PROXY], True, id="a trusted proxy's X-Forwarded-Proto"),
    pytest.param(["127.0.0.1"], [b"forwarded: for=192.0.2.1;proto=https"], True, id="a trusted proxy's Forwarded"),
    pytest.param(["127.0.0.1"], [], False, id="no word"),
]


@pytest.mark.parametrize(("trusted", "lines", "secure"), HTTPS)
async def test_a_route_may_ask_for_the_verified_scheme(trusted: list[str], lines: list[bytes], secure: bool) -> None:
    gateway = Gateway(listen="127.0.0.1:0", trusted_proxies=trusted)
    gateway.route("/*", scheme="https", respond="secure").route("/*", respond="plain")
    async with gateway:
        assert await ask(gateway.addresses[0], request_bytes(b"/", *lines)) == (200, "secure" if secure else "plain")


@pytest.mark.parametrize(("trusted", "lines", "secure"), HTTPS)
@pytest.mark.parametrize("as_policy", [False, True], ids=["route", "policy"])
@pytest.mark.parametrize("redirect", [{"https": True}, {"https": True, "host": "a.example"}], ids=["https", "host"])
async def test_a_redirect_to_https_ends(
    trusted: list[str], lines: list[bytes], secure: bool, as_policy: bool, redirect: dict[str, Any]
) -> None:
    gateway = Gateway(listen="127.0.0.1:0", trusted_proxies=trusted)
    if as_policy:
        gateway.route("/*", respond="here", policies=[{"redirect": redirect}])
    else:
        gateway.route("/*", redirect=redirect).route("/*", respond="here")
    async with gateway:
        found = await ask(gateway.addresses[0], request_bytes(b"/x?y", *lines))
    assert found == ((200, "here") if secure else (308, "https://a.example/x?y"))


async def test_a_redirect_to_https_ends_on_a_listener_with_tls(certificates: Certificates) -> None:
    gateway = Gateway(listen=["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": certificates.tls("a")}])
    gateway.route("/*", redirect={"https": True}).route("/*", respond="here")
    async with gateway:
        plain, secure = (int(address.rpartition(":")[2]) for address in gateway.addresses)
        assert (await ask(f"127.0.0.1:{plain}", request_bytes(b"/x")))[0] == 308
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", secure, ssl=certificates.client(), server_hostname="localhost"
        )
        writer.write(request_bytes(b"/x", b"connection: close", host=b"localhost"))
        assert b"200 OK" in (await reader.read()).partition(b"\r\n")[0]
        writer.close()


async def test_where_only_a_redirect_is_there_https_finds_no_route() -> None:
    gateway = Gateway(listen="127.0.0.1:0", trusted_proxies=["127.0.0.1"]).route("/*", redirect={"https": True})
    async with gateway:
        assert (await ask(gateway.addresses[0], request_bytes(b"/", FROM_PROXY)))[0] == 404


async def test_a_redirect_to_its_own_host_ends() -> None:
    gateway = Gateway(listen="127.0.0.1:0").route("/*", redirect={"host": "a.example"}).route("/*", respond="here")
    async with gateway:
        address = gateway.addresses[0]
        assert await ask(address, request_bytes(host=b"b.example")) == (308, "http://a.example/")
        assert await ask(address, request_bytes(host=b"a.example")) == (200, "here")


@pytest.mark.parametrize(
    ("redirect_https", "asked", "expected"),
    [
        (True, b"/.well-known/acme-challenge/t", (200, "here")),
        (True, b"/x", (308, "https://a.example/x")),
        (8443, b"/.well-known/acme-challenge/t", (200, "here")),
        (8443, b"/x", (308, "https://a.example:8443/x")),
        ({"except": ["/healthz"]}, b"/healthz?full", (200, "here")),
        ({"except": ["/healthz"]}, b"/.well-known/acme-challenge/t", (308, "https://a.example/.well-known/acme-challenge/t")),
        ({"port": 8443, "except": []}, b"/.well-known/acme-challenge/t?a", (308, "https://a.example:8443/.well-known/acme-challenge/t?a")),
    ],
)  # fmt: skip
async def test_a_redirecting_listener_lets_listed_paths_through(
    redirect_https: Any, asked: bytes, expected: tuple[int, str]
) -> None:
    gateway = Gateway(listen={"address": "127.0.0.1:0", "redirect_https": redirect_https}).route("/*", respond="here")
    async with gateway:
        assert await ask(gateway.addresses[0], request_bytes(asked)) == expected


@pytest.mark.parametrize(("trusted", "lines", "secure"), HTTPS)
async def test_a_redirecting_listener_does_not_redirect_what_came_by_https(
    trusted: list[str], lines: list[bytes], secure: bool
) -> None:
    gateway = Gateway(listen={"address": "127.0.0.1:0", "redirect_https": True}, trusted_proxies=trusted)
    gateway.route("/*", respond="here")
    async with gateway:
        found = await ask(gateway.addresses[0], request_bytes(b"/x", *lines))
    assert found == ((200, "here") if secure else (308, "https://a.example/x"))
