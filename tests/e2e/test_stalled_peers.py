"""Peers that do not read, read slowly, send too early or leave: memory stays bounded, and the patient are served."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest

from propylon import Exchange, Response
from propylon.services import directory
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_problem, assert_still_serves
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import real_time, settle, until
from tests.support.front import Front, Fronts
from tests.support.oracle import Message
from tests.support.upstream import PeerGone, UpstreamConnection, answer, ok

SHORT = 0.2  # seconds; every deadline under test
MB = 1 << 20
LARGE = b"x" * 100_000


class Serves:
    """Answers at once with 100 KB, and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = asyncio.Event()

    def on_request(self, x: Exchange) -> Response:
        self.count += 1
        self.begun.set()
        return Response(200, body=LARGE)

    async def rest(self) -> int:
        """Wait until no more is served, and say how much was."""
        await self.begun.wait()
        before = 0
        while before < self.count:
            before = self.count
            await settle(100)
        return before


def small_client(port: int, size: int = 16384) -> RawClient:
    """A client whose system takes little that it does not read."""
    client = RawClient(port)
    client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return client


def connections(f: Front) -> int:
    """How many clients the gateway has."""
    worker = f.gateway._worker
    assert worker is not None
    return worker.connections


async def no_connections(f: Front, seconds: float) -> None:
    await until(lambda: not connections(f), "the gateway cuts the client", seconds)


async def read_slowly(client: RawClient, pause: float) -> bytes:
    """Read to the end, a little every `pause` seconds."""
    pieces = []
    with suppress(ConnectionError):
        while data := await client.read_some():
            pieces.append(data)
            await real_time(pause)
    return b"".join(pieces)


# clients


@BOTH_LOOPS
async def test_a_client_that_pipelines_and_never_reads_is_served_no_further_until_it_reads(front: Fronts) -> None:
    serves = Serves()
    f = await front(policies=[serves])
    async with small_client(f.port) as client:
        await client.send(request_bytes() * 300)
        assert await serves.rest() < 150
        for _ in range(300):
            assert len((await client.reply()).body) == len(LARGE)
        assert serves.count == 300


async def test_a_client_that_stalls_with_the_gateways_own_answer_is_cut_though_it_goes_on_asking(front: Fronts) -> None:
    serves = Serves()
    f = await front(policies=[serves], timeouts={"write": SHORT})
    async with small_client(f.port) as client:

        async def go_on_asking() -> None:
            while not client.broken:
                await client.send(request_bytes() * 20)
                await real_time(0.01)

        asking = asyncio.ensure_future(go_on_asking())
        await serves.begun.wait()
        await no_connections(f, SHORT * 8)
        asking.cancel()
        with suppress(asyncio.CancelledError, AssertionError):
            await asking
    assert serves.count < 150
    await assert_still_serves(f.port)


async def test_a_client_that_reads_slowly_but_steadily_is_not_cut(front: Fronts) -> None:
    def answers(x: Exchange) -> Response:
        return Response(200, body=b"x" * (12 * MB))

    f = await front(policies=[answers], timeouts={"write": SHORT, "linger": SHORT})
    async with small_client(f.port, 65536) as client:
        await client.send(request_bytes(b"/", b"connection: close"))
        received = await read_slowly(client, 0.003)
    assert len(received.partition(b"\r\n\r\n")[2]) == 12 * MB


async def test_a_client_that_reads_an_endpoints_answer_slowly_but_steadily_is_not_cut(front: Fronts) -> None:
    f = await front(answer(ok(b"x" * (12 * MB))), timeouts={"write": SHORT, "linger": SHORT})
    async with small_client(f.port, 65536) as client:
        await client.send(request_bytes(b"/", b"connection: close"))
        received = await read_slowly(client, 0.003)
    assert len(received.partition(b"\r\n\r\n")[2]) == 12 * MB


async def test_a_thousand_pipelined_requests_let_other_clients_have_their_turn(front: Fronts) -> None:
    order: list[str] = []

    def answers(x: Exchange) -> Response:
        order.append(x.request.path)
        return Response(200)

    f = await front(policies=[answers])
    crowd, other = await f.client(), await f.client()
    await settle()
    await crowd.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 1000)
    await other.send(request_bytes(b"/other"))
    assert (await other.reply()).status == 200
    for _ in range(1000):
        await crowd.reply()
    assert order.index("/other") < 1000
    assert len(order) == 1001


# endpoints


def allow(**seconds: float | None) -> Any:
    """A policy that sets the timeouts of its exchange."""

    def limit(x: Exchange) -> None:
        x.set_timeouts(**seconds)

    return limit


def narrow(connection: UpstreamConnection) -> None:
    """Let the endpoint's system take little that the endpoint does not read."""
    connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)


class Narrow:
    """Lets the gateway's system take little, and keeps the connection to look at."""

    def __init__(self) -> None:
        self.upstream: Any = None

    def on_attempt(self, x: Exchange, attempt: Any) -> None:
        self.upstream = x.upstream
        sock = self.upstream._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)

    @property
    def unsent(self) -> int:
        size: int = self.upstream._transport.get_write_buffer_size()
        return size


