"""Where clients connect, through the whole gateway: IPv4, IPv6, Unix sockets, several at once; and how they leave."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from propylon import Gateway
from propylon.inbound.listener import ListenError
from tests.conftest import BOTH_LOOPS
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import real_time
from tests.support.front import Front, Fronts
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, ok


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.sock"


def gateway_at(*addresses: Any) -> Gateway:
    """A gateway that answers everything by itself."""
    gateway = Gateway(listen=list(addresses), timeouts={"drain": "200ms"})
    return gateway.route("/*", respond="here")


async def body_at(port: int = 0, host: str = "127.0.0.1", unix: Path | None = None) -> bytes:
    """What a new client is answered."""
    async with RawClient(port, host, unix=str(unix) if unix else None) as client:
        return bytes((await client.ask(request_bytes())).body)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


async def assert_nobody(port: int = 0, host: str = "127.0.0.1", unix: Path | None = None) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        await RawClient(port, host, unix=str(unix) if unix else None).connect()


def leave_stale_socket(path: Path) -> int:
    """What a process that was killed leaves; return its inode, which no other file can get."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    os.link(path, path.with_name("second name"))
    return inode(path)


def inode(path: Path) -> int:
    """Which file it is; 0 for none."""
    return path.stat().st_ino if path.exists() else 0


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# addresses


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("address", "hosts", "refused"),
    [
        ("127.0.0.1:0", ["127.0.0.1"], ["127.0.0.2", "::1"]),
        ("127.0.0.2:0", ["127.0.0.2"], ["127.0.0.1", "::1"]),
        ("[::1]:0", ["::1"], ["127.0.0.1"]),
        ("localhost:0", ["127.0.0.1"], ["127.0.0.2"]),
        (":0", ["127.0.0.1", "127.0.0.2", "::1"], []),
        ("0.0.0.0:0", ["127.0.0.1", "127.0.0.2"], ["::1"]),
        ("[::]:0", ["::1"], ["127.0.0.1"]),
    ],
)
async def test_a_listener_listens_there_and_only_there(address: str, hosts: list[str], refused: list[str]) -> None:
    async with gateway_at(address) as gateway:
        assert gateway.addresses == [f"{address.rpartition(':')[0]}:{gateway.port}"]
        port = gateway.port
        assert port > 0
        for host in hosts:
            assert await body_at(gateway.port, host) == b"here"
        for host in refused:
            await assert_nobody(gateway.port, host)
    for host in hosts:
        await assert_nobody(port, host)


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("address", "host", "known_as"),
    [
        (":0", "127.0.0.1", "127.0.0.1"),  # never ::ffff:127.0.0.1
        (":0", "::1", "::1"),
        ("[::1]:0", "::1", "::1"),
        ("unix", "", "unknown"),
    ],
)
async def test_a_service_is_told_the_address_of_the_client(
    front: Fronts, path: Path, address: str, host: str, known_as: str
) -> None:
    f = await front(listen=f"unix:{path}" if address == "unix" else address)
    port = 0 if address == "unix" else f.port
    async with RawClient(port, host, unix=str(path) if address == "unix" else None) as client:
        assert (await client.ask(request_bytes())).status == 200
    assert f.upstream.requests[0].header("x-forwarded-for") == known_as
    assert f.upstream.requests[0].header("x-forwarded-port") == (str(port) if port else "80")


@BOTH_LOOPS
async def test_several_listeners_at_once(path: Path) -> None:
    async with gateway_at("127.0.0.1:0", "[::1]:0", f"unix:{path}", ":0") as gateway:
        four, six, unix, both = gateway.addresses
        assert unix == f"unix:{path}"
        assert await body_at(port_of(four)) == b"here"
        assert await body_at(port_of(six), "::1") == b"here"
        assert await body_at(unix=path) == b"here"
        assert await body_at(port_of(both), "::1") == b"here"
        assert gateway.url == f"http://{four}"
    for port, host in ((port_of(four), "127.0.0.1"), (port_of(six), "::1"), (port_of(both), "::1")):
        await assert_nobody(port, host)
    assert not inode(path)


