"""Endpoints by name, through the whole gateway, with a real DNS server on loopback."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from propylon import Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import PATIENCE, within
from tests.support.front import Fronts
from tests.support.ports import free_port
from tests.support.upstream import Script, ScriptedUpstream, UpstreamConnection, answer, ok

DNSMASQ = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")
SECRETS = (b".test", b"127.0.0.", b"::1", b"NXDOMAIN", b"DNS", b"Errno")


class DnsServer:
    """dnsmasq on a free loopback port: knows what it is told, and nothing else below `.test`."""

    def __init__(self, *options: str, ttl: int = 0) -> None:
        self.port = free_port()
        self._options = (*options, f"--local-ttl={ttl}")
        self._lines: list[str] = []
        self._changed = asyncio.Event()

    @property
    def address(self) -> str:
        """As it stands in `dns: {servers}`."""
        return f"127.0.0.1:{self.port}"

    def queries(self, name: str) -> int:
        """How often it was asked for the IPv4 addresses of `name`."""
        return sum(1 for line in self._lines if re.search(rf"query\[A\] {re.escape(name)} ", line))

    async def tell(self, hosts: dict[str, list[str]]) -> None:
        """Replace everything it knows."""
        self._hosts.write_text("".join(f"{place} {name}\n" for name, places in hosts.items() for place in places))
        seen = len(self._lines)
        self._process.send_signal(signal.SIGHUP)
        await self._until(lambda: any(f"read {self._hosts}" in line for line in self._lines[seen:]), "reads its hosts")

    async def stop(self) -> None:
        """End it: nobody answers at its port any more."""
        if self._process.returncode is None:
            self._process.terminate()
        await self._reading

    async def _until(self, ready: Callable[[], bool], what: str) -> None:
        async with within(PATIENCE, f"dnsmasq {what}"):
            while not ready():
                assert not self._reading.done(), f"dnsmasq ended: {self._lines}"
                await self._changed.wait()

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._lines.append(line.decode())
            self._tell()
        await self._process.wait()
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def __aenter__(self) -> Self:
        if DNSMASQ is None:
            pytest.fail("this test needs a DNS server: install dnsmasq (Debian: apt-get install dnsmasq-base)")
        self._folder = tempfile.TemporaryDirectory()
        self._hosts = Path(self._folder.name, "hosts")
        self._hosts.touch()
        self._process = await asyncio.create_subprocess_exec(
            DNSMASQ, "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
            f"--port={self.port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--log-queries",
            "--local=/test/", f"--addn-hosts={self._hosts}", *self._options, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())
        await self._until(lambda: any("started" in line for line in self._lines), "starts")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._folder.cleanup()


class UpstreamAt(ScriptedUpstream):
    """A scripted upstream at a given loopback address, on the port of another one or on a free port."""

    def __init__(self, script: Script, host: str, port: int = 0) -> None:
        super().__init__(script)
        self._host = host
        self.port = port

    async def start(self) -> Self:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: UpstreamConnection(self), self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


def once(body: bytes) -> Script:
    """Answer with `body` and let the connection go, so that each request needs a new one."""
    return answer(ok(body, b"connection: close"))


async def through(
    front: Fronts, name: str, port: int, dns: DnsServer | str, connect: str = "3s", **settings: Any
) -> RawClient:
    """A client of a new gateway in front of http://name:port, which asks `dns`."""
    server = dns if isinstance(dns, str) else dns.address
    gateway = Gateway(
        listen="127.0.0.1:0", timeouts={"drain": "200ms"}, dns={"servers": [server], "min_ttl": "100ms", **settings}
    )
    gateway.route("/*", target=f"http://{name}:{port}/base", policies=[{"timeout": {"connect": connect}}])
    return await front.client(await front.start(gateway))


async def body_of(client: RawClient) -> bytes:
    reply = await client.ask(request_bytes())
    assert reply.status == 200, bytes(reply.body)
    return bytes(reply.body)


