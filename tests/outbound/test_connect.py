"""New connections: over an address, a name, a Unix socket, TLS; the code of each failure; nothing left open."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from propylon.address import EndpointAddress
from propylon.outbound.connect import ConnectError, connect
from propylon.outbound.resolve import Resolution, ResolveError, Resolver
from propylon.outbound.tls import client_context
from tests.outbound.conftest import Pki
from tests.support.ports import free_port

Scenario = Callable[[], Coroutine[Any, Any, None]]
Runner = Callable[[Scenario], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Run a scenario on each kind of loop, and see that it leaves no socket open."""

    def runner(scenario: Scenario) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(warm())
            before = open_sockets()
            loop.run(scenario())
            loop.run(turns())
            assert open_sockets() <= before

    return runner


def open_sockets() -> set[str]:
    """The sockets of this process: `socket:[inode]`, the inode never used twice."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {link for link in found if link.startswith("socket:")}


async def warm() -> None:
    """Let the loop open the descriptors it keeps."""
    await asyncio.get_running_loop().run_in_executor(None, int)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def names(**known: tuple[str, ...]) -> Resolver:
    async def lookup(host: str) -> Resolution:
        if host not in known:
            raise ResolveError("Domain name not found")
        return Resolution(known[host], 60)

    return Resolver(None, 1.0, 300.0, lambda: 0.0, lookup)


class Greeted(asyncio.Protocol):
    """Takes the first bytes of the server."""

    def __init__(self) -> None:
        self.greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        if not self.greeting.done():
            self.greeting.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Greeter(asyncio.Protocol):
    """A server that greets everyone and knows how many are connected."""

    def __init__(self, server: "Server") -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.open += 1
        cast("asyncio.WriteTransport", transport).write(b"hello")  # uvloop's are no instances of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open -= 1
        self.server.changed.set()


class Server:
    def __init__(self) -> None:
        self.open = 0
        self.port = 0
        self.changed = asyncio.Event()

    async def all_gone(self) -> None:
        while self.open:
            self.changed.clear()
            await self.changed.wait()


@contextlib.asynccontextmanager
async def serving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, path: str = "") -> AsyncIterator[Server]:
    loop = asyncio.get_running_loop()
    server = Server()
    if path:
        listening = await loop.create_unix_server(lambda: Greeter(server), path, ssl=tls)
    else:
        listening = await loop.create_server(lambda: Greeter(server), host, 0, ssl=tls)
        server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.all_gone()
        await listening.wait_closed()


@contextlib.asynccontextmanager
async def mute_listener() -> AsyncIterator[int]:
    """Accepts in the kernel only, so a handshake never gets an answer."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield listening.getsockname()[1]


async def dial(
    url: str,
    resolver: Resolver | None = None,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    timeout: float | None = 5.0,
) -> tuple[asyncio.Transport, Greeted]:
    address = EndpointAddress.parse(url)
    return await connect(
        address, Greeted, resolver=resolver or names(), tls=tls, server_name=server_name, timeout=timeout
    )


async def hang_up(transport: asyncio.Transport, protocol: Greeted) -> None:
    transport.close()
    await protocol.lost.wait()


def server_context(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server, pki.server_key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def refused(url: str, **settings: Any) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await dial(url, **settings)
    assert caught.value.detail
    return caught.value


def test_an_https_endpoint_is_never_spoken_to_without_tls(run: Runner) -> None:
    async def scenario() -> None:
        async with serving() as server:
            assert (await refused(f"https://127.0.0.1:{server.port}", tls=None)).code == "connect.tls"

    run(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "api.test"])
def test_an_address_and_a_name_are_connected_to_without_delay_of_small_writes(run: Runner, host: str) -> None:
    async def scenario() -> None:
        async with serving() as server:
            url = f"http://{host}:{server.port}"
            transport, protocol = await dial(url, names(**{"api.test": ("127.0.0.1",)}))
            assert await protocol.greeting == b"hello"
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            await hang_up(transport, protocol)

    run(scenario)


def test_rfc8305_another_address_is_tried_when_the_first_is_dead(run: Runner) -> None:
    async def scenario() -> None:
        async with serving() as server:
            resolver = names(**{"api.test": ("::1", "127.0.0.9", "127.0.0.1")})
            transport, protocol = await dial(f"http://api.test:{server.port}", resolver)
            assert await protocol.greeting == b"hello"
            await hang_up(transport, protocol)

    run(scenario)


