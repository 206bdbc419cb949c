"""Endpoints on Unix sockets, through the whole gateway."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from propylon import Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import RawClient, request_bytes
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, ok

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.sock"


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def through(front: Fronts, url: str, **service: str) -> RawClient:
    """A client of a new gateway in front of `url`."""
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("local", [url], **service)
    gateway.route("/*", service="local")
    return await front.client(await front.start(gateway))


async def assert_nobody(client: RawClient, path: Path, code: str) -> None:
    """The gateway answers 503 with `code` and tells nothing about the socket."""
    reply = await client.ask(request_bytes())
    assert assert_problem(reply, 503) == code
    assert path.name.encode() not in reply.body
    assert str(path.parent).encode() not in reply.body


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("base", "asked", "target"),
    [
        ("", b"/x?y=1", b"/x?y=1"),
        (":/", b"/x", b"/x"),
        (":/base", b"/x?y=1", b"/base/x?y=1"),
        (":/base", b"/", b"/base/"),
        (":/a/b/", b"/x/", b"/a/b/x/"),
    ],
)
async def test_a_base_path_stands_in_front(front: Fronts, path: Path, base: str, asked: bytes, target: bytes) -> None:
    async with ScriptedUpstream(answer(ok(b"near")), unix=path) as upstream:
        client = await through(front, f"unix:{path}{base}")
        assert bytes((await client.ask(request_bytes(asked))).body) == b"near"
        assert upstream.requests[0].target == target
        assert upstream.requests[0].header("host") == "localhost"


@pytest.mark.parametrize(("host", "sent"), [("preserve", "a.example"), ("app.test:81", "app.test:81")])
async def test_the_host_rule_of_the_service_holds(front: Fronts, path: Path, host: str, sent: str) -> None:
    async with ScriptedUpstream(answer(ok()), unix=path) as upstream:
        client = await through(front, f"unix:{path}", host=host)
        assert (await client.ask(request_bytes())).status == 200
        assert upstream.requests[0].header("host") == sent


async def test_a_target_of_a_route_may_be_a_socket(front: Fronts, path: Path) -> None:
    async with ScriptedUpstream(answer(ok()), unix=path) as upstream:
        f = await front(route={"path": "/app/*", "target": f"unix:{path}:/v1", "strip": "/app"})
        assert (await (await f.client()).ask(request_bytes(b"/app/x"))).status == 200
        assert upstream.requests[0].target == b"/v1/x"


@BOTH_LOOPS
async def test_a_connection_is_kept_and_a_megabyte_goes_both_ways(front: Fronts, path: Path) -> None:
    def echo(request: Message) -> bytes:
        return ok(bytes(request.body))

    async with ScriptedUpstream(answer(echo), unix=path) as upstream:
        client = await through(front, f"unix:{path}")
        for _ in range(2):
            sending = asyncio.create_task(client.send_all(request_bytes(b"/", method=b"POST", body=MEGABYTE)))
            assert (await client.reply("POST", seconds=10)).body == MEGABYTE
            await sending
        assert len(upstream.connections) == 1


@BOTH_LOOPS
async def test_a_socket_that_is_not_there_or_dead_or_none_is_nobody_there(front: Fronts, path: Path) -> None:
    client = await through(front, f"unix:{path}")
    await assert_nobody(client, path, "connect.refused")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    await assert_nobody(client, path, "connect.refused")
    remove(path)
    with open(path, "x"):  # noqa: ASYNC230
        await assert_nobody(client, path, "connect.refused")


@BOTH_LOOPS
async def test_an_endpoint_that_starts_again_at_its_path_is_found(front: Fronts, path: Path) -> None:
    client = await through(front, f"unix:{path}")
    for body in (b"first", b"second"):
        async with ScriptedUpstream(answer(ok(body)), unix=path) as upstream:
            assert bytes((await client.ask(request_bytes())).body) == body
            assert len(upstream.requests) == 1
        remove(path)


@BOTH_LOOPS
async def test_an_endpoint_that_closes_without_an_answer_is_a_bad_gateway(front: Fronts, path: Path) -> None:
    async def leave(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.close()

    async with ScriptedUpstream(leave, unix=path):
        client = await through(front, f"unix:{path}")
        assert assert_problem(await client.ask(request_bytes()), 502) == "attempt.closed"


@BOTH_LOOPS
async def test_a_client_that_goes_away_closes_the_endpoints_connection(front: Fronts, path: Path) -> None:
    async def silent(connection: UpstreamConnection) -> None:
        await connection.request()

    async with ScriptedUpstream(silent, unix=path) as upstream:
        client = await through(front, f"unix:{path}")
        await client.send(request_bytes())
        await upstream.until(lambda: bool(upstream.requests), "the request")
        client.reset()
        await upstream.connections[0].gone(1)
