"""Policies written without care: whatever they do, their own exchange may fail, and nothing else does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from propylon import Exchange, Gateway, Response
from propylon.failures import FAILURES
from tests.conftest import BOTH_LOOPS
from tests.support.checks import assert_no_whole_request, assert_problem, assert_refused, assert_still_serves
from tests.support.client import ConnectionEnded, request_bytes
from tests.support.deadline import real_time, settle, within
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import UpstreamConnection, answer, chunked, ok

SHORT = 0.15  # seconds; every deadline under test
BODY = b"0123456789"
Policy = Callable[[Exchange], Awaitable[None]]


def by_path(request: Message) -> bytes:
    """Answer with what was asked for, so that a shifted answer is seen."""
    return ok(b"answer to " + bytes(request.target))


async def pieces_of(x: Exchange) -> AsyncIterator[bytes]:
    async for piece in x.request.stream():
        yield piece


class Done:
    """Counts on_done, and keeps what the exchange ended with."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, str]] = []
        self.ended = asyncio.Event()

    def on_done(self, x: Exchange) -> None:
        self.ends.append((x.status, x.error.code if x.error is not None else ""))
        self.ended.set()


# request bodies that policies handle


async def replaced_by_less_then_filed(x: Exchange) -> None:
    x.request.replace_body(b"abc")
    await x.request.file(1000)