def large_body(x: Exchange) -> None:
    x.request.replace_body(b"z" * (3 * MB // 2))


async def large_file(x: Exchange) -> None:
    large_body(x)
    await x.request.file(1 << 30)


@pytest.mark.parametrize("policy", [large_body, large_file])
async def test_an_endpoint_that_takes_a_body_slowly_but_steadily_is_waited_for(front: Fronts, policy: Any) -> None:
    """Neither `idle` nor `response` runs out while the body moves."""

    async def slow(connection: UpstreamConnection) -> None:
        narrow(connection)
        request = await connection.head()
        while not request.complete:
            taken = len(request.body)
            connection.pause_reading()
            await real_time(0.015)
            connection.resume_reading()
            await connection.body_bytes(request, taken + 1)
        connection.send(ok())

    f = await front(slow, policies=[allow(idle=SHORT * 2, response=SHORT * 2), policy, Narrow()])
    client = await f.client()
    await client.send(request_bytes(b"/", method=b"POST", body=b"a"))
    assert (await client.reply("POST", seconds=8)).status == 200
    assert len(f.upstream.requests[0].body) == 3 * MB // 2


async def never_read(connection: UpstreamConnection) -> None:
    narrow(connection)
    await connection.head()
    connection.pause_reading()


@pytest.mark.parametrize("policy", [large_body, large_file])
async def test_an_endpoint_that_takes_none_of_a_body_is_given_up(front: Fronts, policy: Any) -> None:
    f = await front(never_read, policies=[allow(idle=SHORT, response=None), policy, Narrow()])
    reply = await (await f.client()).ask(request_bytes(b"/", method=b"POST", body=b"a"))
    assert assert_problem(reply, 502, 504) == "attempt.stalled"


async def test_a_file_waits_for_an_endpoint_that_does_not_read(front: Fronts) -> None:
    path = Narrow()
    f = await front(never_read, policies=[large_file, path])
    client = await f.client()
    await client.send(request_bytes(b"/", method=b"POST", body=b"a"))
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    await settle(300)
    assert 0 < path.unsent < MB


async def test_an_upload_that_flows_behind_an_early_head_is_not_ended_by_idle(front: Fronts) -> None:
    async def early(connection: UpstreamConnection) -> None:
        request = await connection.head()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await connection.body_of(request)
        connection.send(b"3\r\nend\r\n0\r\n\r\n")

    f = await front(early, policies=[allow(idle=SHORT, response=SHORT)])
    client = await f.client()
    post = request_bytes(b"/", method=b"POST", body=b"0123456789")
    await client.send(post[:-10])
    for at in range(10, 0, -1):
        await real_time(0.05)
        await client.send(post[-at:][:1])
    assert bytes((await client.reply("POST")).body) == b"hiend"


@pytest.mark.parametrize("delayed", [False, True], ids=["at once", "behind an async policy"])
async def test_an_upload_that_comes_with_its_head_stays_bounded(front: Fronts, delayed: bool) -> None:
    async def waits(x: Exchange) -> None:
        if delayed:
            await real_time(0.03)

    path = Narrow()
    f = await front(never_read, policies=[waits, path])
    client = await f.client()
    head = b"POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: %d\r\n\r\n" % (40 * MB)
    upload = asyncio.ensure_future(client.send_all(head + b"x" * (40 * MB)))
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    await settle(500)
    assert 0 < path.unsent < MB
    assert not upload.done()
    upload.cancel()


def by_path(request: Message) -> bytes:
    return ok(b"answer to " + bytes(request.target))


@BOTH_LOOPS
async def test_bytes_that_come_before_a_request_was_written_never_are_its_answer(front: Fronts) -> None:
    class Early:
        async def on_attempt(self, x: Exchange, attempt: Any) -> None:
            if x.request.path == "/alice" and attempt.number == 1:
                f.upstream.connections[0].send(ok(b"unsolicited"))
                await settle(50)

    f = await front(answer(by_path), policies=[Early()])
    client = await f.client()
    for path in (b"/first", b"/alice", b"/bob", b"/carol"):
        assert bytes((await client.ask(request_bytes(path))).body) == b"answer to " + path
    assert len(f.upstream.connections) == 2
    await f.upstream.connections[0].gone()


async def test_early_bytes_never_shift_the_answers_of_what_cannot_be_repeated(front: Fronts) -> None:
    class Early:
        async def on_attempt(self, x: Exchange, attempt: Any) -> None:
            if x.request.path == "/alice" and attempt.number == 1:
                f.upstream.connections[0].send(ok(b"unsolicited"))
                await settle(50)

    f = await front(answer(by_path), policies=[Early()])
    client = await f.client()
    await client.ask(request_bytes(b"/first"))
    reply = await client.ask(request_bytes(b"/alice", method=b"POST", body=b"a"))
    assert bytes(reply.body) == b"answer to /alice" or reply.status in (502, 503)
    for path in (b"/bob", b"/carol"):
        assert bytes((await (await f.client()).ask(request_bytes(path))).body) == b"answer to " + path


async def test_a_connection_opened_for_a_client_that_left_is_replaced_when_it_turns_out_closed(
    front: Fronts, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    begun = asyncio.Event()
    really_connect = directory.connect

    async def open_late(*arguments: Any, **options: Any) -> Any:
        begun.set()
        await gate.wait()
        return await really_connect(*arguments, **options)

    monkeypatch.setattr(directory, "connect", open_late)

    async def first_one_closes(connection: UpstreamConnection) -> None:
        with suppress(PeerGone):
            while True:
                await connection.request()
                if connection is connection.upstream.connections[0]:
                    connection.close()
                    return
                connection.send(ok(b"again"))

    f = await front(first_one_closes)
    gone = await f.client()
    await gone.send(request_bytes(b"/gone"))
    await begun.wait()
    gone.reset()
    await no_connections(f, 2)
    gate.set()
    await f.upstream.until(lambda: len(f.upstream.connections) == 1, "the connection nobody waits for")
    await settle()
    assert (await (await f.client()).ask(request_bytes(b"/next"))).body == b"again"
    assert [m.target for m in f.upstream.requests] == [b"/next", b"/next"]
