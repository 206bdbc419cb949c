"""A gateway as a process whose configuration changes: by SIGHUP and by its files, with everybody connected."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.support.client import RawClient, request_bytes
from tests.support.deadline import real_time, within
from tests.support.ports import free_port
from tests.support.process import SOURCE, Process, running

TAKEN = "took up the (new )?configuration"
REFUSED = "the configuration stays as it was"


def text(body: str, listen: str = "127.0.0.1:0", more: str = "") -> str:
    return f'listen: {listen}\nroutes:\n  - {{path: /*, respond: {{body: "{body}"}}}}\n{more}\n'


class Live:
    """A process, its folder, and a client that stays connected."""

    def __init__(self, folder: Path, process: Process, client: RawClient) -> None:
        self.folder, self.process, self.client = folder, process, client
        self.file = folder / "p.yaml"

    async def body(self) -> str:
        reply = await self.client.ask(request_bytes())
        assert reply.status == 200
        return reply.body.decode()

    async def becomes(self, wanted: str) -> None:
        async with within(10, f"the answer becomes {wanted!r}; so far: {self.process.output}"):
            while await self.body() != wanted:
                await real_time(0.02)

    async def hang_up(self, pattern: str, times: int = 1) -> None:
        self.process.signal(signal.SIGHUP)
        await self.process.said_again(pattern, times)


@asynccontextmanager
async def live(folder: Path, *options: str, target: str = "p.yaml") -> AsyncIterator[Live]:
    if target == "p.yaml" and not (folder / "p.yaml").exists():
        (folder / "p.yaml").write_text(text("one"))
    async with running(folder, target, options=options) as process, RawClient(await process.port()) as client:
        yield Live(folder, process, client)
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0


# SIGHUP


async def test_sighup_takes_up_the_file_and_keeps_connections(tmp_path: Path) -> None:
    async with live(tmp_path) as gateway:
        assert await gateway.body() == "one"
        gateway.file.write_text(text("two"))
        await gateway.hang_up(TAKEN)
        assert await gateway.body() == "two"
        await gateway.hang_up("nothing has changed")
        assert await gateway.body() == "two"


async def test_a_broken_file_is_told_as_check_tells_it_and_changes_nothing(tmp_path: Path) -> None:
    async with live(tmp_path) as gateway:
        gateway.file.write_text("listen: 127.0.0.1:0\nroute: []\nroutes: [{path: x}]\n")
        await gateway.hang_up(REFUSED)
        await gateway.process.said(r"^    p\.yaml:2:1: route: unknown key 'route', write 'routes', a list$")
        await gateway.process.said(r"^    p\.yaml:3:\d+: routes\.0")
        assert await gateway.body() == "one"
        gateway.file.write_text(text("two"))
        await gateway.hang_up(TAKEN)
        assert await gateway.body() == "two"


async def test_the_level_of_the_log_applies(tmp_path: Path) -> None:
    async with live(tmp_path) as gateway:
        gateway.file.write_text(text("two", more="log: {level: error}"))
        gateway.process.signal(signal.SIGHUP)
        await gateway.becomes("two")
        gateway.file.write_text(text("three"))
        gateway.process.signal(signal.SIGHUP)
        await gateway.becomes("three")
        await gateway.process.said_again(TAKEN, 1)


async def test_service_mode_stays_ready(tmp_path: Path) -> None:
    port = free_port()
    environment = {"UPSTREAMS": '{"users": ["http://127.0.0.1:1"]}', "HOST": "127.0.0.1", "PORT": str(port)}
    async with running(tmp_path, environment=environment) as process, RawClient(await process.port()) as client:
        assert (await client.ask(request_bytes(b"/readyz"))).status == 200
        process.signal(signal.SIGHUP)
        await process.said("nothing has changed")
        assert (await client.ask(request_bytes(b"/readyz"))).status == 200


def test_a_terminal_that_is_closed_takes_it_along(tmp_path: Path) -> None:
    """SIGHUP comes from a closing terminal too, and then it is meant as ever."""
    (tmp_path / "p.yaml").write_text(text("one"))
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.environ["PYTHONPATH"] = SOURCE
        os.execv(sys.executable, [sys.executable, "-m", "propylon", "run", "p.yaml"])
    try:
        read_until(terminal, b"listening")
        os.kill(process, signal.SIGHUP)
        read_until(terminal, b"nothing has changed")
        os.close(terminal)
        until = monotonic() + 10
        while not (ended := os.waitpid(process, os.WNOHANG))[0]:
            assert monotonic() < until, "it goes on without its terminal"
        assert os.waitstatus_to_exitcode(ended[1]) == 0
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise


def read_until(terminal: int, mark: bytes) -> None:
    said = b""
    while mark not in said:
        assert select.select([terminal], [], [], 10)[0], f"not within 10 s: {mark!r} in {said!r}"
        said += os.read(terminal, 4096)


APP = """
import os
from propylon import Gateway, Response

