"""`propylon run` with the smallest file there is: it serves, ends cleanly, and says clearly why it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import propylon
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import real_time, within
from tests.support.ports import free_port
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, ok

RUN = "import sys; from propylon.cli.main import main; sys.exit(main())"


def write_minimal(folder: Path, port: int, target: str) -> Path:
    file = folder / "propylon.yaml"
    file.write_text(f'listen: 127.0.0.1:{port}\nroutes:\n  - {{path: /service/*, target: "{target}"}}\n')
    return file


@asynccontextmanager
async def running(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A `propylon run FILE` process; killed at the end if it still lives."""
    source = str(Path(propylon.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, "run", str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": source},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with within(10, f"something listens on {port}"):
        while True:
            assert process.returncode is None, "the process ended instead of listening"
            try:
                async with RawClient(port):
                    return
            except ConnectionError:
                await real_time(0.02)


async def ended(process: asyncio.subprocess.Process, seconds: float = 5) -> int:
    async with within(seconds, "the process ends"):
        return await process.wait()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop_and_exits_with_0(tmp_path: Path, ending: signal.Signals) -> None:
    port = free_port()
    async with ScriptedUpstream(answer(ok(b"hello"))) as upstream:
        async with running(write_minimal(tmp_path, port, upstream.url)) as process:
            await until_listening(port, process)
            async with RawClient(port) as client:
                assert bytes((await client.ask(request_bytes(b"/service/get?x=1"))).body) == b"hello"
                assert (await client.ask(request_bytes(b"/other"))).status == 404
            process.send_signal(ending)
            assert await ended(process) == 0
        assert [request.target for request in upstream.requests] == [b"/service/get?x=1"]


async def test_what_is_on_its_way_is_finished_before_it_exits(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        await release.wait()
        connection.send(ok(b"late"))

    port = free_port()
    async with ScriptedUpstream(script) as upstream, running(write_minimal(tmp_path, port, upstream.url)) as process:
        await until_listening(port, process)
        async with RawClient(port) as client, RawClient(port) as idle:
            await client.send(request_bytes(b"/service/slow"))
            await upstream.until(lambda: bool(upstream.requests), "the request")
            process.send_signal(signal.SIGTERM)
            await idle.assert_closed()
            with pytest.raises(ConnectionError):
                await RawClient(port).connect()
            release.set()
            assert bytes((await client.reply()).body) == b"late"
            await client.assert_closed()
        assert await ended(process) == 0


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = write_minimal(tmp_path, port, "http://127.0.0.1:1")
        async with running(file) as process, within(10, "the process gives up"):
            out, err = await process.communicate()
        assert process.returncode not in (0, None)
        lines = [line for line in (out + err).decode().splitlines() if line.strip()]
        assert len(lines) == 1, lines
        assert str(port) in lines[0]
        assert "in use" in lines[0]


async def test_a_bad_file_never_starts_and_names_every_place(tmp_path: Path) -> None:
    file = tmp_path / "propylon.yaml"
    file.write_text("listen: 127.0.0.1:0\nroutes:\n  - path: /a\n    targett: http://127.0.0.1:1\n  - path: 5\n")
    async with running(file) as process, within(10, "the process gives up"):
        out, err = await process.communicate()
    text = (out + err).decode()
    assert process.returncode not in (0, None)
    assert "propylon.yaml:4:" in text
    assert "target" in text
    assert "propylon.yaml:5:" in text
    assert "Traceback" not in text


async def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    async with running(tmp_path / "absent.yaml") as process, within(10, "the process gives up"):
        out, err = await process.communicate()
    assert process.returncode not in (0, None)
    assert "absent.yaml" in (out + err).decode()
    assert "Traceback" not in (out + err).decode()