async def until_body(client: RawClient, body: bytes, seconds: float = 5) -> float:
    """Ask until the answer is `body`; return the seconds that took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with within(seconds, f"the answer {body!r}"):
        while await body_of(client) != body:
            pass
    return loop.time() - started


async def assert_nobody(client: RawClient, code: str, status: int = 503) -> None:
    """The gateway answers with `code`, and with nothing about the name or its addresses."""
    reply = await client.ask(request_bytes())
    assert assert_problem(reply, status) == code
    everything = reply.head + bytes(reply.body)
    assert [secret for secret in SECRETS if secret in everything] == []


@BOTH_LOOPS
async def test_a_name_is_resolved_and_stands_in_host(front: Fronts) -> None:
    async with DnsServer() as dns:
        await dns.tell({"api.test": ["127.0.0.1"]})
        upstream = await front.upstream()
        client = await through(front, "api.test", upstream.port, dns)
        assert await body_of(client) == b"ok"
        assert upstream.requests[0].header("host") == f"api.test:{upstream.port}"
        assert upstream.requests[0].target == b"/base/"


async def test_an_ipv6_address_of_a_name_is_used(front: Fronts) -> None:
    async with DnsServer() as dns, UpstreamAt(answer(ok(b"six")), "::1") as upstream:
        await dns.tell({"six.test": ["::1"]})
        assert await body_of(await through(front, "six.test", upstream.port, dns)) == b"six"


async def test_an_alias_is_followed(front: Fronts) -> None:
    async with DnsServer("--cname=alias.test,real.test") as dns:
        await dns.tell({"real.test": ["127.0.0.1"]})
        upstream = await front.upstream()
        assert await body_of(await through(front, "alias.test", upstream.port, dns)) == b"ok"
        assert upstream.requests[0].header("host") == f"alias.test:{upstream.port}"


@BOTH_LOOPS
async def test_localhost_is_answered_without_dns(front: Fronts) -> None:
    async with DnsServer() as dns:
        upstream = await front.upstream()
        client = await through(front, "localhost", upstream.port, dns)
        assert await body_of(client) == b"ok"
        assert upstream.requests[0].header("host") == f"localhost:{upstream.port}"
        assert dns.queries("localhost") == 0  # RFC 6761 6.3


# how long an answer is used


@BOTH_LOOPS
async def test_a_changed_address_is_used_after_the_ttl_and_not_before(front: Fronts) -> None:
    async with (
        DnsServer(ttl=1) as dns,
        UpstreamAt(once(b"old"), "127.0.0.1") as old,
        UpstreamAt(once(b"new"), "127.0.0.2", old.port),
    ):
        await dns.tell({"moves.test": ["127.0.0.1"]})
        client = await through(front, "moves.test", old.port, dns)
        assert await body_of(client) == b"old"
        asked = asyncio.get_running_loop().time()
        await dns.tell({"moves.test": ["127.0.0.2"]})
        await until_body(client, b"new")
        assert 0.9 < asyncio.get_running_loop().time() - asked < 4
        assert dns.queries("moves.test") <= 5


async def test_a_ttl_of_nothing_is_min_ttl(front: Fronts) -> None:
    async with (
        DnsServer(ttl=0) as dns,
        UpstreamAt(once(b"old"), "127.0.0.1") as old,
        UpstreamAt(once(b"new"), "127.0.0.2", old.port),
    ):
        await dns.tell({"moves.test": ["127.0.0.1"]})
        client = await through(front, "moves.test", old.port, dns, min_ttl="600ms")
        for _ in range(5):
            assert await body_of(client) == b"old"
        assert dns.queries("moves.test") == 1
        await dns.tell({"moves.test": ["127.0.0.2"]})
        assert await until_body(client, b"new") < 2


@BOTH_LOOPS
async def test_a_long_ttl_is_max_ttl(front: Fronts) -> None:
    async with (
        DnsServer(ttl=3600) as dns,
        UpstreamAt(once(b"old"), "127.0.0.1") as old,
        UpstreamAt(once(b"new"), "127.0.0.2", old.port),
    ):
        await dns.tell({"moves.test": ["127.0.0.1"]})
        client = await through(front, "moves.test", old.port, dns, max_ttl="300ms")
        assert await body_of(client) == b"old"
        await dns.tell({"moves.test": ["127.0.0.2"]})
        assert await until_body(client, b"new") < 2


async def test_a_kept_connection_needs_no_lookup(front: Fronts) -> None:
    async with DnsServer(ttl=0) as dns:
        await dns.tell({"api.test": ["127.0.0.1"]})
        upstream = await front.upstream()
        client = await through(front, "api.test", upstream.port, dns, min_ttl="1ms")
        assert await body_of(client) == b"ok"
        await dns.stop()
        assert await body_of(client) == b"ok"
        assert len(upstream.connections) == 1


async def keeping(front: Fronts, name: str, port: int, dns: DnsServer, **connections: Any) -> Gateway:
    """A gateway that keeps its connections to http://name:port."""
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"}, dns={"servers": [dns.address]})
    gateway.service("moving", [f"http://{name}:{port}"], connections=connections)
    gateway.route("/*", service="moving")
    return await front.start(gateway)


