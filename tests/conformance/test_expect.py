"""Expect: 100-continue and informational responses (RFC 9110 10.1.1, 15.2)."""

from __future__ import annotations

import pytest

from tests.support.checks import assert_nothing_upstream, assert_problem
from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, ok

HEAD = b"POST /x HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\n"


@pytest.mark.parametrize(
    ("line", "body"),
    [(b"content-length: 5", b"hello"), (b"transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n")],
    ids=["length", "chunked"],
)
async def test_c14_9110_10_1_1_a_waiting_client_is_told_to_continue_once(
    front: Fronts, line: bytes, body: bytes
) -> None:
    async def script(connection: UpstreamConnection) -> None:
        request = await connection.head()
        if request.header("expect"):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.body_of(request)
        connection.send(ok())

    f = await front(script)
    client = await f.client()
    await client.send(HEAD + line + b"\r\n\r\n")
    assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await client.send(body)
    reply = await client.reply("POST")
    assert reply.status == 200
    assert reply.informational == []
    assert bytes(f.upstream.requests[0].body) == b"hello"


async def test_c14_a_client_that_does_not_wait_gets_at_most_one_100(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(HEAD + b"content-length: 5\r\n\r\nhello")
    reply = await client.reply("POST")
    assert reply.status == 200
    assert reply.informational in ([], [100])


async def test_c14_expect_in_capitals_is_understood(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(b"POST /x HTTP/1.1\r\nhost: a.example\r\nExpect: 100-Continue\r\ncontent-length: 2\r\n\r\n")
    assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await client.send(b"hi")
    assert (await client.reply("POST")).status == 200


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b"", b"100-continue;q=1", b"\xe9"])
async def test_c14_an_unknown_expectation_is_refused(front: Fronts, value: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(request_bytes(b"/", b"expect: " + value, method=b"POST", body=b"hello"))
    assert_problem(await client.reply("POST"), 400, 417)
    await assert_nothing_upstream(f.upstream)


async def test_c14_a_refused_request_never_gets_a_100(front: Fronts) -> None:
    f = await front(route={"path": "/only"})
    client = await f.client()
    await client.send(HEAD + b"content-length: 5\r\n\r\n")
    reply = await client.reply("POST")
    assert (reply.status, reply.informational) == (404, [])
    # The body was never sent, so the next bytes cannot be told from it: the connection ends (RFC 9110 10.1.1).
    await client.assert_closed()


@pytest.mark.parametrize("expect", [b"", b"expect: 100-continue\r\n"], ids=["without expect", "with expect"])
async def test_c14_9110_15_2_http_1_0_clients_never_get_a_1xx(front: Fronts, expect: bytes) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + ok())

    f = await front(script)
    client = await f.client()
    await client.send(b"POST /x HTTP/1.0\r\nhost: a.example\r\n" + expect + b"content-length: 2\r\n\r\nhi")
    reply = await client.reply("POST")
    assert (reply.status, reply.informational) == (200, [])


async def test_c14_9110_15_2_1_a_100_nobody_asked_for_is_not_a_final_answer(front: Fronts) -> None:
    f = await front(answer(b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"final")))
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert (reply.status, bytes(reply.body)) == (200, b"final")
    assert reply.informational in ([], [100])
    assert (await client.ask(request_bytes())).status == 200


async def test_9110_15_2_early_hints_are_relayed_or_dropped_and_the_answer_follows(front: Fronts) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x.css>; rel=preload\r\n\r\n"
    f = await front(answer(hints + hints + ok(b"final")))
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert (reply.status, bytes(reply.body)) == (200, b"final")
    assert set(reply.informational) <= {103}


@pytest.mark.parametrize(
    "line", [b"content-length: 5", b"transfer-encoding: chunked"], ids=["length on a 1xx", "coding on a 1xx"]
)
async def test_9112_6_1_a_1xx_with_framing_never_desynchronises(front: Fronts, line: bytes) -> None:
    f = await front(answer(b"HTTP/1.1 103 Early Hints\r\n" + line + b"\r\n\r\n" + ok(b"final"), ok(b"second")))
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert reply.status in (200, 502)
    if reply.status == 200:
        assert bytes(reply.body) == b"final"
        assert bytes((await client.ask(request_bytes())).body) == b"second"
