"""Clients that must stay with an endpoint: polling with two requests at once, and sessions that services name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from propylon import Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.client import RawClient, Reply, request_bytes
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, ok

SESSION = b"mcp-session-id"


# one client with two requests under way


class Polling:
    """Three services whose long polls are answered by what is posted to them, as those of socket.io."""

    def __init__(self) -> None:
        self.posted = [asyncio.Event(), asyncio.Event(), asyncio.Event()]

    async def script(self, connection: UpstreamConnection) -> None:
        here = self.posted[self.services.index(connection.upstream)]
        while True:
            request = await connection.request()
            if request.method == b"POST":
                here.set()
            else:
                await here.wait()
                here.clear()
            connection.send(ok(request.method))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[ScriptedUpstream]]:
        async with AsyncExitStack() as stack:
            made = [ScriptedUpstream(self.script) for _ in self.posted]
            self.services = [await stack.enter_async_context(each) for each in made]
            yield self.services


@BOTH_LOOPS
@pytest.mark.parametrize("key", [{"client": True}, {"cookie": "io"}, {"header": "x-user"}, {"query": "sid"}])
async def test_a_lone_client_that_polls_keeps_its_endpoint_with_both_requests(front: Fronts, key: Any) -> None:
    async with Polling().open() as services:
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
        gateway.service("io", [each.url for each in services], balance={"consistent_hash": key})
        gateway.route("/*", service="io")
        await front.start(gateway)
        poll, post = await front.client(gateway), await front.client(gateway)
        fields = [b"cookie: io=7", b"x-user: 7"]
        for _ in range(10):
            await poll.send(request_bytes(b"/?sid=7", *fields))
            assert (await post.ask(request_bytes(b"/?sid=7", *fields, method=b"POST", body=b"x"))).body == b"POST"
            assert (await poll.reply()).body == b"GET"
        assert sorted(len(each.requests) for each in services) == [0, 0, 20]


# sessions of a service


def replica(name: bytes) -> Any:
    """A service that keeps its sessions to itself, as MCP servers do: who names another one gets 404."""
    sessions: set[bytes] = set()

    def serve(request: Message) -> bytes:
        given = request.header(SESSION.decode())
        if given is None:
            session = b"%b-%d" % (name, len(sessions))
            sessions.add(session)
            return ok(name, b"Mcp-Session-Id: " + session)
        known = given.encode() in sessions
        return ok(name, b"mcp-session-id: " + given.encode(), status=b"200 OK" if known else b"404 Not Found")

    return answer(serve)


async def replicas(front: Fronts) -> tuple[Gateway, list[ScriptedUpstream]]:
    services = [await front.upstream(replica(b"one")), await front.upstream(replica(b"two"))]
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    urls = [each.url for each in services]
    gateway.service("mcp", urls, balance={"sticky": {"header": "Mcp-Session-Id"}}, retry=1, health={"passive": False})
    gateway.route("/mcp", service="mcp")
    return await front.start(gateway), services


async def ask(client: RawClient, session: str | None = None) -> Reply:
    fields = [b"%b: %b" % (SESSION, session.encode())] if session is not None else []
    return await client.ask(request_bytes(b"/mcp", *fields))


@BOTH_LOOPS
async def test_a_session_stays_with_the_replica_that_named_it(front: Fronts) -> None:
    gateway, services = await replicas(front)
    client = await front.client(gateway)
    sessions = [(await ask(client)).header("mcp-session-id") for _ in range(20)]
    assert all(each.requests for each in services)
    for session in sessions * 3:
        assert session is not None
        reply = await ask(client, session)
        assert (reply.status, bytes(reply.body).decode()) == (200, session[:3])
    assert "set-cookie" not in (await ask(client)).head.decode().lower()


async def test_sessions_are_known_after_a_reload(front: Fronts, tmp_path: Path) -> None:
    urls = [(await front.upstream(replica(name))).url for name in (b"one", b"two")]
    service = {"endpoints": urls, "balance": {"sticky": {"header": "mcp-session-id"}}}
    config = {"listen": "127.0.0.1:0", "timeouts": {"drain": "200ms"}, "services": {"mcp": service}}
    routes = [{"path": "/mcp", "service": "mcp"}]
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(config | {"routes": routes}))
    gateway = await front.start(Gateway.load(file))
    client = await front.client(gateway)
    sessions = [(await ask(client)).header("mcp-session-id") for _ in range(10)]
    service["retry"] = 2
    file.write_text(json.dumps(config | {"routes": [*routes, {"path": "/other", "respond": 204}]}))
    await gateway.reload()
    assert (await client.ask(request_bytes(b"/other"))).status == 204
    assert [(await ask(client, session)).status for session in sessions] == [200] * 10


async def test_a_session_whose_endpoint_has_died_goes_to_another_and_comes_back(front: Fronts) -> None:
    """The other one says 404, and the client of the protocol begins anew; that is no reason to move the session."""
    gateway, (one, _) = await replicas(front)
    client = await front.client(gateway)
    sessions = [(await ask(client)).header("mcp-session-id") for _ in range(20)]
    session = next(each for each in sessions if each is not None and each.startswith("one"))
    service = gateway._worker.core.snapshot.services["mcp"]  # type: ignore[union-attr]
    vitals = service.endpoint(one.url).vitals
    vitals.complaints["test"] = "it is dead"
    service.health_changed()
    reply = await ask(client, session)
    assert (reply.status, reply.body) == (404, b"two")
    vitals.complaints.clear()
    service.health_changed()
    assert (await ask(client, session)).body == b"one"