async def test_port_0_at_several_listeners_gives_several_ports() -> None:
    async with gateway_at("127.0.0.1:0", "127.0.0.1:0") as gateway:
        assert len({port_of(address) for address in gateway.addresses}) == 2


# addresses that are taken


@BOTH_LOOPS
@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "")])
async def test_an_address_in_use_is_named(host: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match="address already in use") as caught:
            await gateway_at(f"{address}:{port}").start()
        assert str(caught.value).startswith(f"{address}:{port}: ")


@BOTH_LOOPS
async def test_all_listeners_are_opened_or_none(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as taken:
        first, last = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        gateway = gateway_at(f"127.0.0.1:{first}", f"unix:{path}", f"127.0.0.1:{last}")
        with pytest.raises(ListenError, match=f"127.0.0.1:{last}: address already in use"):
            await gateway.start()
        assert gateway.addresses == []
        assert not inode(path)
        await assert_nobody(first)
        taken.close()
        async with gateway:  # the way out: free the address, start again
            assert await body_at(first) == await body_at(last) == await body_at(unix=path) == b"here"


@BOTH_LOOPS
async def test_an_address_can_be_listened_at_again_at_once() -> None:
    async with gateway_at("127.0.0.1:0") as gateway:
        port = gateway.port
        assert await body_at(port) == b"here"  # leaves a connection in TIME_WAIT
    async with gateway_at(f"127.0.0.1:{port}"):
        assert await body_at(port) == b"here"


# unix sockets


@BOTH_LOOPS
async def test_a_unix_socket_is_for_owner_and_group_and_removed_at_the_end(path: Path) -> None:
    before = os.umask(0)
    try:
        async with gateway_at(f"unix:{path}") as gateway:
            assert mode(path) == 0o660
            assert gateway.addresses == [f"unix:{path}"]
            assert await body_at(unix=path) == b"here"
    finally:
        os.umask(before)
    assert not inode(path)


@BOTH_LOOPS
@pytest.mark.parametrize(("written", "expected"), [("0600", 0o600), ("666", 0o666), ("0777", 0o777)])
async def test_the_mode_of_a_unix_socket_may_be_set(path: Path, written: str, expected: int) -> None:
    async with gateway_at({"address": f"unix:{path}", "mode": written}):
        assert mode(path) == expected


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
async def test_a_unix_socket_may_be_given_to_another_owner(path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    async with gateway_at({"address": f"unix:{path}", "owner": "nobody", "group": nobody.pw_gid}):
        assert (*owner(path), mode(path)) == (nobody.pw_uid, nobody.pw_gid, 0o660)


@pytest.mark.parametrize("key", ["owner", "group"])
async def test_an_owner_that_is_not_there_is_told_and_no_file_left(path: Path, key: str) -> None:
    with pytest.raises(ListenError, match=r"there is no (user|group) 'who-is-it'"):
        await gateway_at({"address": f"unix:{path}", key: "who-is-it"}).start()
    assert inode(path) == 0


async def test_a_reload_changes_the_mode_of_a_socket_that_stays(path: Path) -> None:
    async with gateway_at({"address": f"unix:{path}", "mode": "0600"}) as gateway:
        before = inode(path)
        await gateway.reload(gateway_at({"address": f"unix:{path}", "mode": "0666"}).config)
        assert (mode(path), inode(path)) == (0o666, before)
        await gateway.reload(gateway_at(f"unix:{path}").config)
        assert mode(path) == 0o660


async def test_a_reload_that_names_an_owner_who_is_not_there_changes_nothing(path: Path) -> None:
    async with gateway_at(f"unix:{path}") as gateway:
        with pytest.raises(ListenError, match="no user"):
            await gateway.reload(gateway_at({"address": f"unix:{path}", "mode": "0666", "owner": "who-is-it"}).config)
        assert mode(path) == 0o660
        assert await body_at(unix=path) == b"here"


async def test_a_stale_unix_socket_is_replaced(path: Path) -> None:
    stale = leave_stale_socket(path)
    async with gateway_at(f"unix:{path}"):
        assert inode(path) != stale
        assert await body_at(unix=path) == b"here"


@BOTH_LOOPS
async def test_a_live_unix_socket_is_refused_and_left_alone(path: Path) -> None:
    async with gateway_at(f"unix:{path}"):
        before = inode(path)
        with pytest.raises(ListenError, match=f"unix:{path}: address already in use"):
            await gateway_at(f"unix:{path}").start()
        assert inode(path) == before
        assert await body_at(unix=path) == b"here"
    assert not inode(path)


def test_a_file_in_the_way_of_a_unix_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file that is no socket is in the way"):
        asyncio.run(gateway_at(f"unix:{path}").start())
    assert path.read_text() == "precious"


async def test_the_socket_of_a_successor_is_not_removed(path: Path) -> None:
    async with gateway_at(f"unix:{path}") as gateway:
        os.rename(path, f"{path}.old")
        async with gateway_at(f"unix:{path}"):
            await gateway.stop()
            assert await body_at(unix=path) == b"here"


# clients that leave


async def waiting(front: Fronts, path: Path, listener: str, **more: Any) -> tuple[Front, RawClient]:
    """A client over `listener`, whose request has arrived at an endpoint."""
    f = await front(listen=f"unix:{path}" if listener == "unix" else "127.0.0.1:0", **more)
    client = RawClient(0, unix=str(path)) if listener == "unix" else RawClient(f.port)
    await client.connect()
    await client.send(request_bytes(b"/x", method=b"POST", body=b"whole"))
    await f.upstream.until(lambda: bool(f.upstream.requests), "the request")
    return f, client


async def silent(connection: UpstreamConnection) -> None:
    """Take a request and never answer."""
    await connection.request()


@BOTH_LOOPS
@pytest.mark.parametrize("listener", ["tcp", "unix"])
async def test_a_client_that_closes_while_it_waits_closes_the_endpoints_connection_within_a_second(
    front: Fronts, path: Path, listener: str
) -> None:
    f, client = await waiting(front, path, listener, script=silent)
    client.close()
    await f.upstream.connections[0].gone(1)


@BOTH_LOOPS
@pytest.mark.parametrize("listener", ["tcp", "unix"])
async def test_a_half_closed_client_gets_its_answer_after_a_second_and_a_half(
    front: Fronts, path: Path, listener: str
) -> None:
    async def slow(connection: UpstreamConnection) -> None:
        await connection.request()
        await real_time(1.5)
        connection.send(ok(b"worth it"))

    _, client = await waiting(front, path, listener, script=slow)
    try:
        client.half_close()
        reply = await client.reply("POST")
        assert (reply.status, bytes(reply.body)) == (200, b"worth it")
        assert set(reply.informational) <= {100}
        await client.assert_closed()
    finally:
        client.close()


async def test_a_half_closed_http_1_0_client_is_sent_no_interim_response(front: Fronts) -> None:
    async def slow(connection: UpstreamConnection) -> None:
        await connection.request()
        await real_time(1)
        connection.send(ok(b"worth it"))

    f = await front(slow)
    client = await f.client()
    await client.send(b"GET / HTTP/1.0\r\nhost: a.example\r\n\r\n")
    client.half_close()
    assert (await client.until_closed()).startswith(b"HTTP/1.1 200 OK\r\n")


@BOTH_LOOPS
async def test_a_gateway_that_stops_closes_every_connection_of_every_listener(path: Path) -> None:
    async with ScriptedUpstream(answer(ok())) as upstream:
        gateway = Gateway(listen=["127.0.0.1:0", f"unix:{path}"], timeouts={"drain": "200ms"})
        gateway.route("/*", target=upstream.url)
        await gateway.start()
        async with RawClient(gateway.port) as tcp, RawClient(0, unix=str(path)) as unix, RawClient(gateway.port) as new:
            assert (await tcp.ask(request_bytes())).status == (await unix.ask(request_bytes())).status == 200
            await asyncio.gather(gateway.stop(), tcp.assert_closed(), unix.assert_closed(), new.assert_closed())
        for connection in upstream.connections:
            await connection.gone()
