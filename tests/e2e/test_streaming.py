"""Bodies flow as they come, in both directions, and what a slow peer does not take is bounded and its own affair."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propylon import Exchange
from tests.conftest import BOTH_LOOPS
from tests.e2e.test_stalled_peers import small_client
from tests.support.client import RawClient, request_bytes
from tests.support.deadline import settle, until, within
from tests.support.front import Front, Fronts
from tests.support.upstream import UpstreamConnection

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
WRITE_BUFFER = 1024 * 1024  # larger than what a loop holds if nobody sets it
READ = 256 * 1024  # the most that a loop reads at once, before it learns that it is to wait
PIECE = b"%x\r\n%b\r\n" % (16384, b"x" * 16384)


async def silent(connection: UpstreamConnection) -> None:
    """Take a request; the test answers."""
    await connection.head()


async def asked(f: Front, client: RawClient, path: bytes = b"/") -> UpstreamConnection:
    """Send a request and return the endpoint's side of it."""
    before = len(f.upstream.requests)
    await client.send(request_bytes(path))
    await f.upstream.until(lambda: len(f.upstream.requests) > before, "the request")
    return f.upstream.connections[-1]


class Looks:
    """A policy that sees the response's head, or its pieces."""

    def on_response(self, x: Exchange) -> None:
        assert x.response is not None

    def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
        return data


@BOTH_LOOPS
@pytest.mark.parametrize("policies", [[], [Looks()]], ids=["as it came", "through policies"])
async def test_head_and_chunks_leave_at_once_and_as_they_were_flushed(front: Fronts, policies: list[Any]) -> None:
    f = await front(silent, policies=policies)
    client = await f.client()
    endpoint = await asked(f, client)
    endpoint.send(HEAD)
    assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    for chunk in (b"5\r\nfirst\r\n", b"1\r\n2\r\n", b"6\r\nthe\r\n3\r\n"):
        endpoint.send(chunk)
        assert await client.read_some() == chunk
    endpoint.send(b"0\r\n\r\n")
    assert await client.read_some() == b"0\r\n\r\n"


async def test_bytes_of_a_body_with_a_length_leave_at_once(front: Fronts) -> None:
    f = await front(silent)
    client = await f.client()
    endpoint = await asked(f, client)
    endpoint.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na")
    await client.read_until(b"\r\n\r\na")
    for byte in (b"b", b"c"):
        endpoint.send(byte)
        assert await client.read_some() == byte


async def test_pieces_of_an_upload_leave_at_once(front: Fronts) -> None:
    f = await front(silent)
    client = await f.client()
    await client.send(b"POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n")
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    request = f.upstream.requests[0]
    for size, chunk in ((3, b"3\r\none\r\n"), (6, b"3\r\ntwo\r\n")):
        await client.send(chunk)
        await f.upstream.until(lambda size=size: len(request.body) == size, "the piece")  # type: ignore[misc]
        assert not request.complete


def unsent(f: Front) -> list[int]:
    """How much the gateway holds for each client, in bytes."""
    worker: Any = f.gateway._worker
    return [connection._transport.get_write_buffer_size() for connection in worker._connections.open]


async def test_a_slow_reader_slows_its_own_stream_and_nobody_elses(front: Fronts) -> None:
    full = asyncio.Event()
    written = 0

    async def script(connection: UpstreamConnection) -> None:
        nonlocal written
        request = await connection.head()
        connection.send(HEAD)
        while request.target == b"/endless":
            connection.send(PIECE)
            written += len(PIECE)
            await connection.drained(on_full=full.set)
            await asyncio.sleep(0)

    f = await front(script, limits={"write_buffer": WRITE_BUFFER})
    async with small_client(f.port) as slow:
        await slow.send(request_bytes(b"/endless"))
        async with within(10, "the endpoint is held back"):
            await full.wait()
        assert WRITE_BUFFER < max(unsent(f)) < WRITE_BUFFER + 2 * READ
        before = written
        quick = await f.client()
        endpoint = await asked(f, quick, b"/quick")
        await quick.read_until(b"\r\n\r\n")
        for _ in range(50):
            endpoint.send(PIECE)
            await quick.read_until(PIECE[-100:])
        await settle()
        assert written == before
        assert max(unsent(f)) < WRITE_BUFFER + 2 * READ
        slow.reset()


async def test_what_is_held_for_an_endpoint_is_bounded_by_the_same_limit(front: Fronts) -> None:
    seen: list[Any] = []

    class Sees:
        def on_attempt(self, x: Exchange, attempt: Any) -> None:
            seen.append(x.upstream)

    async def never_reads(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.pause_reading()

    f = await front(never_reads, policies=[Sees()], limits={"write_buffer": WRITE_BUFFER})
    client = await f.client()
    size = 64 << 20
    upload = asyncio.ensure_future(
        client.send_all(b"POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
    )
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    await until(lambda: bool(seen) and seen[0].stalled, "the gateway holds as much as it may", 10)
    await settle(500)
    assert WRITE_BUFFER < seen[0]._transport.get_write_buffer_size() < WRITE_BUFFER + 2 * READ
    assert not upload.done()
    upload.cancel()
