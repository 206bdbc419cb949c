"""Answers that come before the request's body has ended (RFC 9112 9.5, RFC 9110 10.1.1)."""

from __future__ import annotations

import pytest

from tests.support.checks import words
from tests.support.client import ConnectionEnded, RawClient, Reply, request_bytes
from tests.support.front import Fronts
from tests.support.upstream import PeerGone, Script, UpstreamConnection, answer, ok

DECLARED = 50_000_000
HEAD = b"POST /upload HTTP/1.1\r\nhost: a.example\r\ncontent-length: %d\r\n\r\n" % DECLARED
CHUNKED = b"POST /upload HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n"


def early(raw: bytes, *, close: bool) -> Script:
    """Answer the first connection after 5 bytes of body; further ones are sane."""

    async def script(connection: UpstreamConnection) -> None:
        if connection is not connection.upstream.connections[0]:
            await answer(ok(b"sane"))(connection)
        request = await connection.head()
        await connection.body_bytes(request, 5)
        connection.send(raw)
        if close:
            connection.close()
        else:
            try:
                await connection.body_of(request)
            except PeerGone:
                return

    return script


async def receive(client: RawClient) -> Reply:
    return await client.reply("POST")


@pytest.mark.parametrize("close", [False, True], ids=["upstream stays", "upstream closes"])
@pytest.mark.parametrize("head", [HEAD + b"hello", CHUNKED + b"5\r\nhello\r\n"], ids=["length", "chunked"])
async def test_c13_9112_9_5_an_early_answer_arrives_and_its_connections_are_not_used_again(
    front: Fronts, head: bytes, close: bool
) -> None:
    f = await front(early(ok(b"too big", status=b"413 Content Too Large"), close=close))
    client = await f.client()
    await client.send(head)
    reply = await receive(client)
    assert (reply.status, bytes(reply.body)) == (413, b"too big")
    assert "close" in words(reply.header("connection"))
    await client.assert_closed(7)
    await f.upstream.connections[0].gone()
    again = await f.client()
    assert bytes((await again.ask(request_bytes())).body) == b"sane"


async def test_c13_what_follows_an_unread_body_is_never_taken_for_a_request(front: Fronts) -> None:
    f = await front(early(ok(b"no", status=b"403 Forbidden"), close=False))
    client = await f.client()
    await client.send(HEAD + b"hello")
    assert (await receive(client)).status == 403
    await client.send(request_bytes(b"/smuggled") * 3)
    await client.until_closed(7)
    assert all(request.target != b"/smuggled" for request in f.upstream.requests)


async def test_c13_a_large_upload_gets_the_early_answer_though_it_keeps_sending(front: Fronts) -> None:
    f = await front(early(ok(b"stop", status=b"413 Content Too Large"), close=True))
    client = await f.client()
    await client.send(HEAD + b"x" * 2_000_000)
    reply = await receive(client)
    assert (reply.status, bytes(reply.body)) == (413, b"stop")


async def test_c13_an_answer_of_the_gateway_before_the_body_ends_the_connection_or_drains_it(front: Fronts) -> None:
    f = await front(route={"path": "/only"})
    client = await f.client()
    await client.send(b"POST /other HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\n")
    assert (await client.reply("POST")).status == 404
    await client.send(b"hello" + request_bytes(b"/only"))
    try:
        reply = await client.reply()
    except ConnectionEnded:
        assert f.upstream.received == b""
    else:
        assert reply.status == 200
        assert [request.target for request in f.upstream.requests] == [b"/only"]


async def test_c13_an_early_answer_without_end_stays_open_while_the_body_still_goes_up(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        request = await connection.head()
        await connection.body_bytes(request, 5)
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await connection.body_of(request)
        connection.send(b"3\r\ntwo\r\n0\r\n\r\n")

    f = await front(script)
    client = await f.client()
    await client.send(CHUNKED + b"5\r\nhello\r\n")
    await client.read_until(b"one\r\n")
    await client.send(b"5\r\nworld\r\n0\r\n\r\n")
    assert b"two" in await client.read_until(b"two")
    assert bytes(f.upstream.requests[0].body) == b"helloworld"