gateway = Gateway(listen="127.0.0.1:0")

@gateway.policy
def hello(x):
    return Response(200, body="{}")

gateway.route("/*", respond="never")
"""


async def test_a_python_gateway_is_imported_anew(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format("one"))
    async with live(tmp_path, target="app:gateway") as gateway:
        assert await gateway.body() == "one"
        (tmp_path / "app.py").write_text(APP.format("two"))
        await gateway.hang_up(TAKEN)
        assert await gateway.body() == "two"
        (tmp_path / "app.py").write_text("gateway = nothing")
        await gateway.hang_up(REFUSED)
        await gateway.process.said("app:gateway cannot be imported: NameError: name 'nothing' is not defined")
        assert await gateway.body() == "two"


# --watch


async def test_a_file_that_is_written_twice_is_taken_up_in_the_end(tmp_path: Path) -> None:
    async with live(tmp_path, "--watch") as gateway:
        with gateway.file.open("w") as file:
            file.write("listen: [")
            file.flush()
            os.fsync(file.fileno())
            file.write(" 127.0.0.1:0 ]\n" + text("two").partition("\n")[2])
        await gateway.becomes("two")
        await gateway.process.said(TAKEN)


async def test_a_file_that_is_replaced_by_renaming_is_taken_up(tmp_path: Path) -> None:
    async with live(tmp_path, "--watch") as gateway:
        for number in range(2):
            (tmp_path / "new").write_text(text(str(number)))
            os.replace(tmp_path / "new", gateway.file)
            await gateway.becomes(str(number))


async def test_a_file_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    async with live(tmp_path, "--watch") as gateway:
        gateway.file.unlink()
        await gateway.process.said(r"p\.yaml is gone: what was read of it stays in use")
        assert await gateway.body() == "one"
        gateway.file.write_text(text("two"))
        await gateway.becomes("two")


async def test_a_broken_file_is_watched_on(tmp_path: Path) -> None:
    async with live(tmp_path, "--watch") as gateway:
        gateway.file.write_text("routes: {")
        await gateway.process.said(REFUSED)
        assert await gateway.body() == "one"
        gateway.file.write_text(text("two"))
        await gateway.becomes("two")


async def test_modules_secrets_and_pages_are_watched(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def mark(x): x.request.headers['x-a'] = '1'\n")
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "404.html").write_text("old page")
    (tmp_path / "p.yaml").write_text(
        "listen: 127.0.0.1:0\nerrors: {pages: {404: 404.html}}\n"
        "policies: [{python: 'mine:mark'}]\n"
        "routes: [{path: /, respond: {body: {from_file: secret}}}]\n"
    )
    async with live(tmp_path, "--watch") as gateway:
        assert await gateway.body() == "s3cret"
        (tmp_path / "secret").write_text("other")
        await gateway.becomes("other")
        (tmp_path / "404.html").write_text("new page")
        async with within(10, "the new page"):
            while (await gateway.client.ask(request_bytes(b"/absent"))).body != b"new page":
                await real_time(0.02)
        (tmp_path / "mine.py").write_text("import absent_helper\n")
        await gateway.process.said("absent_helper")
        (tmp_path / "absent_helper.py").write_text("")
        await gateway.process.said("'mine' has no 'mark'")
        body = "from propylon import Response\ndef mark(x): return Response(200, body='mine')\n"
        (tmp_path / "mine.py").write_text(body)
        await gateway.becomes("mine")
        assert "s3cret" not in gateway.process.output
        assert "other" not in gateway.process.output


@pytest.mark.parametrize("options", [(), ("--watch",)])
async def test_it_ends_as_ever_while_it_reloads(tmp_path: Path, options: tuple[str, ...]) -> None:
    async with live(tmp_path, *options) as gateway:
        for _ in range(5):
            gateway.process.signal(signal.SIGHUP)
