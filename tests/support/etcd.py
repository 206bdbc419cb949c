"""Real etcd for tests: members on free loopback ports with their data in a temporary folder, ended by their ids.

What is written goes through `etcdctl`, so that nothing of ours judges itself.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from .deadline import real_time, within
from .ports import free_ports

START_S = 12.0


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"this test needs {name} (Debian: apt-get install {package})")
    return found


class Etcd:
    """One member, which may be killed and started again.

    Attributes:
        url: where clients ask it.
    """

    def __init__(self, folder: Path, port: int, arguments: Sequence[str], scheme: str = "http") -> None:
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.folder = folder
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it on its data; it need not be ready at once."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                _program("etcd", "etcd-server"), "--data-dir", str(self.folder / "data"),
                "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                "--heartbeat-interval", "50", "--election-timeout", "500", *self._arguments,
                stdout=log, stderr=log,
            )  # fmt: skip

    async def ready(self, *arguments: str) -> None:
        """Wait until it takes part in a cluster with a leader; the arguments are etcdctl's."""
        async with within(START_S, f"etcd is ready; its log is {self.folder / 'log'}"):
            while "is healthy" not in await self.ctl("endpoint", "health", *arguments, check=False):
                await real_time(0.05)

    async def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, without a chance to say goodbye unless told otherwise."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()

    async def ctl(self, *arguments: str, check: bool = True, given: str = "") -> str:
        """Run etcdctl, give it some text to read, and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            _program("etcdctl", "etcd-client"), "--endpoints", self.url, "--dial-timeout", "1s", *arguments,
            stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=os.environ | {"ETCDCTL_API": "3"},
        )  # fmt: skip
        output = (await process.communicate(given.encode() or None))[0].decode()
        assert not check or process.returncode == 0, output
        return output

    async def put(self, key: str, value: str, *arguments: str) -> None:
        await self.ctl("put", key, value, *arguments)

    async def delete(self, key: str) -> None:
        await self.ctl("del", key)

    async def revision(self) -> int:
        """The revision of the store."""
        with await asyncio.to_thread(
            urllib.request.urlopen, urllib.request.Request(f"{self.url}/v3/kv/range", b'{"key":"AA=="}')
        ) as answer:
            return int(answer.read().decode().split('"revision":"')[1].split('"')[0])


@asynccontextmanager
async def etcd(folder: Path, *arguments: str, scheme: str = "http") -> AsyncIterator[Etcd]:
    """One member that is ready (over https it is not waited for)."""
    port, peer = free_ports(2)
    peer_url = f"http://127.0.0.1:{peer}"
    member = Etcd(
        folder / "etcd", port, ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
        "--initial-cluster", f"default={peer_url}", *arguments], scheme,
    )  # fmt: skip
    try:
        await member.start()
        if scheme == "http":
            await member.ready()
        yield member
    finally:
        await member.stop()


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[list[Etcd]]:
    """Three members, the leader first: when another one dies, there is no election to wait for."""
    ports = free_ports(6)
    peers = {f"m{number}": f"http://127.0.0.1:{port}" for number, port in enumerate(ports[3:])}
    members = [
        Etcd(
            folder / name, port, ["--name", name, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", ",".join(f"{name}={url}" for name, url in peers.items())],
        )
        for port, (name, peer) in zip(ports, peers.items(), strict=False)
    ]  # fmt: skip
    async with AsyncExitStack() as stack:
        for member in members:
            stack.push_async_callback(member.stop)
            await member.start()
        for member in members:
            await member.ready()
        leads = [", true, false," in await member.ctl("endpoint", "status") for member in members]
        yield sorted(members, key=lambda member: not leads[members.index(member)])
