"""Listeners: addresses, both IP families, Unix sockets, and the sentence for each failure."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from propylon.address import ListenAddress
from propylon.inbound import listener as module
from propylon.inbound.listener import Listener, ListenError, bind, open_listener

Scenario = Callable[[], Coroutine[Any, Any, None]]
Runner = Callable[[Scenario], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    def runner(scenario: Scenario) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(scenario())

    return runner


class Hello(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]  # uvloop's transports are no asyncio.Transport
        transport.close()


async def opened(text: str) -> Listener:
    return await open_listener(ListenAddress.parse(text), Hello, backlog=16)


async def greeting(target: str | tuple[str, int]) -> bytes:
    if isinstance(target, str):
        reader, writer = await asyncio.open_unix_connection(target)
    else:
        reader, writer = await asyncio.open_connection(*target)
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return data


async def message(text: str) -> str:
    with pytest.raises(ListenError) as caught:
        await opened(text)
    return str(caught.value)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize(("text", "host"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")])
def test_port_0_becomes_the_port_that_was_found(run: Runner, text: str, host: str) -> None:
    async def scenario() -> None:
        listener = await opened(text)
        assert (listener.address.host, listener.address.port > 0) == (host, True)
        assert repr(listener) == f"<Listener {listener.address} open>"
        assert await greeting((host, listener.address.port)) == b"hello"
        listener.close()

    run(scenario)


def test_no_host_means_both_families_on_one_port(run: Runner) -> None:
    async def scenario() -> None:
        listener = await opened(":0")
        port = listener.address.port
        assert await greeting(("127.0.0.1", port)) == b"hello"
        assert await greeting(("::1", port)) == b"hello"
        listener.close()

    run(scenario)


def test_a_closed_listener_accepts_nobody_and_frees_its_port(run: Runner) -> None:
    async def scenario() -> None:
        listener = await opened("127.0.0.1:0")
        port = listener.address.port
        listener.close()
        listener.close()
        await asyncio.sleep(0)
        assert repr(listener) == f"<Listener 127.0.0.1:{port} closed>"
        with pytest.raises(ConnectionRefusedError):
            await greeting(("127.0.0.1", port))
        (await opened(f"127.0.0.1:{port}")).close()

    run(scenario)


def test_an_address_in_use_is_said_to_be_so(run: Runner, taken: int) -> None:
    async def scenario() -> None:
        says = await message(f"127.0.0.1:{taken}")
        assert says == f"127.0.0.1:{taken}: address already in use: another process listens there"
        assert "address already in use" in await message(f":{taken}")

    run(scenario)


def test_an_address_of_another_machine_is_said_to_be_so(run: Runner) -> None:
    async def scenario() -> None:
        assert await message("192.0.2.1:0") == "192.0.2.1:0: '192.0.2.1' is no address of this machine"
        assert "'no-such-host.invalid' is no address of this machine" in await message("no-such-host.invalid:0")

    run(scenario)


def test_a_port_below_1024_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "_bind_one", denied)
    with pytest.raises(ListenError) as caught:
        bind(ListenAddress.parse("127.0.0.1:80"))
    assert str(caught.value) == ("127.0.0.1:80: permission denied: ports below 1024 need root or CAP_NET_BIND_SERVICE")


def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._bind_one

    def without_ipv6(family: socket.AddressFamily, place: tuple[object, ...]) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return real(family, place)

    monkeypatch.setattr(module, "_bind_one", without_ipv6)
    sockets = bind(ListenAddress.parse(":0"))
    assert [sock.family for sock in sockets] == [socket.AF_INET]
    sockets[0].close()


def test_port_0_is_tried_again_when_the_other_family_has_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = module._bind_one, [1, 1]

    def collide(family: socket.AddressFamily, place: tuple[object, ...]) -> socket.socket:
        if family == socket.AF_INET6 and refusals:
            refusals.pop()
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, place)

    monkeypatch.setattr(module, "_bind_one", collide)
    sockets = bind(ListenAddress.parse(":0"))
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    for sock in sockets:
        sock.close()


def test_a_unix_socket_is_for_owner_and_group_and_goes_at_the_end(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "p.sock"

    async def scenario() -> None:
        listener = await opened(f"unix:{path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert await greeting(str(path)) == b"hello"
        listener.close()
        assert not path.exists()

    run(scenario)


def test_a_living_unix_socket_is_not_replaced(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "p.sock"

    async def scenario() -> None:
        listener = await opened(f"unix:{path}")
        assert await message(f"unix:{path}") == f"unix:{path}: address already in use: another process listens there"
        assert await greeting(str(path)) == b"hello"
        listener.close()

    run(scenario)


def test_a_busy_unix_socket_counts_as_living(run: Runner, tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")

    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
            busy.bind(path)
            busy.listen(0)
            waiting.connect(path)
            assert "address already in use" in await message(f"unix:{path}")

    run(scenario)


def test_the_socket_of_a_process_that_was_killed_is_replaced(run: Runner, tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")

    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        listener = await opened(f"unix:{path}")
        assert await greeting(path) == b"hello"
        listener.close()

    run(scenario)


def test_a_file_that_is_no_socket_is_left_alone(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    path.write_text("precious")

    async def scenario() -> None:
        assert "a file that is no socket is in the way" in await message(f"unix:{path}")
        assert path.read_text() == "precious"

    run(scenario)


def test_a_directory_that_is_missing_is_said_to_be_so(run: Runner, tmp_path: Path) -> None:
    async def scenario() -> None:
        assert "the directory of the socket does not exist" in await message(f"unix:{tmp_path}/none/p.sock")

    run(scenario)


def test_the_socket_of_a_successor_is_not_removed(run: Runner, tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")

    async def scenario() -> None:
        listener = await opened(f"unix:{path}")
        os.rename(path, path + ".old")
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(path)
            listener.close()
            assert stat.S_ISSOCK(os.stat(path).st_mode)

    run(scenario)


@pytest.fixture
async def one_taken(taken: int) -> AsyncIterator[list[socket.socket]]:
    """A bound pair of which the second cannot listen: the other socket of its port listens already."""
    first, second = socket.socket(), socket.socket()
    for sock in (first, second):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    first.bind(("127.0.0.1", 0))
    second.bind(("127.0.0.1", 0))
    yield [first, second]
    first.close()
    second.close()


async def test_sockets_are_all_closed_when_one_cannot_listen(one_taken: list[socket.socket]) -> None:
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(one_taken[1].getsockname())
        rival.listen()
        with pytest.raises(ListenError, match="address already in use"):
            await module.accept(ListenAddress("127.0.0.1", 0), one_taken, Hello, backlog=16)
        assert [sock.fileno() for sock in one_taken] == [-1, -1]
