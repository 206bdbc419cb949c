"""Expect: 100-continue and informational responses (RFC 9110 10.1.1, 15.2)."""

from __future__ import annotations

import asyncio

import pytest

from propylon import Exchange, Gateway
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


# passed on: the service decides before the body is sent

LENGTH_5 = HEAD + b"content-length: 5\r\n\r\n"
PATIENT = {"timeout": {"expect": "60s"}}
SHORT = {"timeout": {"expect": "50ms"}}


async def refuse(connection: UpstreamConnection) -> None:
    while True:
        await connection.head()
        connection.send(ok(b"no", status=b"413 Content Too Large"))


async def ask_and_serve(connection: UpstreamConnection) -> None:
    while True:
        request = await connection.head()
        if request.header("expect") == "100-continue":
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.body_of(request)
        connection.send(ok(bytes(request.body)))


async def ignore(connection: UpstreamConnection) -> None:
    while True:
        request = await connection.request()
        connection.send(ok(bytes(request.body)))


async def test_9110_10_1_1_a_service_refuses_an_upload_before_it_is_sent(front: Fronts) -> None:
    f = await front(refuse, policies=[PATIENT])
    client = await f.client()
    await client.send(LENGTH_5)
    reply = await client.reply("POST")
    assert (reply.status, reply.informational, bytes(reply.body)) == (413, [], b"no")
    assert f.upstream.requests[0].header("expect") == "100-continue"
    assert bytes(f.upstream.requests[0].body) == b""
    await client.assert_closed()
    await f.upstream.connections[0].gone()


async def test_9110_10_1_1_the_services_100_is_passed_on_and_its_connection_is_kept(front: Fronts) -> None:
    f = await front(ask_and_serve, policies=[PATIENT])
    client = await f.client()
    for _ in range(2):
        await client.send(LENGTH_5)
        assert (await client.read_until(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        reply = await client.reply("POST")
        assert (reply.status, reply.informational, bytes(reply.body)) == (200, [], b"hello")
    assert len(f.upstream.connections) == 1


async def test_9110_10_1_1_the_client_is_not_asked_before_the_service_has(front: Fronts) -> None:
    may_ask = asyncio.Event()

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        await may_ask.wait()
        await refuse_now(connection)

    async def refuse_now(connection: UpstreamConnection) -> None:
        connection.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")

    f = await front(script, policies=[PATIENT])
    client = await f.client()
    await client.send(LENGTH_5)
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    may_ask.set()
    reply = await client.reply("POST")
    assert (reply.status, reply.informational) == (401, [])


async def test_a_service_that_does_not_know_expect_gets_the_body_after_a_time_and_is_remembered(front: Fronts) -> None:
    f = await front(ignore, policies=[SHORT])
    for _ in range(2):
        client = await f.client()
        await client.send(LENGTH_5)
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await client.send(b"hello")
        assert bytes((await client.reply("POST")).body) == b"hello"
    assert [request.header("expect") for request in f.upstream.requests] == ["100-continue", None]


async def test_a_service_of_http_1_0_is_remembered(front: Fronts) -> None:
    async def old(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(b"HTTP/1.0 413 x\r\ncontent-length: 0\r\n\r\n")
        connection.close()

    f = await front(old, policies=[PATIENT])
    for informational in ([], [100]):
        client = await f.client()
        await client.send(LENGTH_5)
        reply = await client.reply("POST")
        assert (reply.status, reply.informational) == (413, informational)
    assert [request.header("expect") for request in f.upstream.requests] == ["100-continue", None]


async def test_a_body_that_a_policy_reads_is_asked_for_by_the_gateway(front: Fronts) -> None:
    async def read(x: Exchange) -> None:
        await x.request.body()

    f = await front(ask_and_serve, policies=[PATIENT, read])
    client = await f.client()
    await client.send(LENGTH_5)
    assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await client.send(b"hello")
    assert bytes((await client.reply("POST")).body) == b"hello"
    assert f.upstream.requests[0].header("expect") is None


@pytest.mark.parametrize("setting", ["none", "0s"])
async def test_the_wait_can_be_turned_off(front: Fronts, setting: str) -> None:
    f = await front(ignore, policies=[{"timeout": {"expect": setting}}])
    client = await f.client()
    await client.send(LENGTH_5)
    assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await client.send(b"hello")
    assert (await client.reply("POST")).status == 200
    assert f.upstream.requests[0].header("expect") is None


async def test_a_retry_offers_the_body_again(front: Fronts) -> None:
    async def close(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.close()

    bad, good = await front.upstream(close), await front.upstream(ask_and_serve)
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("s", [bad.url, good.url], balance="round_robin")
    gateway.route("/*", service="s", policies=[PATIENT])
    client = await front.client(await front.start(gateway))
    await client.send(b"PUT /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    assert (await client.read_until(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hello")
    assert bytes((await client.reply("PUT")).body) == b"hello"
    assert [len(upstream.requests) for upstream in (bad, good)] == [1, 1]
    assert bytes(bad.requests[0].body) == b""


async def test_a_client_that_leaves_while_it_waits_ends_the_exchange(front: Fronts) -> None:
    f = await front(hold, policies=[PATIENT])
    client = await f.client()
    await client.send(LENGTH_5)
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    client.reset()
    await f.upstream.connections[0].gone()


async def hold(connection: UpstreamConnection) -> None:
    await connection.head()
    await connection.until(lambda: False, "nothing")


async def test_a_response_that_goes_on_without_the_body_has_its_idle_timeout(front: Fronts) -> None:
    async def half(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.send(b"HTTP/1.1 413 x\r\ncontent-length: 9\r\n\r\nhalf")
        await connection.until(lambda: False, "nothing")

    f = await front(half, policies=[{"timeout": {"expect": "60s", "idle": "100ms"}}])
    client = await f.client()
    await client.send(LENGTH_5)
    assert (await client.until_closed(5)).endswith(b"half")
