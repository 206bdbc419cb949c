"""Bodies that policies make, and requests of their own, through a whole gateway and its sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from propylon import Exchange, Pending, Response, Scope, Subrequest
from tests.conftest import BOTH_LOOPS
from tests.support.client import request_bytes
from tests.support.deadline import settle, until
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, ok

PIECE = b"x" * 65536


class Endless:
    """A body without an end, that counts what it is asked for and notes that it was closed."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = False

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.asked += 1
                yield PIECE
        finally:
            self.closed = True

    def on_request(self, x: Exchange) -> Response:
        return Response(200, body=self.pieces())


@BOTH_LOOPS
async def test_a_client_that_does_not_read_is_not_written_for(front: Fronts) -> None:
    endless = Endless()
    f = await front(policies=[endless])
    client = await f.client()
    await client.send(request_bytes())
    asked = -1
    while asked != endless.asked:  # until the buffers of the system and of the gateway are full
        asked = endless.asked
        await settle(200)
    assert asked < 1000
    client.close()
    await until(lambda: endless.closed, "the iterator is closed with its client")


async def test_a_body_that_ends_leaves_the_connection_to_the_next_request(front: Fronts) -> None:
    async def three() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number
            await asyncio.sleep(0)

    f = await front(policies=[lambda x: Response(200, body=three())])
    client = await f.client()
    for _ in range(2):
        reply = await client.ask(request_bytes())
        assert reply.body == b"012"
        assert reply.header("transfer-encoding") == "chunked"
    reply = await client.ask(request_bytes(method=b"HEAD"), "HEAD")
    assert (reply.status, reply.body, reply.header("content-length")) == (200, b"", None)


async def test_a_failure_in_the_middle_is_no_whole_response(front: Fronts) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise KeyError("secret")

    f = await front(policies=[lambda x: Response(200, body=broken())])
    client = await f.client()
    await client.send(request_bytes())
    received = await client.until_closed()
    assert b"4\r\nhalf\r\n" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert b"secret" not in received


class Asks:
    """Answers with what another service says, as it comes."""

    def __init__(self, scope: Scope) -> None:
        self.other = scope.service("other")

    async def on_request(self, x: Exchange) -> Response:
        own = Subrequest(b"GET", b"/inner", parent=x)
        x.defer(own.close)
        service: Any = x.snapshot.services["other"]
        made = await own.open(service, timeout=5.0)
        return Response(made.status, body=made.body)


async def test_what_another_service_says_streams_through(front: Fronts) -> None:
    go_on = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        connection.send(b"4\r\nlast\r\n0\r\n\r\n")

    inner = await front.upstream(script)
    f = await front(policies=[{"python": {"use": Asks}}], services={"other": {"endpoints": [inner.url]}})
    client = await f.client()
    await client.send(request_bytes())
    await client.read_until(b"5\r\nfirst\r\n")
    go_on.set()
    await client.read_until(b"4\r\nlast\r\n0\r\n\r\n")
    assert inner.requests[0].target == b"/inner"
    assert f.upstream.requests == []


async def test_a_request_of_a_policy_passes_the_routes(front: Fronts) -> None:
    async def joined(x: Exchange) -> Response | None:
        if x.request.path != "/joined":
            return None
        parts = []
        for path in (b"/a", b"/b"):
            answer = await Subrequest(b"GET", path, parent=x).pass_route(timeout=5.0)
            parts.append(await answer.body.read_all(1000, "response.body_too_large"))
        return Response(200, body=b"+".join(parts))

    f = await front(answer(ok(b"part")), policies=[joined])
    client = await f.client()
    assert (await client.ask(request_bytes(b"/joined"))).body == b"part+part"
    assert [request.target for request in f.upstream.requests] == [b"/a", b"/b"]


async def test_requests_wait_in_line_without_a_task(front: Fronts) -> None:
    line: list[Pending] = []

    def waits(x: Exchange) -> Pending:
        line.append(Pending(x))
        return line[-1]

    f = await front(answer(ok(b"served")), policies=[waits])
    clients = [await f.client() for _ in range(3)]
    for client in clients:
        await client.send(request_bytes())
    await until(lambda: len(line) == 3, "all are in line")
    assert f.upstream.requests == []
    for pending in line:
        pending.finish()
    for client in clients:
        assert (await client.read_until(b"served")).startswith(b"HTTP/1.1 200")