async def kept(front: Fronts, name: str, port: int, dns: DnsServer, **connections: Any) -> RawClient:
    """A client of such a gateway."""
    return await front.client(await keeping(front, name, port, dns, **connections))


@BOTH_LOOPS
@pytest.mark.parametrize(("before", "after"), [("127.0.0.1", "127.0.0.2"), ("::1", "127.0.0.2"), ("127.0.0.1", "::1")])
async def test_steady_traffic_follows_a_name_that_moves(front: Fronts, before: str, after: str) -> None:
    """Each request takes the connection that the last one gave back, so nothing is opened that would look it up."""
    async with (
        DnsServer(ttl=1) as dns,
        UpstreamAt(answer(ok(b"old")), before) as old,
        UpstreamAt(answer(ok(b"new")), after, old.port) as new,
    ):
        await dns.tell({"moves.test": [before]})
        client = await kept(front, "moves.test", old.port, dns)
        assert await body_of(client) == b"old"
        await dns.tell({"moves.test": [after]})
        await until_body(client, b"new")
        await old.connections[0].gone()
        assert (len(old.connections), len(new.connections)) == (1, 1)


async def test_an_idle_connection_to_an_address_that_left_is_closed(front: Fronts) -> None:
    async with DnsServer(ttl=1) as dns, UpstreamAt(answer(ok(b"old")), "127.0.0.1") as old:
        await dns.tell({"moves.test": ["127.0.0.1"]})
        client = await kept(front, "moves.test", old.port, dns)
        assert await body_of(client) == b"old"
        await dns.tell({"moves.test": ["127.0.0.2"]})
        await old.connections[0].gone(8)


async def test_an_exchange_at_an_address_that_left_comes_to_its_end(front: Fronts) -> None:
    """A stream goes on, and so do WebSockets; the connection ends behind it."""
    sent = asyncio.Event()

    async def stream(connection: UpstreamConnection) -> None:
        while True:
            await connection.request()
            connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nold")
            if connection is old.connections[0]:
                await sent.wait()
            connection.send(b"...")

    async with (
        DnsServer(ttl=1) as dns,
        UpstreamAt(stream, "127.0.0.1") as old,
        UpstreamAt(answer(ok(b"new")), "127.0.0.2", old.port),
    ):
        await dns.tell({"moves.test": ["127.0.0.1"]})
        gateway = await keeping(front, "moves.test", old.port, dns)
        streaming = await front.client(gateway)
        await streaming.send(request_bytes())
        await old.until(lambda: bool(old.requests), "the request")
        await dns.tell({"moves.test": ["127.0.0.2"]})
        await until_body(await front.client(gateway), b"new")
        assert not old.connections[0].eof
        sent.set()
        assert (await streaming.reply()).body == b"old..."
        await old.connections[0].gone()


async def test_while_dns_fails_connections_stay(front: Fronts) -> None:
    async with DnsServer(ttl=1) as dns:
        upstream = await front.upstream()
        await dns.tell({"api.test": ["127.0.0.1"]})
        client = await kept(front, "api.test", upstream.port, dns)
        assert await body_of(client) == b"ok"
        asked = dns.queries("api.test")
        await dns.tell({"other.test": ["127.0.0.2"]})
        async with within(8, "the name is asked for again"):
            while dns.queries("api.test") == asked:
                assert await body_of(client) == b"ok"
        for _ in range(3):
            assert await body_of(client) == b"ok"
        assert len(upstream.connections) == 1


async def test_connections_that_stay_with_a_moved_name_do_so(front: Fronts) -> None:
    async with (
        DnsServer(ttl=0) as dns,
        UpstreamAt(answer(ok(b"old")), "127.0.0.1") as old,
    ):
        await dns.tell({"moves.test": ["127.0.0.1"]})
        client = await kept(front, "moves.test", old.port, dns, follow_dns=False)
        assert await body_of(client) == b"old"
        asked = dns.queries("moves.test")
        await dns.tell({"moves.test": ["127.0.0.2"]})
        for _ in range(3):
            assert await body_of(client) == b"old"
        assert (len(old.connections), dns.queries("moves.test")) == (1, asked)


# names that fail


@BOTH_LOOPS
async def test_a_name_that_does_not_exist_is_nobody_there(front: Fronts) -> None:
    async with DnsServer() as dns:
        upstream = await front.upstream()
        client = await through(front, "gone.test", upstream.port, dns)
        await assert_nobody(client, "connect.dns")
        assert dns.queries("gone.test") >= 1
        assert upstream.received == b""


