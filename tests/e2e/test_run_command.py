"""`propylon run` as a process: signals, draining, what it opens and leaves behind, Python gateways, wrong files."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import ConnectionEnded, RawClient, request_bytes
from tests.support.deadline import PATIENCE, within
from tests.support.process import running
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, ok

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
BIG = bytes(range(256)) * 16384  # 4 MiB: more than all buffers on the way hold


def write(folder: Path, target: str, listen: str = "127.0.0.1:0", more: str = "") -> str:
    """A file with one route to `target`; return its name."""
    (folder / "p.yaml").write_text(f'listen: {listen}\n{more}\nroutes:\n  - {{path: /*, target: "{target}"}}\n')
    return "p.yaml"


def inode(path: Path) -> int:
    """Which file it is; 0 for none."""
    return path.stat().st_ino if path.exists() else 0


async def until_refused(port: int) -> None:
    """Wait until new connections are refused."""
    async with within(PATIENCE, f"connections to {port} are refused"):
        while True:
            try:
                async with RawClient(port):
                    await asyncio.sleep(0)
            except ConnectionError:
                return


# ending


@SIGNALS
async def test_a_signal_ends_it_at_once_when_nothing_is_under_way(tmp_path: Path, number: signal.Signals) -> None:
    async with (
        ScriptedUpstream(answer(ok())) as upstream,
        running(tmp_path, write(tmp_path, upstream.url)) as process,
        RawClient(await process.port()) as idle,
        RawClient(await process.port()) as new,
        RawClient(await process.port()) as begun,
    ):
        assert (await idle.ask(request_bytes())).status == 200
        await begun.send(b"GET / HTTP/1.1\r\nhost: a")
        process.signal(number)
        for client in (idle, new, begun):
            await client.assert_closed()
        assert await process.ended(3) == 0
        await until_refused(await process.port())
        await upstream.connections[0].gone()


@SIGNALS
async def test_a_request_under_way_is_answered_completely(tmp_path: Path, number: signal.Signals) -> None:
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        await release.wait()
        connection.send(ok(BIG))

    async with (
        ScriptedUpstream(script) as upstream,
        running(tmp_path, write(tmp_path, upstream.url)) as process,
        RawClient(await process.port()) as client,
    ):
        await client.send(request_bytes())
        await upstream.until(lambda: bool(upstream.requests), "the request")
        process.signal(number)
        await process.said("stopping")
        await until_refused(await process.port())
        process.signal(number)  # told twice, it ends no sooner
        release.set()
        reply = await client.reply(seconds=10)
        assert reply.body == BIG
        assert reply.header("connection") == "close"
        await client.assert_closed()
        client.close()  # until it closes too, or for `timeouts.linger`, its answer might still be on the way
        assert await process.ended() == 0


@SIGNALS
async def test_bodies_under_way_both_ways_are_carried_to_their_ends(tmp_path: Path, number: signal.Signals) -> None:
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        request = await connection.head()
        if request.method == b"POST":
            connection.send(ok(await connection.body_of(request)))
            return
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
        await release.wait()
        connection.send(b" last")

    async with (
        ScriptedUpstream(script) as upstream,
        running(tmp_path, write(tmp_path, upstream.url)) as process,
        RawClient(await process.port()) as download,
        RawClient(await process.port()) as upload,
    ):
        await download.send(request_bytes())
        assert (await download.read_until(b"first")).startswith(b"HTTP/1.1 200 ")
        await upload.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst")
        await upstream.until(lambda: any(bytes(r.body) == b"first" for r in upstream.requests), "half the upload")
        process.signal(number)
        await process.said("stopping")
        await upload.send(b" last")
        assert bytes((await upload.reply("POST")).body) == b"first last"
        release.set()
        assert await download.until_closed() == b" last"
        download.close()
        upload.close()
        assert await process.ended() == 0


async def test_what_is_pipelined_behind_the_last_answer_is_not_begun(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        await release.wait()
        connection.send(ok(b"last"))

    async with (
        ScriptedUpstream(script) as upstream,
        running(tmp_path, write(tmp_path, upstream.url)) as process,
        RawClient(await process.port()) as client,
    ):
        await client.send(request_bytes(b"/1") + request_bytes(b"/2"))
        await upstream.until(lambda: bool(upstream.requests), "the request")
        process.signal(signal.SIGTERM)
        await process.said("stopping")
        release.set()
        assert bytes((await client.reply()).body) == b"last"
        await client.assert_closed()
        client.close()
        assert [request.target for request in upstream.requests] == [b"/1"]
        assert await process.ended() == 0


@SIGNALS
async def test_what_takes_longer_than_the_drain_time_is_cut(tmp_path: Path, number: signal.Signals) -> None:
    async def script(connection: UpstreamConnection) -> None:
        request = await connection.request()
        if request.target == b"/begun":
            connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    loop = asyncio.get_running_loop()
    async with (
        ScriptedUpstream(script) as upstream,
        running(tmp_path, write(tmp_path, upstream.url, more="timeouts: {drain: 300ms}")) as process,
        RawClient(await process.port()) as waiting,
        RawClient(await process.port()) as begun,
    ):
        await waiting.send(request_bytes(b"/waiting"))
        await begun.send(request_bytes(b"/begun"))
        await upstream.until(lambda: len(upstream.requests) == 2, "both requests")
        process.signal(number)
        told = loop.time()
        with pytest.raises(ConnectionEnded) as cut:
            await begun.reply()
        assert cut.value.partial is None or cut.value.partial.body == b"half"
        rest = await waiting.until_closed()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 503 ")
        assert await process.ended(3) == 0
        assert 0.25 < loop.time() - told < 3
        assert "drain time" in process.output
        for connection in upstream.connections:
            await connection.gone()


@pytest.mark.parametrize("header", ["", "PROXY TCP4 "])
async def test_connections_without_their_proxy_header_do_not_hold_it_up(tmp_path: Path, header: str) -> None:
    listen = '{address: "127.0.0.1:0", proxy_protocol: {from: [127.0.0.1]}}'
    async with (
        running(tmp_path, write(tmp_path, "http://127.0.0.1:1", listen)) as process,
        RawClient(await process.port()) as client,
    ):
        await client.send(header.encode())
        process.signal(signal.SIGTERM)
        assert await process.ended(3) == 0
        await client.assert_closed()


async def test_a_connect_under_way_does_not_outlive_the_drain_time(tmp_path: Path) -> None:
    async def silent(connection: UpstreamConnection) -> None:
        await connection.until(lambda: False, "nothing")

    async with ScriptedUpstream(silent) as upstream:
        upstream.tolerant = True
        file = write(tmp_path, f"https://{upstream.authority}", more="timeouts: {drain: 200ms}")
        async with running(tmp_path, file) as process, RawClient(await process.port()) as client:
            await client.send(request_bytes())
            await upstream.until(lambda: bool(upstream.received), "the handshake")
            process.signal(signal.SIGTERM)
            await client.until_closed()
            assert await process.ended(3) == 0
            await upstream.connections[0].gone()


# what it opens


@SIGNALS
async def test_all_listeners_are_said_and_the_unix_socket_is_removed(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "p.sock"
    listen = f'["127.0.0.1:0", "[::1]:0", "unix:{path}"]'
    async with (
        ScriptedUpstream(answer(ok())) as upstream,
        running(tmp_path, write(tmp_path, upstream.url, listen)) as process,
    ):
        said = await process.said(r"listening on 127\.0\.0\.1:(\d+), \[::1\]:(\d+), unix:(\S+)$")
        assert said[3] == str(path)
        clients = RawClient(int(said[1])), RawClient(int(said[2]), "::1"), RawClient(0, unix=said[3])
        for each in clients:
            async with each as client:
                assert (await client.ask(request_bytes())).status == 200
        process.signal(number)
        assert await process.ended() == 0
    assert not inode(path)


async def test_the_socket_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    file = write(tmp_path, "http://127.0.0.1:1", f"unix:{path}")
    async with running(tmp_path, file) as killed:
        await killed.said("listening")
        async with running(tmp_path, file) as second:  # while the first lives it gives way to nobody
            assert await second.ended() == 1
            assert "address already in use" in second.output
        killed.signal(signal.SIGKILL)
        assert await killed.ended() == -signal.SIGKILL
    assert inode(path)
    async with running(tmp_path, file) as process:
        await process.said("listening")
        async with RawClient(0, unix=str(path)) as client:
            assert (await client.ask(request_bytes())).status == 503
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert not inode(path)


async def test_one_address_in_use_opens_none_and_says_which(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = write(tmp_path, "http://127.0.0.1:1", f'["unix:{path}", "127.0.0.1:{port}"]')
        async with running(tmp_path, file) as process:
            assert await process.ended() == 1
    assert f"127.0.0.1:{port}: address already in use" in process.output
    assert "listening" not in process.output
    assert not inode(path)


# gateways in Python

APP = """
from propylon import Gateway

gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "1s"})

@gateway.policy
def mark(exchange):
    exchange.request.headers["x-marked"] = "by app.py"

gateway.route("/api/*", target="TARGET", strip="/api")

def make():
    return gateway

class holder:
    inner = gateway
"""


@pytest.mark.parametrize("target", ["app:gateway", "app:holder.inner", "package.app:gateway"])
async def test_a_python_gateway_is_run_from_the_current_folder(tmp_path: Path, target: str) -> None:
    async with ScriptedUpstream(answer(ok(b"hello"))) as upstream:
        write_app(tmp_path, upstream.url)
        async with running(tmp_path, target) as process, RawClient(await process.port()) as client:
            assert bytes((await client.ask(request_bytes(b"/api/x"))).body) == b"hello"
            assert upstream.requests[0].target == b"/x"
            assert upstream.requests[0].header("x-marked") == "by app.py"
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0


def write_app(folder: Path, target: str) -> None:
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    for place in (folder, package):
        (place / "app.py").write_text(APP.replace("TARGET", target))


async def test_a_policy_module_beside_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def mark(x):\n    x.request.headers['x-marked'] = 'by mine.py'\n")
    async with (
        ScriptedUpstream(answer(ok())) as upstream,
        running(tmp_path, write(tmp_path, upstream.url, more='policies: [{python: "mine:mark"}]')) as process,
        RawClient(await process.port()) as client,
    ):
        assert (await client.ask(request_bytes())).status == 200
        assert upstream.requests[0].header("x-marked") == "by mine.py"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("app:nothing", "app has no attribute 'nothing'"),
        ("app:make", "is of type function, not a Gateway"),
        ("nowhere:gateway", "there is no module 'nowhere'"),
        ("app.py", "write module:attribute, for example app:gateway"),
        ("gateway", "neither a file nor module:attribute"),
        ("absent.yaml", "absent.yaml"),
    ],
)
async def test_a_target_that_is_none_is_told_in_a_sentence(tmp_path: Path, target: str, says: str) -> None:
    write_app(tmp_path, "http://127.0.0.1:1")
    async with running(tmp_path, target) as process:
        assert await process.ended() == 1
    assert says in process.output
    assert len(process.lines) <= 2, process.output


# files that are wrong


def unknown_key(folder: Path, listen: str) -> str:
    return write(folder, "http://127.0.0.1:1", listen, "timeout: {drain: 1s}")


def no_yaml(folder: Path, listen: str) -> str:
    (folder / "p.yaml").write_text(f"listen: {listen}\nroutes: [{{path: /*\n")
    return "p.yaml"


def missing_module(folder: Path, listen: str) -> str:
    return write(folder, "http://127.0.0.1:1", listen, 'policies: [{python: "no_such_module:policy"}]')


def missing_ca(folder: Path, listen: str) -> str:
    service = "services: {s: {endpoints: ['https://127.0.0.1:1'], tls: {ca: absent.pem}}}"
    return write(folder, "http://127.0.0.1:1", listen, service)


def ca_of_something_else(folder: Path, listen: str) -> str:
    (folder / "text.pem").write_text("hello")
    service = "services: {s: {endpoints: ['https://127.0.0.1:1'], tls: {ca: text.pem}}}"
    return write(folder, "http://127.0.0.1:1", listen, service)


def last_listener_wrong(folder: Path, listen: str) -> str:
    return write(folder, "http://127.0.0.1:1", f"[{listen}, '127.0.0.1:99999']")


WRONG = [unknown_key, no_yaml, missing_module, missing_ca, ca_of_something_else, last_listener_wrong]


@pytest.mark.parametrize("write_wrong", WRONG, ids=[each.__name__ for each in WRONG])
async def test_a_wrong_file_exits_with_1_and_opens_nothing(
    tmp_path: Path, write_wrong: Callable[[Path, str], Any]
) -> None:
    path = tmp_path / "p.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    before = inode(path)
    async with running(tmp_path, write_wrong(tmp_path, f"unix:{path}")) as process:
        assert await process.ended() == 1
    assert "p.yaml" in process.output
    assert "listening" not in process.output
    assert inode(path) == before  # opening the listener would have replaced it


@pytest.mark.parametrize("write_wrong", WRONG, ids=[each.__name__ for each in WRONG])
async def test_a_wrong_file_is_told_before_an_address_in_use(
    tmp_path: Path, write_wrong: Callable[[Path, str], Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = write_wrong(tmp_path, f"127.0.0.1:{taken.getsockname()[1]}")
        async with running(tmp_path, file) as process:
            assert await process.ended() == 1
    assert "in use" not in process.output


async def test_a_gateway_that_still_waits_for_endpoints_stops_at_once(tmp_path: Path) -> None:
    (tmp_path / "never.py").write_text(
        "import asyncio, sys\n"
        "async def never():\n"
        "    print('looking', file=sys.stderr, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "    yield []\n"
    )
    (tmp_path / "p.yaml").write_text(
        'listen: 127.0.0.1:0\nservices: {a: {discover: {python: {source: "never:never"}}}}\n'
        "routes: [{path: /, service: a}]\n"
    )
    async with running(tmp_path, "p.yaml") as process:
        await process.said("looking")
        process.signal(signal.SIGHUP)  # there is nothing to reload yet
        process.signal(signal.SIGTERM)
        assert await process.ended(seconds=3) == 0
        assert "listening" not in process.output


# the log


async def test_what_a_client_sends_forges_no_record_of_the_log(tmp_path: Path) -> None:
    code = "import logging\ndef note(x):\n    logging.getLogger('app').warning('got %s', x.body.decode())\n"
    (tmp_path / "notes.py").write_text(code)
    file = write(tmp_path, "http://127.0.0.1:1", more="policies: [{python: 'notes:note'}]")
    async with running(tmp_path, file) as process, RawClient(await process.port()) as client:
        forged = b"no\n2026-11-30 12:00:00,000 ERROR propylon.engine forged\x1b[2J"
        assert (await client.ask(request_bytes(b"/x?t=s3cret", method=b"POST", body=forged))).status == 503
        await process.said(r"WARNING app got no$")
        await process.said(r"^    2026-11-30 12:00:00,000 ERROR propylon\.engine forged\\x1b\[2J$")
        await process.said(
            r"connect\.refused detail=.* status=503 response=error method=POST path=/x client=127\.0\.0\.1 "
        )
        assert "s3cret" not in process.output
