"""One route to two versions of a service: clients stay where they are, and may name the version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from propylon import Gateway
from tests.support.client import RawClient, request_bytes
from tests.support.front import Fronts
from tests.support.upstream import answer, ok


async def split(front: Fronts, services: dict[str, int], **keys: Any) -> RawClient:
    """A client of a gateway whose route goes to services that answer with their names."""
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    for name in services:
        upstream = await front.upstream(answer(ok(name.encode())))
        policy = {"headers": {"response": {"set": {"x-policy-of": name}}}}
        gateway.service(name, [upstream.url], policies=[policy])
    gateway.route("/*", split={"services": services, **keys})
    return await front.client(await front.start(gateway))


async def test_each_request_goes_to_one_of_them_through_the_policies_of_that_one(front: Fronts) -> None:
    client = await split(front, {"v1": 50, "v2": 50})
    found = set()
    for _ in range(64):
        reply = await client.ask(request_bytes(b"/"))
        found.add((bytes(reply.body), reply.header("x-policy-of")))
    assert found == {(b"v1", "v1"), (b"v2", "v2")}


async def test_a_client_keeps_its_version_by_the_cookie_that_it_is_given(front: Fronts) -> None:
    client = await split(front, {"v1": 50, "v2": 50}, sticky={"cookie": "version", "max_age": "1h"})
    found = set()
    for _ in range(32):
        first = await client.ask(request_bytes(b"/"))
        given = first.header("set-cookie")
        assert given is not None
        assert given.endswith("; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax")
        again = await client.ask(request_bytes(b"/", b"cookie: a=b; " + given.partition(";")[0].encode()))
        assert again.body == first.body
        assert again.header("set-cookie") is None
        found.add(bytes(first.body))
    assert found == {b"v1", b"v2"}


async def test_a_request_may_name_a_version_that_nobody_else_is_sent_to(front: Fronts) -> None:
    client = await split(front, {"v1": 1, "v2": 0}, choose={"header": "x-version"})
    assert (await client.ask(request_bytes(b"/", b"x-version: v2"))).body == b"v2"
    assert (await client.ask(request_bytes(b"/", b"x-version: v3"))).body == b"v1"
    assert (await client.ask(request_bytes(b"/"))).body == b"v1"


@asynccontextmanager
async def named(name: str) -> AsyncIterator[str]:
    """The URL of a WebSocket service that says its name."""

    async def greet(connection: ServerConnection) -> None:
        await connection.send(name)

    async with serve(greet, "127.0.0.1", 0) as service:
        yield f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}"


async def test_websockets_are_split_too_and_stay_where_they_are() -> None:
    async with named("v1") as one, named("v2") as two:
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "1s"})
        gateway.service("v1", [one]).service("v2", [two])
        gateway.route("/*", split={"services": {"v1": 1, "v2": 1}, "sticky": {"cookie": "version"}})
        async with gateway:
            url = f"ws://127.0.0.1:{gateway.port}/"
            async with connect(url) as socket:
                first = await socket.recv()
                assert socket.response is not None
                cookie = socket.response.headers["set-cookie"].partition(";")[0]
            for _ in range(5):
                async with connect(url, additional_headers={"cookie": cookie}) as socket:
                    assert await socket.recv() == first
                    assert socket.response is not None
                    assert "set-cookie" not in socket.response.headers