def test_a_unix_socket_is_connected_to(run: Runner, tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    async def scenario() -> None:
        async with serving(path=path):
            transport, protocol = await dial(f"unix:{path}")
            assert await protocol.greeting == b"hello"
            await hang_up(transport, protocol)

    run(scenario)


@pytest.mark.parametrize(("host", "server_name"), [("127.0.0.1", None), ("api.test", None), ("127.0.0.1", "api.test")])
def test_tls_is_spoken_with_the_name_checked_and_http_1_1_agreed_on(
    run: Runner, pki: Pki, host: str, server_name: str | None
) -> None:
    async def scenario() -> None:
        async with serving(tls=server_context(pki)) as server:
            tls = client_context(True, pki.ca, None, None)
            url = f"https://{host}:{server.port}"
            transport, protocol = await dial(url, names(**{"api.test": ("127.0.0.1",)}), tls, server_name)
            assert await protocol.greeting == b"hello"
            assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            await hang_up(transport, protocol)

    run(scenario)


def test_tls_over_a_unix_socket_asks_for_localhost(run: Runner, pki: Pki, tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    async def scenario() -> None:
        async with serving(path=path, tls=server_context(pki)):
            transport, protocol = await dial(f"unix:{path}", tls=client_context(True, pki.ca, None, None))
            assert await protocol.greeting == b"hello"
            await hang_up(transport, protocol)

    run(scenario)


@pytest.mark.parametrize(
    ("ca", "server_name", "says"),
    [("other_ca", "api.test", "certificate is not accepted"), ("ca", "evil.test", "certificate is not accepted")],
)
def test_a_certificate_that_does_not_fit_is_connect_tls(
    run: Runner, pki: Pki, ca: str, server_name: str, says: str
) -> None:
    async def scenario() -> None:
        async with serving(tls=server_context(pki)) as server:
            tls = client_context(True, getattr(pki, ca), None, None)
            error = await refused(f"https://127.0.0.1:{server.port}", tls=tls, server_name=server_name)
            assert error.code == "connect.tls"
            assert says in error.detail

    run(scenario)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_server_without_tls_is_connect_tls(run: Runner, pki: Pki, says: bytes) -> None:
    async def scenario() -> None:
        done = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(says)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            done.set()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        error = await refused(f"https://127.0.0.1:{port}", tls=client_context(True, pki.ca, None, None))
        assert error.code == "connect.tls"
        await done.wait()
        listening.close()
        await listening.wait_closed()

    run(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "api.test", "two.test"])
def test_nobody_at_the_port_is_connect_refused(run: Runner, host: str) -> None:
    async def scenario() -> None:
        resolver = names(**{"api.test": ("127.0.0.1",), "two.test": ("127.0.0.1", "127.0.0.2")})
        error = await refused(f"http://{host}:{free_port()}", resolver=resolver)
        assert error.code == "connect.refused"

    run(scenario)


def test_no_socket_at_the_path_is_connect_refused(run: Runner, tmp_path: Path) -> None:
    async def scenario() -> None:
        error = await refused(f"unix:{tmp_path}/none.sock")
        assert error.code == "connect.refused"

    run(scenario)


def test_a_name_that_is_not_known_is_connect_dns(run: Runner) -> None:
    async def scenario() -> None:
        error = await refused("http://gone.test")
        assert (error.code, error.detail) == ("connect.dns", "gone.test: Domain name not found")

    run(scenario)


def test_no_way_to_the_address_is_connect_unreachable(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_route(*_: object, **__: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr("propylon.outbound.connect.aiohappyeyeballs.start_connection", no_route)

    async def scenario() -> None:
        error = await refused("http://api.test", resolver=names(**{"api.test": ("192.0.2.1",)}))
        assert error.code == "connect.unreachable"

    run(scenario)


def test_the_timeout_of_the_kernel_is_connect_timeout(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object, **__: object) -> None:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr("propylon.outbound.connect.aiohappyeyeballs.start_connection", slow)

    async def scenario() -> None:
        error = await refused("http://api.test", resolver=names(**{"api.test": ("192.0.2.1",)}), timeout=None)
        assert error.code == "connect.timeout"

    run(scenario)


def test_a_silent_handshake_is_connect_timeout(run: Runner, pki: Pki) -> None:
    async def scenario() -> None:
        async with mute_listener() as port:
            tls = client_context(True, pki.ca, None, None)
            error = await refused(f"https://127.0.0.1:{port}", tls=tls, timeout=0.05)
            assert error.code == "connect.timeout"
            assert "0.05 s" in error.detail

    run(scenario)


def test_a_silent_dns_is_connect_timeout(run: Runner) -> None:
    async def scenario() -> None:
        async def silent(host: str) -> Resolution:
            await asyncio.Event().wait()
            raise AssertionError

        resolver = Resolver(None, 1.0, 300.0, lambda: 0.0, silent)
        error = await refused("http://api.test", resolver=resolver, timeout=0.02)
        assert error.code == "connect.timeout"
        await resolver.close()

    run(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "api.test"])
def test_cancelling_in_the_handshake_leaves_no_socket_open(run: Runner, pki: Pki, host: str) -> None:
    async def scenario() -> None:
        async with mute_listener() as port:
            tls = client_context(True, pki.ca, None, None)
            dialling = asyncio.create_task(dial(f"https://{host}:{port}", names(**{"api.test": ("127.0.0.1",)}), tls))
            await turns()
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling

    run(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "api.test", "two.test"])
@pytest.mark.parametrize("after", range(12))
def test_cancelling_at_any_step_leaves_no_socket_open(run: Runner, host: str, after: int) -> None:
    async def scenario() -> None:
        async with mute_listener() as port:
            resolver = names(**{"api.test": ("127.0.0.1",), "two.test": ("::1", "127.0.0.1")})
            dialling = asyncio.create_task(dial(f"http://{host}:{port}", resolver))
            for _ in range(after):
                await asyncio.sleep(0)
            dialling.cancel()
            try:
                transport, protocol = await dialling
            except asyncio.CancelledError:
                pass
            else:
                await hang_up(transport, protocol)

    run(scenario)


def test_a_protocol_that_cannot_be_made_leaves_no_socket_open(run: Runner) -> None:
    def broken() -> Greeted:
        raise LookupError("no protocol today")

    async def scenario() -> None:
        async with mute_listener() as port:
            address = EndpointAddress.parse(f"http://api.test:{port}")
            resolver = names(**{"api.test": ("127.0.0.1",)})
            with pytest.raises(LookupError):
                await connect(address, broken, resolver=resolver, tls=None, server_name=None, timeout=5.0)

    run(scenario)
