"""A running gateway takes up a new configuration at once or not at all, and nobody under way notices."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import ssl
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from propylon import Gateway
from propylon.build.errors import BuildError
from propylon.config.load import validate
from propylon.config.problems import ConfigError
from propylon.inbound.listener import ListenError
from propylon.outbound.dns import Resolution
from propylon.runtime import reload as module
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import settle, within
from tests.support.front import Fronts
from tests.support.ports import free_port
from tests.support.tls import Certificates
from tests.support.upstream import answer, ok


class Site:
    """A configuration file and what stands beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"

    def write(self, body: str = "one", listen: str = "127.0.0.1:0", more: str = "") -> None:
        route = f'{{path: /*, respond: {{body: "{body}"}}}}'
        self.file.write_text(f"listen: {listen}\n{more}\nroutes:\n  - {route}\n")

    def module(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def body(client: RawClient, target: bytes = b"/") -> str:
    reply = await client.ask(request_bytes(target))
    assert reply.status == 200
    return reply.body.decode()


# routes


async def test_a_kept_connection_gets_the_new_configuration_with_its_next_request(site: Site) -> None:
    site.write("one")
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "one"
        site.write("two")
        done = await gateway.reload()
        assert done.changes
        assert await body(client) == "two"
        assert gateway.config.routes[0].respond is not None


async def test_what_is_under_way_finishes_as_it_began(site: Site) -> None:
    site.module(
        "under_way",
        "import asyncio\nfrom propylon import Response\nGATE = asyncio.Event()\nBEGUN = asyncio.Event()\n"
        "async def wait(x):\n    BEGUN.set()\n    await GATE.wait()\n    return Response(200, body='old')\n",
    )
    site.write(more='policies: [{python: "under_way:wait"}]')
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as old, RawClient(gateway.port) as new:
        gateway.snapshot()
        import under_way  # type: ignore[import-not-found]

        await old.send(request_bytes())
        await under_way.BEGUN.wait()
        site.write("new")
        await gateway.reload()
        assert await body(new) == "new"
        under_way.GATE.set()
        assert (await old.reply()).body == b"old"
        assert await body(old) == "new"


async def test_a_reload_that_changes_nothing_says_so(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.write()
    async with Gateway.load(site.file) as gateway:
        with caplog.at_level(logging.INFO, "propylon.reload"):
            done = await gateway.reload()
        assert done.changes == ()
        assert str(done) == "nothing has changed"
        assert "nothing has changed" in caplog.text


async def test_limits_and_timeouts_are_those_of_the_new_one(site: Site) -> None:
    site.write()
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client, b"/" + b"x" * 2000) == "one"
        site.write(more="limits: {request_line: 1KiB}")
        await gateway.reload()
        assert (await client.ask(request_bytes(b"/" + b"x" * 2000))).status == 414


async def test_a_replaced_configuration_is_freed_without_the_collector(front: Fronts, site: Site) -> None:
    upstream = await front.upstream(answer(ok(b"hello")))
    site.module("looks_at_it", "def look(x): x.request.headers['x-a'] = '1'\n")
    policies = "policies: [{python: 'looks_at_it:look'}, {headers: {response: {set: {x-b: '1'}}}}]"
    text = f'listen: 127.0.0.1:0\n{policies}\nroutes: [{{path: /*, target: "{upstream.url}"}}]\n'
    site.file.write_text(text)
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        await gateway.reload()
        gc.collect()
        gc.disable()
        try:
            before = living()
            for number in range(3):
                assert await body(client) == "hello"
                site.file.write_text(text + f"limits: {{header_count: {90 + number}}}\n")
                await gateway.reload()
            await settle()
            assert living() == before
        finally:
            gc.enable()


def living() -> Counter[str]:
    """How many of the objects that a configuration consists of are alive."""
    kinds = ("Snapshot", "CompiledRoute", "GatewayConfig", "RouteConfig", "Exchange", "Service", "Endpoint", "Pool")
    return Counter(name for each in gc.get_objects() if (name := type(each).__name__) in kinds)


async def test_dns_servers_are_replaced_and_lookups_under_way_go_on(site: Site) -> None:
    site.write(more="dns: {servers: ['127.0.0.1:1']}")
    async with Gateway.load(site.file) as gateway:
        assert gateway._worker is not None
        old = gateway._worker.core.directory.resolver
        gate = asyncio.Event()
        closed: list[str] = []

        async def slow(host: str) -> Any:
            await gate.wait()
            return Resolution(("192.0.2.1",), 60)

        async def close() -> None:
            closed.append("closed")

        old._lookup = slow
        old.close = close  # type: ignore[method-assign]
        asked = asyncio.ensure_future(old.resolve("a.test", 80))
        await settle()
        site.write(more="dns: {servers: ['127.0.0.1:2']}")
        await gateway.reload()
        assert gateway._worker.core.directory.resolver is not old
        assert closed == []
        gate.set()
        assert (await asked)[0][4][0] == "192.0.2.1"
        await settle()
        assert closed == ["closed"]


# what is wrong changes nothing


async def test_every_problem_is_logged_with_its_place_and_the_old_one_stays(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write()
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        site.file.write_text("listen: 127.0.0.1:0\nrouts: []\nroutes:\n  - {path: x, respond: ok}\n")
        with pytest.raises(ConfigError) as error:
            await gateway.reload()
        assert len(error.value.problems) == 2
        assert f"{site.file}:2:1: routs: unknown key 'routs'" in caplog.text
        assert f"{site.file}:4:12: routes.0.path" in caplog.text
        assert "Traceback" not in caplog.text
        assert await body(client) == "one"
        site.write("two")
        await gateway.reload()
        assert await body(client) == "two"


async def test_warnings_are_logged_with_their_place(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.write()
    async with Gateway.load(site.file) as gateway:
        site.write(more="policies: [request_id, request_id]")
        await gateway.reload()
        found = [record for record in caplog.records if record.levelname == "WARNING"]
        assert [record.name for record in found] == ["propylon.config"]
        assert found[0].getMessage().startswith(f"{site.file}:2:24: policies.1: the policy 'request_id' is in the list")


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("raises", "raise RuntimeError('no')", "no"),
        ("lacks", "def other(x): pass", "mark"),
        ("is_no_python", "def mark(:", "invalid syntax"),
        ("needs_another", "import no_such_module_at_all", "no_such_module_at_all"),
    ],
)
async def test_a_module_that_fails_leaves_the_old_one_in_its_place(
    site: Site, name: str, code: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.module(name, "def mark(x): pass\n")
    policy = f'policies: [{{python: "{name}:mark"}}]'
    site.write(more=policy)
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        before = sys.modules[name]
        site.module(name, code)
        site.write("two", more=policy)
        with pytest.raises(BuildError, match=says):
            await gateway.reload()
        assert f"{site.file}:2:12: policies.0: policy python: " in caplog.text
        assert sys.modules[name] is before
        assert await body(client) == "one"


# modules


async def test_modules_are_imported_anew_with_those_they_import(site: Site) -> None:
    site.module("anew_helper", "NAME = 'one'\n")
    site.module(
        "anew", "import anew_helper\nfrom propylon import Response\n"
        "def hello(x): return Response(200, body=anew_helper.NAME)\n",
    )  # fmt: skip
    site.write(more='policies: [{python: "anew:hello"}]')
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "one"
        site.module("anew_helper", "NAME = 'two'\n")  # as long, and in the same second
        done = await gateway.reload()
        assert await body(client) == "two"
        assert str(done) == "module anew_helper: the code has changed"


async def test_a_condition_in_python_is_imported_anew(site: Site) -> None:
    policy = "policies: [{respond: {status: 200, body: yes}, when: {python: 'anew_condition:holds'}}]"
    site.module("anew_condition", "def holds(x): return False\n")
    site.write(more=policy)
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "one"
        site.module("anew_condition", "def holds(x): return True\n")
        await gateway.reload()
        assert await body(client) == "yes"


# services


async def test_a_balancing_function_is_imported_anew_and_connections_stay(front: Fronts, site: Site) -> None:
    one, two = await front.upstream(answer(ok(b"one"))), await front.upstream(answer(ok(b"two")))
    code = "def choose(x, endpoints): return endpoints[{}]\n"
    site.module("anew_choice", code.format(0))
    site.file.write_text(
        f"listen: 127.0.0.1:0\nroutes: [{{path: /*, service: s}}]\n"
        f"services: {{s: {{endpoints: ['{one.url}', '{two.url}'], balance: {{python: 'anew_choice:choose'}}}}}}\n"
    )
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "one"
        site.module("anew_choice", code.format(1))
        await gateway.reload()
        assert await body(client) == "two"
        site.module("anew_choice", code.format(0))
        await gateway.reload()
        assert await body(client) == "one"
        assert len(one.connections) == 1


async def test_connections_to_unchanged_endpoints_stay(front: Fronts, site: Site) -> None:
    upstream = await front.upstream(answer(ok(b"hello")))
    routes = f'routes: [{{path: /*, target: "{upstream.url}"}}]\nlisten: 127.0.0.1:0\n'
    site.file.write_text(routes)
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        assert await body(client) == "hello"
        site.file.write_text(routes + "limits: {header_count: 50}\n")
        await gateway.reload()
        assert await body(client) == "hello"
        assert len(upstream.connections) == 1


# listeners


async def test_an_address_that_stays_is_never_closed(site: Site) -> None:
    site.write()
    async with Gateway.load(site.file) as gateway:
        port = gateway.port
        for number in range(5):
            site.write(str(number))
            reloading = asyncio.ensure_future(gateway.reload())
            while not reloading.done():
                async with RawClient(port) as client:
                    assert (await client.ask(request_bytes())).status == 200
            await reloading
            assert gateway.port == port


async def test_a_listener_is_added_and_removed(site: Site) -> None:
    first, second = free_port(), free_port()
    site.write(listen=f"127.0.0.1:{first}")
    async with Gateway.load(site.file) as gateway, RawClient(first) as idle, RawClient(first) as begun:
        assert await body(idle) == "one"
        await begun.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1")
        await settle()
        site.write("two", listen=f'["127.0.0.1:{second}", "127.0.0.1:{first}"]')
        await gateway.reload()
        assert gateway.addresses == [f"127.0.0.1:{second}", f"127.0.0.1:{first}"]
        async with RawClient(second) as client:
            assert await body(client) == "two"
            site.write("three", listen=f"127.0.0.1:{second}")
            await gateway.reload()
            await idle.assert_closed()
            assert await body(client) == "three"
        with pytest.raises(ConnectionRefusedError):
            await RawClient(first).connect()


async def test_an_address_in_use_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.write()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
            before = gateway.addresses
            also = free_port()
            site.write("two", listen=f'["127.0.0.1:{also}", "127.0.0.1:{port}"]')
            with pytest.raises(ListenError, match="already in use"):
                await gateway.reload()
            assert gateway.addresses == before
            assert await body(client) == "one"
            with pytest.raises(ConnectionRefusedError):
                await RawClient(also).connect()
            assert f"127.0.0.1:{port}: address already in use" in caplog.text


async def test_an_address_that_overlaps_with_an_old_one_is_explained(site: Site) -> None:
    port = free_port()
    site.write(listen=f"127.0.0.1:{port}")
    async with Gateway.load(site.file) as gateway, RawClient(port) as client:
        site.write("two", listen=f"0.0.0.0:{port}")
        with pytest.raises(ListenError, match=rf"0\.0\.0\.0:{port}: this gateway still listens at 127\.0\.0\.1:{port}"):
            await gateway.reload()
        assert await body(client) == "one"


# in turn


async def test_reloads_take_turns_and_the_last_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(listen="127.0.0.1:0").route("/*", respond="first")
    under_way = most = 0
    compiled = module.Reloader._compiled

    async def counted(self: Any, read: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        made = await compiled(self, read)
        under_way -= 1
        return made

    monkeypatch.setattr(module.Reloader, "_compiled", counted)

    def config(text: str) -> Any:
        return validate({"listen": "127.0.0.1:0", "routes": [{"path": "/*", "respond": text}]})

    async with gateway, RawClient(gateway.port) as client:
        running = asyncio.ensure_future(gateway.reload(config("a")))
        await settle()
        later = [asyncio.ensure_future(gateway.reload(config(text))) for text in "bcd"]
        async with within(10, "all reloads"):
            await asyncio.gather(running, *later)
        assert most == 1
        assert len({id(each.result()) for each in later}) == 1
        assert await body(client) == "d"


async def test_a_gateway_that_does_not_run_has_nothing_to_reload() -> None:
    gateway = Gateway().route("/*", respond="ok")
    with pytest.raises(RuntimeError, match="does not run"):
        await gateway.reload()


async def test_a_module_that_never_ends_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "COMPILE_SECONDS", 0.05)
    site.module("never_ends", "def mark(x): pass\n")
    policy = 'policies: [{python: "never_ends:mark"}]'
    site.write(more=policy)
    release = threading.Event()
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        monkeypatch.setattr(threading, "released_by_the_test", release, raising=False)
        site.module("never_ends", "import threading\nthreading.released_by_the_test.wait(10)\ndef mark(x): pass\n")
        with pytest.raises(BuildError, match="took more than"):
            await gateway.reload()
        with pytest.raises(BuildError, match="still runs"):
            await gateway.reload()
        assert await body(client) == "one"
        release.set()
        monkeypatch.setattr(module, "COMPILE_SECONDS", 10.0)
        site.module("never_ends", "def mark(x): pass\n")
        site.write("two", more=policy)
        async with within(5, "the next reload succeeds"):
            while await body(client) != "two":
                with suppress(BuildError):
                    await gateway.reload()


# TLS


def serves_tls(port: int, certificates: Certificates, name: str, session: ssl.SSLSession | None = None) -> Any:
    """Ask over TLS with a certificate for `name`; return the socket, whose session tells whether it was resumed."""
    context = SESSIONS.setdefault(certificates.folder, certificates.client())
    raw = socket.create_connection(("127.0.0.1", port), timeout=5)
    with context.wrap_socket(raw, server_hostname=name, session=session) as tls:
        tls.sendall(request_bytes())
        assert tls.recv(65536).startswith(b"HTTP/1.1 200 ")
        return tls.session, tls.session_reused


SESSIONS: dict[Path, ssl.SSLContext] = {}


async def test_certificates_are_replaced_and_sessions_go_on(site: Site, certificates: Certificates) -> None:
    def listen(name: str) -> str:
        return f'{{address: "127.0.0.1:0", tls: {json.dumps(certificates.pair(name))}}}'

    site.write(listen=listen("a"))
    async with Gateway.load(site.file) as gateway:
        port = gateway.port
        session, _ = await asyncio.to_thread(serves_tls, port, certificates, "a.test")
        site.write("two", listen=listen("b"))
        await gateway.reload()
        assert gateway.port == port
        _, resumed = await asyncio.to_thread(serves_tls, port, certificates, "b.test", session)
        assert resumed
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(serves_tls, port, certificates, "a.test")
        site.write("three", listen=listen("a")[:-2] + ', "min_version": "1.3"}}')
        await gateway.reload()
        _, resumed = await asyncio.to_thread(serves_tls, port, certificates, "a.test", session)
        assert not resumed


async def test_tls_is_switched_on_and_off_at_an_open_address(site: Site, certificates: Certificates) -> None:
    site.write()
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as plain:
        port = gateway.port
        assert await body(plain) == "one"
        site.write("two", listen=f'{{address: "127.0.0.1:0", tls: {json.dumps(certificates.pair("a"))}}}')
        await gateway.reload()
        await asyncio.to_thread(serves_tls, port, certificates, "a.test")
        assert await body(plain) == "two"
        assert gateway.url == f"https://127.0.0.1:{port}"
        site.write("three")
        await gateway.reload()
        async with RawClient(port) as client:
            assert await body(client) == "three"


async def test_a_certificate_that_cannot_be_read_changes_nothing(site: Site, certificates: Certificates) -> None:
    site.write()
    async with Gateway.load(site.file) as gateway, RawClient(gateway.port) as client:
        (site.folder / "broken.pem").write_text("no certificate")
        site.write("two", listen='{address: "127.0.0.1:0", tls: {certificate: broken.pem}}')
        with pytest.raises(BuildError, match=r"listen\.0\.tls: certificate .*broken\.pem"):
            await gateway.reload()
        assert await body(client) == "one"