async def test_a_name_that_comes_to_exist_is_found_soon(front: Fronts) -> None:
    async with DnsServer() as dns:
        upstream = await front.upstream()
        client = await through(front, "soon.test", upstream.port, dns)
        await assert_nobody(client, "connect.dns")
        await dns.tell({"soon.test": ["127.0.0.1"]})
        async with within(5, "the name is found"):
            while (await client.ask(request_bytes())).status != 200:
                pass


async def test_a_name_that_fails_for_everybody_is_asked_once(front: Fronts) -> None:
    async with DnsServer() as dns:
        f_client = await through(front, "gone.test", 80, dns)
        await assert_nobody(f_client, "connect.dns")
        asked = dns.queries("gone.test")
        for _ in range(5):
            await assert_nobody(f_client, "connect.dns")
        assert dns.queries("gone.test") == asked


@BOTH_LOOPS
async def test_a_dns_server_that_ends_takes_no_service_away(front: Fronts) -> None:
    async with DnsServer(ttl=0) as dns, UpstreamAt(once(b"still"), "127.0.0.1") as upstream:
        await dns.tell({"api.test": ["127.0.0.1"]})
        client = await through(front, "api.test", upstream.port, dns, min_ttl="1ms")
        assert await body_of(client) == b"still"
        await dns.stop()
        started = asyncio.get_running_loop().time()
        for _ in range(5):
            assert await body_of(client) == b"still"
        assert asyncio.get_running_loop().time() - started < 2


async def test_no_dns_server_at_the_address_is_nobody_there(front: Fronts) -> None:
    await assert_nobody(await through(front, "api.test", 80, f"127.0.0.1:{free_port()}"), "connect.dns")


@BOTH_LOOPS
async def test_a_dns_server_that_says_nothing_is_a_connect_timeout(front: Fronts) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        client = await through(front, "api.test", 80, f"127.0.0.1:{mute.getsockname()[1]}", connect="300ms")
        started = asyncio.get_running_loop().time()
        await assert_nobody(client, "connect.timeout", 504)
        assert asyncio.get_running_loop().time() - started < 2


# several addresses


@contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """An address where connections are neither accepted nor refused: its queue is full."""
    with socket.socket() as listener:
        listener.bind((host, port))
        listener.listen(0)
        queue = [socket.socket() for _ in range(8)]
        try:
            for each in queue:
                each.setblocking(False)
                each.connect_ex((host, port))
            yield
        finally:
            for each in queue:
                each.close()


@BOTH_LOOPS
async def test_happy_eyeballs_goes_past_an_address_that_refuses(front: Fronts) -> None:
    async with DnsServer(ttl=0) as dns, UpstreamAt(once(b"alive"), "127.0.0.1") as upstream:
        await dns.tell({"two.test": ["127.0.0.3", "127.0.0.1", "::1"]})
        client = await through(front, "two.test", upstream.port, dns)
        started = asyncio.get_running_loop().time()
        for _ in range(6):
            assert await body_of(client) == b"alive"
        assert asyncio.get_running_loop().time() - started < 3


@BOTH_LOOPS
async def test_happy_eyeballs_goes_past_an_address_that_says_nothing(front: Fronts) -> None:
    async with DnsServer(ttl=0) as dns, UpstreamAt(once(b"alive"), "127.0.0.1") as upstream:
        with black_hole("127.0.0.3", upstream.port):
            await dns.tell({"hole.test": ["127.0.0.3"], "two.test": ["127.0.0.3", "127.0.0.1"]})
            hole = await through(front, "hole.test", upstream.port, dns, connect="300ms")
            await assert_nobody(hole, "connect.timeout", 504)  # it is a hole indeed
            client = await through(front, "two.test", upstream.port, dns)
            for _ in range(4):
                started = asyncio.get_running_loop().time()
                assert await body_of(client) == b"alive"
                assert asyncio.get_running_loop().time() - started < 1.5


@BOTH_LOOPS
async def test_all_addresses_dead_is_nobody_there(front: Fronts) -> None:
    async with DnsServer() as dns:
        upstream = await front.upstream()
        upstream.stop_listening()
        await dns.tell({"dead.test": ["127.0.0.1", "127.0.0.3", "::1"]})
        await assert_nobody(await through(front, "dead.test", upstream.port, dns), "connect.refused")