async def replaced_by_more_then_filed(x: Exchange) -> None:
    x.request.replace_body(BODY + b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")
    await x.request.file(1000)


async def streamed_then_filed(x: Exchange) -> None:
    assert b"".join([piece async for piece in pieces_of(x)]) == BODY
    await x.request.file(1000)


async def filed_and_read(x: Exchange) -> None:
    assert (await x.request.file(1000)).read() == BODY


async def read_and_filed(x: Exchange) -> None:
    await x.request.body()
    await x.request.file(1000)
    assert await x.request.body() == BODY


@pytest.mark.parametrize("framing", ["length in one piece", "length in two pieces", "chunked"])
@pytest.mark.parametrize(
    ("policy", "body"),
    [
        (replaced_by_less_then_filed, b"abc"),
        (replaced_by_more_then_filed, BODY + b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"),
        (streamed_then_filed, b""),
        (filed_and_read, BODY),
        (read_and_filed, BODY),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_what_frames_a_body_is_always_the_body_that_is_sent(
    front: Fronts, policy: Policy, body: bytes, framing: str
) -> None:
    async def on_posts(x: Exchange) -> None:
        if x.request.method == "POST":
            await policy(x)

    f = await front(answer(by_path), policies=[on_posts])
    client = await f.client()
    if framing == "chunked":
        head = b"POST /p HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n"
        await client.send(head + b"a\r\n" + BODY + b"\r\n0\r\n\r\n", cuts=[len(head), len(head) + 5])
    else:
        post = request_bytes(b"/p", method=b"POST", body=BODY)
        await client.send(post, cuts=[len(post) - 5] if framing == "length in two pieces" else [])
    assert bytes((await client.reply("POST")).body) == b"answer to /p"
    assert bytes((await client.ask(request_bytes(b"/next"))).body) == b"answer to /next"
    assert [(m.target, bytes(m.body), m.complete) for m in f.upstream.requests] == [
        (b"/p", body, True),
        (b"/next", b"", True),
    ]


async def test_a_file_of_a_request_without_body_adds_no_framing(front: Fronts) -> None:
    async def filed(x: Exchange) -> None:
        assert (await x.request.file(1000)).read() == b""

    f = await front(policies=[filed])
    assert (await (await f.client()).ask(request_bytes())).status == 200
    assert f.upstream.requests[0].all("content-length") == []
    assert f.upstream.requests[0].all("transfer-encoding") == []


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_limit_behind_a_policy_that_files_the_body_still_holds(front: Fronts, framing: str) -> None:
    async def filed(x: Exchange) -> None:
        await x.request.file(1 << 20)

    f = await front(policies=[filed, {"body_limit": 1000}])
    client = await f.client()
    head = request_bytes(b"/", b"transfer-encoding: chunked", method=b"POST")
    if framing == "chunked":
        await client.send(head + b"1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n", cuts=[len(head), 3000])
    else:
        await client.send(request_bytes(b"/", method=b"POST", body=b"x" * 5000))
    assert assert_problem(await client.reply("POST"), 413) == "request.body_too_large"
    await assert_no_whole_request(f.upstream)


# methods that policies change


class Untouched:
    pass


class LooksAtResponse:
    def on_response(self, x: Exchange) -> None:
        assert x.response is not None
        x.response.headers.set("x-seen", "1")


class ChangesPieces:
    def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
        return data


BEHIND = pytest.mark.parametrize("behind", [Untouched, LooksAtResponse, ChangesPieces])


def becomes(method: str) -> Callable[[Exchange], None]:
    """Change the method of what goes to /one."""

    def change(x: Exchange) -> None:
        if x.request.path == "/one":
            x.request.method = method

    return change


async def in_two_pieces(connection: UpstreamConnection) -> None:
    """Answer with a body in two pieces; none for HEAD."""
    while True:
        request = await connection.request()
        body = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(body) * 2))
        if request.method != b"HEAD":
            await settle()
            connection.send(body)
            await settle()
            connection.send(body)


@BEHIND
@pytest.mark.parametrize("script", [answer(ok(b"hello")), answer(chunked(b"he", b"llo")), in_two_pieces])
async def test_a_head_request_that_a_policy_makes_a_get_is_answered_without_body(
    front: Fronts, behind: type, script: Any
) -> None:
    f = await front(script, policies=[becomes("GET"), behind()] if behind is not Untouched else [becomes("GET")])
    client = await f.client()
    await client.send(request_bytes(b"/one", method=b"HEAD") + request_bytes(b"/two", method=b"HEAD"))
    assert (await client.reply("HEAD")).status == 200
    assert (await client.reply("HEAD")).status == 200
    assert (await client.ask(request_bytes(b"/three", method=b"HEAD"))).status == 200
    assert [m.method for m in f.upstream.requests] == [b"GET", b"HEAD", b"HEAD"]


@BEHIND
async def test_a_get_request_that_a_policy_makes_a_head_is_answered_as_a_whole(front: Fronts, behind: type) -> None:
    f = await front(
        answer(by_path), policies=[becomes("HEAD"), behind()] if behind is not Untouched else [becomes("HEAD")]
    )
    client = await f.client()
    await client.send(request_bytes(b"/one") + request_bytes(b"/two"))
    assert (await client.reply()).body == b""
    assert bytes((await client.reply()).body) == b"answer to /two"


# hooks that never end


@pytest.mark.parametrize("piece", [1, 2])
async def test_a_request_chunk_hook_that_never_ends_is_ended_by_its_timeout(front: Fronts, piece: int) -> None:
    class Stuck(Done):
        seen = 0

        def on_request(self, x: Exchange) -> None:
            x.set_timeouts(policy=SHORT)

        async def on_request_chunk(self, x: Exchange, data: bytes) -> bytes:
            self.seen += 1
            if self.seen >= piece:
                await asyncio.Event().wait()
            return data

    stuck = Stuck()
    f = await front(policies=[stuck])
    client = await f.client()
    post = request_bytes(b"/", method=b"POST", body=BODY)
    await client.send(post[:-5])
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    await settle()
    await client.send(post[-5:])
    code = "request.policy_timeout"
    assert assert_problem(await client.reply("POST"), FAILURES[code].status) == code
    await stuck.ended.wait()
    assert [end[1] for end in stuck.ends] == [code]
    await f.upstream.connections[0].gone()


@pytest.mark.parametrize("piece", [1, 2])
async def test_a_response_chunk_hook_that_never_ends_is_ended_by_its_timeout(front: Fronts, piece: int) -> None:
    class Stuck(Done):
        seen = 0

        def on_request(self, x: Exchange) -> None:
            x.set_timeouts(policy=SHORT)

        async def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
            self.seen += 1
            if self.seen >= piece:
                await asyncio.Event().wait()
            return data

    async def halves(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await settle()
        connection.send(b"world")

    stuck = Stuck()
    f = await front(halves, policies=[stuck])
    client = await f.client()
    with pytest.raises(ConnectionEnded):
        await client.ask(request_bytes())
    await stuck.ended.wait()
    assert [end[1] for end in stuck.ends] == ["request.policy_timeout"]


async def test_the_total_time_also_ends_an_exchange_that_waits_in_a_policy(front: Fronts) -> None:
    async def endless(x: Exchange) -> None:
        await asyncio.Event().wait()

    f = await front(policies=[{"timeout": {"total": "150ms"}}, endless])
    reply = await (await f.client()).ask(request_bytes())
    assert assert_problem(reply, 504) == "attempt.total_timeout"


async def test_the_total_time_a_policy_sets_ends_the_policy_itself(front: Fronts) -> None:
    async def endless(x: Exchange) -> None:
        x.set_timeouts(total=SHORT, policy=None)
        await asyncio.Event().wait()

    f = await front(policies=[endless])
    reply = await (await f.client()).ask(request_bytes())
    assert assert_problem(reply, 504) == "attempt.total_timeout"


async def test_an_async_on_done_under_way_is_waited_for_when_the_gateway_stops(front: Fronts) -> None:
    told: list[str] = []

    class Audit:
        async def on_done(self, x: Exchange) -> None:
            await real_time(0.05)
            told.append(x.request.path)

    f = await front(policies=[Audit()], timeouts={"drain": "2s"})
    client = await f.client()
    await client.ask(request_bytes(b"/audited"))
    client.close()
    await f.gateway.stop()
    assert told == ["/audited"]


async def test_an_async_on_done_that_never_ends_holds_a_stop_no_longer_than_the_drain_time(front: Fronts) -> None:
    class Stuck:
        async def on_done(self, x: Exchange) -> None:
            await asyncio.Event().wait()

    f = await front(policies=[Stuck()], timeouts={"drain": "100ms"})
    client = await f.client()
    await client.ask(request_bytes())
    client.close()
    async with within(1.5, "the gateway stops"):
        await f.gateway.stop()


# hooks that raise


@pytest.mark.parametrize("hook", ["on_request", "on_attempt", "on_response"])
async def test_a_hook_that_raises_cancelled_error_is_a_failure_like_any_other(front: Fronts, hook: str) -> None:
    class Raises(Done):
        pass

    def raises(self: Any, x: Exchange, *rest: Any) -> None:
        if x.request.path == "/bad":
            raise asyncio.CancelledError

    setattr(Raises, hook, raises)
    policy = Raises()
    f = await front(policies=[policy], timeouts={"header": SHORT})
    assert_problem(await (await f.client()).ask(request_bytes(b"/bad")), 500)
    await policy.ended.wait()
    assert [end[0] for end in policy.ends] == [500]
    late = await f.client()
    await late.send(b"GET / HT")
    assert await assert_refused(late, 408) == "read.head_timeout"
    await assert_still_serves(f.port)


@pytest.mark.parametrize("hook", ["on_error", "on_response", "on_done"])
async def test_cancelled_error_in_the_timers_own_turn_does_not_stop_the_timer(front: Fronts, hook: str) -> None:
    class Raises:
        def on_request(self, x: Exchange) -> None:
            x.set_timeouts(response=SHORT)

    def raises(self: Any, x: Exchange, *rest: Any) -> None:
        raise asyncio.CancelledError

    setattr(Raises, hook, raises)

    async def silent(connection: UpstreamConnection) -> None:
        await connection.request()

    f = await front(silent, policies=[Raises()], timeouts={"header": SHORT})
    assert_problem(await (await f.client()).ask(request_bytes()), 500, 504)
    late = await f.client()
    await late.send(b"GET / HT")
    await assert_refused(late, 408)


@BOTH_LOOPS
@pytest.mark.parametrize("script", [answer(chunked(b"hello", b"world")), in_two_pieces])
async def test_a_response_chunk_hook_that_raises_ends_only_its_exchange(
    front: Fronts, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises(Done):
        def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
            if x.request.path == "/bad":
                raise ValueError("boom")
            return data

    async def slowly(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await settle()
        connection.send(b"5\r\nhello\r\n5\r\nworld\r\n")
        await settle()
        connection.send(b"0\r\n\r\n")

    policy = Raises()
    f = await front(slowly if script is not in_two_pieces else script, policies=[policy])
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionEnded):
        await (await f.client()).ask(request_bytes(b"/bad"))
    await policy.ended.wait()
    assert len(policy.ends) == 1
    assert "Fatal error" not in caplog.text
    assert [record for record in caplog.records if record.name == "asyncio" and record.levelno > logging.DEBUG] == []
    assert "boom" in caplog.text
    await assert_still_serves(f.port)


@pytest.mark.parametrize("wrong", [None, 5, {}, ["a"]], ids=repr)
async def test_a_response_with_a_body_that_is_none_is_the_policys_failure(front: Fronts, wrong: Any) -> None:
    def answers(x: Exchange) -> Response:
        return Response(200, body=wrong)

    f = await front(policies=[answers])
    assert_problem(await (await f.client()).ask(request_bytes()), 500)


@pytest.mark.parametrize("wrong", [None, 5, {}], ids=repr)
@pytest.mark.parametrize("side", ["request", "response"])
async def test_a_body_replaced_by_what_is_no_body_is_the_policys_failure(front: Fronts, side: str, wrong: Any) -> None:
    class Replaces:
        def on_request(self, x: Exchange) -> None:
            if side == "request":
                x.request.replace_body(wrong)

        def on_response(self, x: Exchange) -> None:
            if side == "response" and x.error is None:
                assert x.response is not None
                x.response.replace_body(wrong)

    f = await front(policies=[Replaces()])
    assert_problem(await (await f.client()).ask(request_bytes()), 500)


@pytest.mark.parametrize("wrong", [None, "hi", b"hi"], ids=repr)
async def test_a_response_replaced_by_what_is_no_response_is_the_policys_failure(front: Fronts, wrong: Any) -> None:
    class Replaces:
        def on_response(self, x: Exchange) -> None:
            x.response = wrong

    f = await front(policies=[Replaces()])
    assert_problem(await (await f.client()).ask(request_bytes()), 500)


# what policies share, and what they may not set


async def test_a_response_that_many_exchanges_share_collects_nothing_of_them(front: Fronts) -> None:
    denied = Response(403, body="no")

    class Shares:
        def on_request(self, x: Exchange) -> Response:
            return denied

        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.headers.add("set-cookie", f"user={x.request.path}")
            x.response.status = 404

    f = await front(policies=[Shares()])
    client = await f.client()
    for path in (b"/1", b"/2", b"/3"):
        reply = await client.ask(request_bytes(path))
        assert reply.all("set-cookie") == [b"user=" + path]
    assert "set-cookie" not in denied.headers
    assert denied.status == 403


@pytest.mark.parametrize("host", ["c d", "", "a/b", "u@a", "a,b", "a:65536"])
async def test_a_host_set_by_a_policy_that_is_none_is_its_failure(front: Fronts, host: str) -> None:
    def sets(x: Exchange) -> None:
        x.request.headers.set("host", host)

    f = await front(policies=[sets])
    assert_problem(await (await f.client()).ask(request_bytes()), 500)
    assert f.upstream.received == b""


async def test_two_hosts_set_by_a_policy_never_reach_a_service(front: Fronts) -> None:
    def sets(x: Exchange) -> None:
        x.request.headers.add("host", "b.example")
        x.request.headers.add("host", "c.example")

    f = await front(policies=[sets])
    await (await f.client()).ask(request_bytes())
    assert all(len(m.all("host")) == 1 for m in f.upstream.requests)


async def test_an_expectation_set_by_a_policy_is_not_sent(front: Fronts) -> None:
    def sets(x: Exchange) -> None:
        x.request.headers.set("expect", "100-continue")

    f = await front(policies=[sets])
    assert (await (await f.client()).ask(request_bytes(b"/", method=b"POST", body=BODY))).status == 200
    assert f.upstream.requests[0].all("expect") == []


async def test_field_names_with_dots_are_aliases_of_the_gateways_own_fields_too(front: Fronts) -> None:
    f = await front(field_names={"underscores": "keep"})
    lines = [
        name + b": 6.6.6.6" for name in (b"X_Forwarded_For", b"X.Forwarded.For", b"X.Real.IP", b"X_Request.Id")
    ] + [b"Content.Length: 3", b"Transfer.Encoding: chunked", b"X_Mine: 1"]
    assert (await (await f.client()).ask(request_bytes(b"/", *lines))).status == 200
    (request,) = f.upstream.requests
    assert b"6.6.6.6" not in request.head
    assert request.all("content.length") == request.all("transfer.encoding") == []
    assert request.header("x_mine") == "1"


async def test_a_field_that_connection_nominates_matches_no_route(front: Fronts) -> None:
    gold = await front.upstream(answer(ok(b"gold")))
    f = await front(answer(ok(b"plain")))
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/*", target=gold.url, headers={"x-tier": "gold"})
    gateway.route("/*", target=f.upstream.url)
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(b"/", b"x-tier: gold"))).body == b"gold"
    assert (await client.ask(request_bytes(b"/", b"x-tier: gold", b"connection: x-tier"))).body == b"plain"
