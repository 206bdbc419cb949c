"""Copies of requests through a running gateway: whole, marked, and never in the way of a client."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from propylon import Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.client import request_bytes
from tests.support.deadline import real_time, until, within
from tests.support.frames import SWITCH, handshake
from tests.support.front import Fronts, service_of
from tests.support.upstream import Script, ScriptedUpstream, UpstreamConnection, answer, ok

LARGE = bytes(range(256)) * 2048  # 512 KiB


async def hang(connection: UpstreamConnection) -> None:
    await connection.request()


def gateway(users: ScriptedUpstream, copies: str, *, drain: str = "200ms", **settings: Any) -> Gateway:
    made = Gateway(listen="127.0.0.1:0", timeouts={"drain": drain})
    made.service("users", [users.url]).service("next", [copies])
    return made.route("/*", service="users", policies=[{"mirror": {"service": "next"} | settings}])


@BOTH_LOOPS
@pytest.mark.parametrize("chunked", [False, True])
async def test_another_service_gets_the_request_with_its_body(front: Fronts, chunked: bool) -> None:
    users, copies = await front.upstream(), await front.upstream()
    client = await front.client(await front.start(gateway(users, copies.url)))
    head = b"POST /x?a=1 HTTP/1.1\r\nhost: a.example\r\nx-request-id: id-1\r\n"
    if chunked:
        await client.send(head + b"transfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(LARGE), 100_000):
            piece = LARGE[start : start + 100_000]
            await client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await client.send(b"0\r\n\r\n")
    else:
        await client.send(head + b"content-length: %d\r\n\r\n" % len(LARGE))
        await client.send(LARGE)
    assert (await client.reply()).status == 200
    await copies.until(lambda: any(each.complete for each in copies.requests), "the copy")
    original, copy = users.requests[0], copies.requests[0]
    assert (copy.method, copy.target, bytes(copy.body)) == (b"POST", b"/x?a=1", LARGE)
    assert copy.header("content-length") == str(len(LARGE))
    assert (copy.header("x-mirrored"), original.header("x-mirrored")) == ("1", None)
    assert copy.header("x-request-id") == original.header("x-request-id") == "id-1"
    assert copy.header("x-forwarded-for") == original.header("x-forwarded-for") == "127.0.0.1"


async def dead(front: Fronts) -> str:
    upstream = await front.upstream()
    upstream.stop_listening()
    return upstream.url


@BOTH_LOOPS
@pytest.mark.parametrize("script", [hang, answer(b"garbage\r\n\r\n"), None], ids=["hangs", "garbage", "dead"])
async def test_a_mirror_that_hangs_or_is_dead_delays_nobody(front: Fronts, script: Script | None) -> None:
    users = await front.upstream()
    copies = await dead(front) if script is None else (await front.upstream(script)).url
    client = await front.client(await front.start(gateway(users, copies, timeout="10s", max=5)))
    async with within(3, "all requests are answered"):
        for _ in range(20):
            reply = await client.ask(request_bytes(b"/x", method=b"POST", body=b"hello"))
            assert (reply.status, bytes(reply.body)) == (200, b"ok")
    assert len(users.requests) == 20


async def test_a_mirror_that_does_not_read_holds_no_client_up(front: Fronts) -> None:
    async def deaf(connection: UpstreamConnection) -> None:
        connection.pause_reading()

    users, copies = await front.upstream(), await front.upstream(deaf)
    client = await front.client(await front.start(gateway(users, copies.url)))
    async with within(5, "all requests are answered"):
        for _ in range(10):
            assert (await client.ask(request_bytes(b"/x", method=b"POST", body=LARGE))).status == 200


async def test_copies_use_connections_again(front: Fronts) -> None:
    users, copies = await front.upstream(), await front.upstream()
    running = await front.start(gateway(users, copies.url))
    client = await front.client(running)
    pool = service_of(running, "next").endpoints[0].pool
    for number in range(5):
        await client.ask(request_bytes(b"/x"))
        await copies.until(lambda number=number: len(copies.requests) > number, "the copy")  # type: ignore[misc]
        await until(lambda: pool.idle == pool.open, "the end of the copy")
    assert len(copies.connections) < 5


async def test_websockets_are_not_copied(front: Fronts) -> None:
    async def switch(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\n" + SWITCH.partition(b"\r\n")[2].strip() + b"\r\n\r\n")

    users, copies = await front.upstream(switch), await front.upstream()
    users.tolerant = True
    client = await front.client(await front.start(gateway(users, copies.url)))
    await client.send(handshake())
    await users.until(lambda: len(users.requests) == 1, "the handshake")
    assert copies.connections == []


async def test_a_gateway_that_stops_waits_for_copies_under_way(front: Fronts) -> None:
    done = asyncio.Event()

    async def late(connection: UpstreamConnection) -> None:
        await connection.request()
        await done.wait()
        connection.send(ok())

    users, copies = await front.upstream(), await front.upstream(late)
    made = gateway(users, copies.url, drain="5s")
    (placed,) = made.snapshot().policies
    policy: Any = placed.policy
    await front.start(made)
    client = await front.client(made)
    assert (await client.ask(request_bytes(b"/x"))).status == 200
    await copies.until(lambda: len(copies.requests) == 1, "the copy")
    stopping = asyncio.create_task(made.stop())
    await until(lambda: made.addresses == [], "the gateway stops")
    await real_time(0.1)
    assert not stopping.done()
    done.set()
    began = time.monotonic()
    await stopping
    assert time.monotonic() - began < 2
    assert (policy.sent, policy.failed) == (1, 0)
