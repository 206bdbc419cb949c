"""Endpoints that are found while the gateway runs: requests go where the source says, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from propylon import Gateway
from propylon.services.discovery import ProviderContext
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem
from tests.support.client import RawClient, request_bytes
from tests.support.consul import NEEDS_CONSUL, ConsulAgent
from tests.support.deadline import real_time, within
from tests.support.dnsmasq import Dnsmasq
from tests.support.front import Fronts
from tests.support.upstream import ScriptedUpstream, answer, ok


async def through(front: Fronts, discover: Any) -> RawClient:
    """A client of a new gateway whose one service is discovered."""
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"}, services={"users": {"discover": discover}})
    gateway.route("/*", service="users")
    return await front.client(await front.start(gateway))


async def two(front: Fronts) -> tuple[ScriptedUpstream, ScriptedUpstream]:
    return await front.upstream(answer(ok(b"one"))), await front.upstream(answer(ok(b"two")))


async def until_answered(client: RawClient, body: bytes) -> None:
    """Ask until the answer is `body`, and some more: it stays so."""
    async with within(5, f"the answer {body!r}"):
        while bytes((await client.ask(request_bytes())).body) != body:
            pass
    for _ in range(5):
        assert bytes((await client.ask(request_bytes())).body) == body


@BOTH_LOOPS
async def test_endpoints_of_a_file_are_used_and_changed_without_a_failed_request(front: Fronts, tmp_path: Path) -> None:
    one, other = await two(front)
    path = tmp_path / "users.yaml"
    path.write_text(f"- {one.url}\n")
    client = await through(front, {"file": {"path": str(path), "interval": "100ms"}})
    await until_answered(client, b"one")
    path.write_text(f"- {other.url}\n")
    async with within(5, "the other endpoint"):
        while (reply := await client.ask(request_bytes())).body != b"two":
            assert reply.status == 200
    await until_answered(client, b"two")
    for connection in one.connections:
        await connection.gone()
    path.write_text("- nonsense\n")
    await real_time(0.5)
    await until_answered(client, b"two")


@NEEDS_CONSUL
@BOTH_LOOPS
async def test_an_instance_that_consul_finds_unwell_gets_no_more_requests(front: Fronts) -> None:
    one, other = await two(front)
    async with ConsulAgent() as consul:
        await consul.register(1, Address="127.0.0.1", Port=one.port)
        client = await through(front, {"consul": {"service": "users", "address": consul.address}})
        await until_answered(client, b"one")
        await consul.register(2, Address="127.0.0.1", Port=other.port)
        await consul.health(1, "fail")
        await until_answered(client, b"two")
        await consul.kill()
        await real_time(0.3)
        await until_answered(client, b"two")


async def test_tiers_of_srv_records_are_kept(front: Fronts) -> None:
    one, other = await two(front)
    records = (f"--srv-host=_a._tcp.test,a.test,{one.port},1", f"--srv-host=_a._tcp.test,a.test,{other.port},2")
    async with Dnsmasq(*records) as dns:
        await dns.tell({"a.test": ["127.0.0.1"]})
        client = await through(front, {"dns": {"name": "_a._tcp.test", "resolver": dns.address}})
        await until_answered(client, b"one")


async def test_a_python_function_is_a_provider(front: Fronts) -> None:
    one, other = await two(front)
    turn = asyncio.Event()

    async def source(context: ProviderContext) -> AsyncIterator[list[str]]:
        assert context.service == "users"
        yield [one.url]
        await turn.wait()
        yield [other.url]
        await asyncio.Event().wait()

    client = await through(front, source)
    await until_answered(client, b"one")
    turn.set()
    await until_answered(client, b"two")


async def test_a_service_without_endpoints_answers_503_and_tells_nothing_of_its_source(front: Fronts) -> None:
    async def source() -> AsyncIterator[list[str]]:
        yield []
        raise LookupError("registry.internal is closed")

    client = await through(front, source)
    reply = await client.ask(request_bytes())
    assert_problem(reply, 503)
    assert b"registry" not in reply.head + bytes(reply.body)
