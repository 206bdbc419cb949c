"""The way of a request, driven without a socket: what reaches endpoint and client, and that it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from propylon import Response
from propylon.engine import clock as clock_module
from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.failures import FAILURES
from tests.support.deadline import settle
from tests.support.fakes import OK, TOLD, Clock, FakeClient, FakeEndpoint, FakeUpstream, exchange, snapshot
from tests.support.frames import close_frame
from tests.support.tunnels import HANDSHAKE, Relay, clock_of

DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
OWN = DATE + b"x-request-id: id-1\r\n"


@pytest.fixture(autouse=True)
def _dated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "time", lambda: 0)
    monkeypatch.setattr(clock_module, "_second", -1)


class Run:
    """One exchange on its way, and how often it was done."""

    def __init__(
        self, *policies: object, new: int = 1, kept: int = 0, route: dict[str, Any] | None = None, **keys: Any
    ) -> None:
        self.done: list[int] = []
        self.fresh = [FakeUpstream() for _ in range(new)]
        self.kept = [FakeUpstream(fresh=False) for _ in range(kept)]
        self.endpoint = FakeEndpoint(*self.fresh, kept=self.kept)
        self.client = FakeClient()
        counter = SimpleNamespace(on_done=lambda x: self.done.append(x.status))
        made_of = snapshot(*policies, counter, endpoint=self.endpoint, route=route)
        self.x = exchange(made_of, client=self.client, **keys)

    def start(self) -> Run:
        self.x.start(forward(self.x))
        return self

    @property
    def upstream(self) -> FakeUpstream:
        return (self.kept or self.fresh)[0]

    def problem(self) -> str:
        """The code that the client was told."""
        (call,) = [call for call in self.client.calls if call[0] == "send"]
        code: str = orjson.loads(call[3])["code"]
        assert call[1] == FAILURES[code].status
        return code

    def ended(self) -> None:
        """Whatever happened, everything was settled once."""
        assert self.x.finished
        assert self.x.deadline == inf
        assert self.client.done == [self.x]
        assert len(self.done) == 1
        for upstream in (*self.fresh, *self.kept):
            assert upstream.finished == (1 if upstream.sent or upstream.finished else 0)


# the good path


def test_a_request_goes_out_and_its_response_comes_back_as_it_is() -> None:
    run = Run(query=b"a=1", fields=b"Host: a.example\r\nX-A: 1\r\nConnection: x\r\n").start()
    added = TOLD + b"x-request-id: id-1\r\n"
    assert run.upstream.sent == [("send", b"GET", b"10.0.0.7:3001", b"/x?a=1", b"X-A: 1\r\n", added, None)]
    assert run.client.calls == []
    run.upstream.answer(b"HTTP/1.1 201 Made\r\nServer: s\r\ncontent-length: 2\r\n", b"ok")
    expected = b"Server: s\r\ncontent-length: 2\r\n" + OWN
    assert run.client.calls == [("send", 201, expected, b"ok")]
    assert run.done == [201]
    run.ended()


def test_an_answer_in_the_same_moment_is_no_different() -> None:
    run = Run()
    run.upstream.on_send = lambda upstream: upstream.answer(OK + b"content-length: 0\r\n")
    run.start()
    assert run.client.names == ["send"]
    run.ended()


def test_a_date_of_the_service_is_kept() -> None:
    run = Run().start()
    run.upstream.answer(OK + b"Date: then\r\ncontent-length: 0\r\n")
    assert run.client.heads[0][1] == b"Date: then\r\ncontent-length: 0\r\nx-request-id: id-1\r\n"


def test_a_whole_body_goes_with_the_head() -> None:
    run = Run(method=b"POST", fields=b"host: a\r\ncontent-length: 3\r\n")
    run.x.body = b"abc"
    run.start()
    assert run.upstream.sent[0][0] == "send"
    assert run.upstream.sent[0][-1] == b"abc"


def test_a_body_under_way_follows_the_head() -> None:
    run = Run(method=b"POST", fields=b"host: a\r\ncontent-length: 4\r\n")
    source = FakeUpstream()
    body = run.x.body = Body(source, 4)
    body.feed(b"ab")
    run.start()
    body.feed(b"cd")
    body.end([])
    assert run.upstream.sent[0][0] == "send_head"
    assert run.upstream.sent[0][-1] == 4
    assert run.upstream.request_body == b"abcd"
    assert run.upstream.sent[-1] == ("end_body", [])


def test_a_body_of_chunks_goes_out_with_unknown_length() -> None:
    run = Run(method=b"POST", fields=b"host: a\r\ntransfer-encoding: chunked\r\n")
    run.x.body = Body(FakeUpstream())
    run.start()
    assert run.upstream.sent[0][-1] == -1


def test_a_response_under_way_follows_its_head_and_ends_the_exchange_with_its_last_byte() -> None:
    run = Run().start()
    body = run.upstream.begin_answer(OK + b"content-length: 4\r\n", b"ab")
    assert run.client.names == ["send_head", "write_body"]
    assert run.client.calls[0][3] == 4
    body.feed(b"cd")
    assert not run.x.finished
    run.upstream.end_answer()
    assert run.client.body == b"abcd"
    assert run.client.names[-1] == "end_body"
    run.ended()


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_chunked_response_that_has_all_arrived_is_sent_with_its_length(body: bytes) -> None:
    run = Run().start()
    run.upstream.answer(OK + b"transfer-encoding: chunked\r\n", body)
    assert run.client.calls == [("send", 200, OWN + b"content-length: %d\r\n" % len(body), body)]
    run.ended()


@pytest.mark.parametrize(
    ("head", "block"),
    [
        (OK + b"content-length: 7\r\n", b"content-length: 7\r\n"),
        (OK + b"transfer-encoding: chunked\r\n", b""),
        (OK, b""),
    ],
)
def test_rfc9110_9_3_2_a_head_response_keeps_its_length_and_has_no_body(head: bytes, block: bytes) -> None:
    run = Run(method=b"HEAD").start()
    run.upstream.answer(head)
    assert run.client.calls == [("send", 200, block + OWN, b"")]


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_rfc9110_6_4_1_a_status_without_body_gets_no_length(status: bytes) -> None:
    run = Run().start()
    run.upstream.answer(b"HTTP/1.1 " + status + b" x\r\n")
    assert b"content-length" not in run.client.heads[0][1]


# policies on the way


def test_an_answer_of_a_policy_asks_no_endpoint() -> None:
    run = Run(lambda x: Response(200, body="hi")).start()
    assert run.upstream.sent == []
    block = b"content-type: text/plain; charset=utf-8\r\ncontent-length: 2\r\n" + OWN
    assert run.client.calls == [("send", 200, block, b"hi")]
    run.ended()


def test_phases_run_in_their_order() -> None:
    calls: list[str] = []

    class Recorder:
        def on_request(self, x: Exchange) -> None:
            calls.append("request")

        def on_attempt(self, x: Exchange, attempt: Any) -> None:
            calls.append(f"attempt {attempt.number} {attempt.endpoint.url}")
            attempt.headers.set("x-try", "1")

        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.headers.set("x-seen", "1")
            calls.append(f"response {x.response.status}")

        def on_done(self, x: Exchange) -> None:
            calls.append(f"done {x.status}")

    run = Run(Recorder()).start()
    assert b"x-try: 1\r\n" in run.upstream.block
    run.upstream.answer(OK + b"content-length: 2\r\n", b"ok")
    assert b"x-seen: 1\r\n" in run.client.heads[0][1]
    assert calls == ["request", "attempt 1 http://10.0.0.7:3001", "response 200", "done 200"]
    run.ended()


async def test_an_async_policy_is_waited_for_and_what_comes_meanwhile_is_not_lost() -> None:
    gate = asyncio.Event()

    class Slow:
        async def on_response(self, x: Exchange) -> None:
            await gate.wait()

    run = Run(Slow()).start()
    body = run.upstream.begin_answer(OK + b"content-length: 4\r\n", b"ab")
    await settle()
    body.feed(b"cd")
    run.upstream.end_answer()
    assert run.client.calls == []
    gate.set()
    await settle()
    assert run.client.body == b"abcd"
    run.ended()


async def test_async_chunk_policies_see_the_end_before_the_exchange_does() -> None:
    class Upper:
        async def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
            await asyncio.sleep(0)
            return data.upper()

    run = Run(Upper()).start()
    run.upstream.answer(OK + b"content-length: 2\r\n", b"ok")
    await settle()
    assert run.client.body == b"OK"
    assert run.client.names[-1] == "end_body"
    assert b"content-length" not in run.client.heads[0][1]
    run.ended()


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("way", ["response", "body"])
async def test_a_body_that_another_one_replaces_is_not_waited_for(waits: bool, way: str) -> None:
    class Instead:
        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            if way == "response":
                x.response = Response(200, body=b"instead")
            else:
                x.response.replace_body(b"instead")

    class Upper:
        async def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
            if waits:
                await asyncio.sleep(0)
            return data.upper()

    run = Run(Instead(), Upper()).start()
    run.upstream.begin_answer(OK + b"content-length: 1000000\r\n", b"x" * 100_000)
    await settle()
    assert run.client.body == b"INSTEAD"
    assert run.client.names[-1] == "end_body"
    assert run.upstream.finished == 1
    run.ended()


async def test_a_policy_that_reads_a_body_that_breaks_off_does_not_wait_for_ever() -> None:
    class Reader:
        async def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            await x.response.body()

    run = Run(Reader()).start()
    run.upstream.begin_answer(OK + b"content-length: 9\r\n", b"ab")
    await settle()
    run.upstream.fail("relay.truncated")
    await settle()
    assert run.problem() == "relay.truncated"
    run.ended()


async def test_a_policy_that_reads_a_body_waits_no_longer_than_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)

    class Reader:
        async def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            await x.response.body()

    run = Run(Reader()).start()
    run.x.set_timeouts(policy=None)
    run.upstream.begin_answer(OK + b"content-length: 9\r\n", b"ab")
    await settle()
    assert run.x.deadline == clock.now + 60
    run.x.fail(GatewayError("relay.client_gone"))
    await settle()


# the client


def test_a_client_that_goes_away_ends_everything_and_is_told_nothing() -> None:
    run = Run().start()
    run.x.fail(GatewayError("relay.client_gone"))
    assert run.client.calls == []
    assert run.done == [0]
    run.ended()


def test_a_client_that_goes_away_during_the_body_ends_everything() -> None:
    run = Run().start()
    run.upstream.begin_answer(OK + b"content-length: 9\r\n", b"ab")
    run.x.fail(GatewayError("relay.client_gone"))
    assert run.client.names == ["send_head", "write_body", "abort"]
    run.ended()


def test_a_client_that_goes_away_while_it_waits_in_line_withdraws() -> None:
    run = Run(new=0).start()
    run.x.fail(GatewayError("relay.client_gone"))
    assert run.endpoint.pool.withdrawn == run.endpoint.pool.leases
    run.ended()


async def test_a_client_that_goes_away_cancels_an_async_policy() -> None:
    ended: list[str] = []

    async def endless(x: Exchange) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    run = Run(endless).start()
    await settle()
    run.x.fail(GatewayError("relay.client_gone"))
    await settle()
    assert ended == ["cancelled"]
    run.ended()


# failures


@pytest.mark.parametrize("code", ["attempt.closed", "head.bad", "connect.refused"])
def test_a_failure_before_the_head_is_told(code: str) -> None:
    run = Run().start()
    run.upstream.fail(code)
    assert run.problem() == code
    assert b"10.0.0.7" not in run.client.body
    run.ended()


def test_a_failure_after_the_head_cuts_the_connection() -> None:
    run = Run().start()
    run.upstream.begin_answer(OK + b"content-length: 9\r\n", b"ab")
    run.upstream.fail("relay.truncated")
    assert run.client.names == ["send_head", "write_body", "abort"]
    assert run.x.error is not None
    assert run.x.error.code == "relay.truncated"
    assert run.done == [200]
    run.ended()


def test_no_connection_is_told() -> None:
    run = Run(new=0)
    run.endpoint.pool.refusal = GatewayError("choose.queue_full")
    run.start()
    assert run.problem() == "choose.queue_full"
    run.ended()


def test_a_connection_that_is_granted_later_is_used() -> None:
    run = Run(new=0).start()
    upstream = FakeUpstream()
    run.endpoint.pool.leases[0].upstream = upstream  # type: ignore[assignment]
    run.x.notify()
    upstream.answer(OK + b"content-length: 0\r\n")
    assert run.client.names == ["send"]
    assert run.endpoint.pool.withdrawn == []
    run.ended()


def test_no_route_and_a_wrong_method_are_told() -> None:
    client = FakeClient()
    made_of = snapshot(rule={"paths": ("/known",), "methods": ("PUT", "POST")})
    for path, status in ((b"/other", 404), (b"/known", 405)):
        x = exchange(made_of, client=client, path=path)
        x.start(forward(x))
        assert x.finished
        assert client.heads[-1][0] == status
    assert b"allow: POST, PUT\r\n" in client.heads[-1][1]
    assert x.route.name == "-"


def test_a_refused_request_is_answered_and_matches_nothing() -> None:
    run = Run()
    run.x.refusal = GatewayError("read.bad_field", "why")
    run.x.method = b""
    run.start()
    assert run.problem() == "read.bad_field"
    assert run.upstream.sent == []


def test_a_policy_that_raises_is_a_500_and_the_endpoint_is_not_asked() -> None:
    def broken(x: Exchange) -> None:
        raise ValueError("s3cret")

    run = Run(broken).start()
    assert run.problem() == "request.policy_failed"
    assert b"s3cret" not in run.client.body
    run.ended()


def test_a_policy_that_fails_after_the_head_of_the_service_is_a_500() -> None:
    def broken(x: Exchange) -> None:
        raise ValueError("s3cret")

    run = Run(SimpleNamespace(on_response=broken)).start()
    run.upstream.answer(OK + b"content-length: 2\r\n", b"ok")
    assert run.problem() == "response.policy_failed"
    run.ended()


def test_a_defect_of_the_gateway_is_a_500_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("propylon.engine.attempt.send_request", broken)
    run = Run().start()
    assert run.problem() == "gateway.failed"
    assert "ZeroDivisionError" in caplog.text
    assert run.done == [500]
    assert run.upstream.finished == 1


def test_on_error_may_answer_instead_and_on_response_sees_its_answer() -> None:
    errors: list[str] = []

    class Polite:
        def on_error(self, x: Exchange, error: GatewayError) -> Response:
            errors.append(error.code)
            return Response(200, body="sorry")

        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.headers.set("x-seen", "1")

    run = Run(Polite()).start()
    run.upstream.fail("attempt.closed")
    assert errors == ["attempt.closed"]
    assert run.client.heads[0][0] == 200
    assert b"x-seen: 1\r\n" in run.client.heads[0][1]
    assert run.client.body == b"sorry"
    run.ended()


def test_on_error_that_raises_leaves_the_gateways_answer() -> None:
    def broken(x: Exchange, error: GatewayError) -> None:
        raise ValueError

    run = Run(SimpleNamespace(on_error=broken)).start()
    run.upstream.fail("attempt.closed")
    assert run.problem() == "attempt.closed"
    run.ended()


async def test_an_async_on_error_is_waited_for_also_after_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    original = Exchange.pause

    def counted(x: Exchange) -> Any:
        turns.append(1)
        if len(turns) > 100:  # a pause that does not wait makes this test fail, and not hang
            raise RuntimeError
        return original(x)

    def on_error(x: Exchange, error: GatewayError) -> asyncio.Future[Response]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()
        loop.call_soon(answer.set_result, Response(503, body="later"))
        return answer

    monkeypatch.setattr(Exchange, "pause", counted)
    run = Run(SimpleNamespace(on_error=on_error)).start()
    run.x.fail(GatewayError("head.timeout"))
    await settle()
    assert run.client.body == b"later"
    run.ended()


@pytest.mark.parametrize("step", ["on_request", "on_attempt", "on_response", "on_error", "on_done"])
def test_a_hook_that_raises_cancelled_error_fails_like_any_other(step: str) -> None:
    def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    run = Run(SimpleNamespace(**{step: cancelled})).start()
    if step == "on_error":
        run.upstream.fail("attempt.closed")
    elif not run.x.finished:
        run.upstream.answer(OK + b"content-length: 0\r\n")
    assert "abort" not in run.client.names
    assert run.client.heads[0][0] == {"on_error": 502, "on_done": 200}.get(step, 500)
    run.ended()


async def test_the_total_time_ends_an_exchange_that_waits_in_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)

    async def endless(x: Exchange) -> None:
        x.set_timeouts(total=10, policy=None)
        await asyncio.Event().wait()

    run = Run(endless).start()
    await settle()
    run.x.check(clock.now + 9)
    assert not run.x.finished
    run.x.check(clock.now + 10)
    assert run.problem() == "attempt.total_timeout"
    run.ended()


@pytest.mark.parametrize("phase", ["on_request_chunk", "on_response_chunk"])
async def test_the_policy_time_ends_a_chunk_hook_that_never_ends(phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    ended: list[str] = []

    async def endless(x: Exchange, data: bytes) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return data

    run = Run(SimpleNamespace(**{phase: endless}), method=b"POST", fields=b"host: a\r\ncontent-length: 3\r\n")
    run.x.body = b"abc"
    run.start()
    await settle()
    if phase == "on_response_chunk":
        run.upstream.begin_answer(OK + b"content-length: 9\r\n", b"ab")
        await settle()
    run.x.check(clock.now + 29)
    assert not run.x.finished
    run.x.check(clock.now + 31)
    await settle()
    assert run.x.error is not None
    assert run.x.error.code == "request.policy_timeout"
    assert ended == ["cancelled"]
    run.ended()


def test_an_answer_that_many_exchanges_share_collects_nothing() -> None:
    shared = Response(403, body="no")

    def marks(x: Exchange) -> None:
        assert x.response is not None
        x.response.headers.add("set-cookie", "user=1")
        x.response.replace_body("other")

    for _ in range(3):
        run = Run(lambda x: shared, SimpleNamespace(on_response=marks)).start()
        assert run.client.heads[0][1].count(b"set-cookie") == 1
    assert "set-cookie" not in shared.headers
    assert shared.content == b"no"


@pytest.mark.parametrize("step", ["on_request", "on_attempt", "on_response", "on_error", "on_done"])
def test_done_runs_once_whichever_policy_fails(step: str) -> None:
    def broken(*_: object) -> None:
        raise ValueError

    run = Run(SimpleNamespace(**{step: broken})).start()
    if step == "on_error":
        run.upstream.fail("attempt.closed")
    elif not run.x.finished:
        run.upstream.answer(OK + b"content-length: 0\r\n")
    run.ended()


def test_done_runs_even_if_something_deferred_fails() -> None:
    def broken() -> None:
        raise OSError

    run = Run()
    run.x.defer(broken)
    run.start()
    run.upstream.answer(OK + b"content-length: 0\r\n")
    assert run.done == [200]
    assert run.x.finished


# an attempt that may be repeated (RFC 9112 9.3.1)


def test_rfc9112_9_3_1_a_kept_connection_that_was_closed_is_replaced_once() -> None:
    run = Run(kept=1, new=2).start()
    run.kept[0].fail("attempt.closed")
    assert run.kept[0].finished == 1
    assert run.fresh[0].sent == run.kept[0].sent
    assert run.x.attempts == 2
    run.fresh[0].fail("attempt.closed")
    assert run.problem() == "attempt.closed"
    assert run.fresh[1].sent == []
    run.ended()


def test_the_replacement_is_a_new_connection_even_if_another_is_kept() -> None:
    run = Run(kept=2, new=1).start()
    run.kept[-1].fail("attempt.closed")
    assert run.fresh[0].sent != []
    assert run.kept[0].sent == []


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"PURGE"])
def test_rfc9110_9_2_2_what_may_not_be_sent_twice_is_not(method: bytes) -> None:
    run = Run(kept=1, method=method).start()
    run.kept[0].fail("attempt.closed")
    assert run.problem() == "attempt.closed"
    assert run.fresh[0].sent == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
def test_rfc9110_9_2_2_idempotent_methods_may_be_sent_twice(method: bytes) -> None:
    run = Run(kept=1, method=method)
    run.x.body = b"abc"
    run.start()
    run.kept[0].fail("attempt.closed")
    assert run.fresh[0].sent[0][-1] == b"abc"


def test_what_was_heard_of_is_not_sent_again() -> None:
    run = Run(kept=1).start()
    run.kept[0].heard = True
    run.kept[0].fail("attempt.closed")
    assert run.problem() == "attempt.closed"


def test_a_body_under_way_is_not_sent_again() -> None:
    run = Run(kept=1, method=b"PUT", fields=b"host: a\r\ncontent-length: 4\r\n")
    run.x.body = Body(FakeUpstream())
    run.start()
    run.kept[0].fail("attempt.closed")
    assert run.problem() == "attempt.closed"


# time


def at(run: Run, clock: Clock) -> float:
    return run.x.deadline - clock.now


def test_the_response_has_its_time_from_the_requests_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    run = Run().start()
    assert (at(run, clock), run.x.expiry) == (60, "head.timeout")
    run.x.check(clock.now + 60)
    assert run.problem() == "head.timeout"
    run.ended()


def test_a_body_under_way_has_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    run = Run().start()
    run.upstream.begin_answer(OK + b"content-length: 9\r\n")
    assert (at(run, clock), run.x.expiry) == (60, "relay.idle_timeout")


def total(x: Exchange) -> None:
    x.set_timeouts(total=5.0)


def test_the_total_time_ends_the_wait_for_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    run = Run(total).start()
    assert (at(run, clock), run.x.expiry) == (5, "attempt.total_timeout")


def test_the_total_time_does_not_end_a_response_that_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    run = Run(total).start()
    clock.now += 3
    run.upstream.begin_answer(OK + b"content-length: 9\r\n", b"ab")
    assert (at(run, clock), run.x.expiry) == (60, "relay.idle_timeout")


@pytest.mark.parametrize("new", [0, 1], ids=["waiting for a connection", "sending the body"])
def test_the_total_time_counts_from_the_requests_head(monkeypatch: pytest.MonkeyPatch, new: int) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    run = Run(total, new=new, method=b"POST", fields=b"host: a\r\ncontent-length: 9\r\n")
    body = run.x.body = Body(FakeUpstream())
    run.start()
    body.feed(b"ab")
    assert (at(run, clock), run.x.expiry) == (5, "attempt.total_timeout")


# what the gateway answers itself


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (b"*", b"host: a\r\n", 204),
        (b"/x", b"host: a\r\nmax-forwards: 0\r\n", 204),
        (b"/x", b"host: a\r\nmax-forwards: x\r\n", 400),
    ],
)
def test_rfc9110_9_3_7_options_for_the_gateway_itself_is_answered_here(path: bytes, fields: bytes, status: int) -> None:
    run = Run(method=b"OPTIONS", path=path, fields=fields).start()
    assert run.client.heads[0][0] == status
    assert run.upstream.sent == []


def test_rfc9110_7_6_2_max_forwards_is_counted_down_for_options_only() -> None:
    for method, left in ((b"OPTIONS", b"4"), (b"GET", b"5")):
        run = Run(method=method, fields=b"host: a\r\nmax-forwards: 5\r\n").start()
        assert b"max-forwards: %b\r\n" % left in run.upstream.block


WAYS: list[Callable[[Run], None]] = [
    lambda run: run.upstream.answer(OK + b"content-length: 0\r\n"),
    lambda run: run.upstream.fail("head.bad"),
    lambda run: run.x.fail(GatewayError("relay.client_gone")),
    lambda run: run.x.fail(GatewayError("head.timeout")),
    lambda run: run.x.fail(GatewayError("read.body_timeout")),
]


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_events_after_the_end_change_nothing(way: int) -> None:
    run = Run().start()
    WAYS[way](run)
    told = list(run.client.calls)
    for other in WAYS:
        other(run)
    assert run.client.calls == told
    run.ended()


async def test_a_client_that_goes_away_while_its_error_page_passes_policies_is_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Endless:
        async def on_response_chunk(self, x: Exchange, data: bytes) -> bytes:
            await asyncio.Event().wait()
            return data

    run = Run(Endless()).start()
    run.upstream.fail("attempt.closed")
    await settle()
    assert not run.x.finished
    run.x.fail(GatewayError("relay.client_gone"))
    await settle()
    assert "defect" not in caplog.text
    run.ended()


async def test_a_second_failure_while_the_first_is_answered_still_ends_in_an_answer() -> None:
    class Slow:
        async def on_error(self, x: Exchange, error: GatewayError) -> None:
            await asyncio.Event().wait()

    run = Run(Slow()).start()
    run.x.fail(GatewayError("head.timeout"))
    await settle()
    run.x.fail(GatewayError("request.policy_timeout"))
    await settle()
    assert run.problem() == "head.timeout"
    run.ended()


# WebSockets


def test_a_handshake_that_is_not_answered_with_101_is_an_exchange_like_any_other() -> None:
    run = Run(fields=HANDSHAKE).start()
    run.upstream.answer(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 3\r\n", b"who")
    assert run.client.body == b"who"
    assert (run.x.tunnel, run.x.finished, run.done) == (None, True, [401])


def test_a_dead_kept_connection_is_replaced_for_a_handshake_too() -> None:
    run = Run(kept=1, fields=HANDSHAKE).start()
    run.kept[0].fail("attempt.closed")
    run.fresh[0].open()
    assert run.client.names[0] == "switch"
    assert run.x.attempts == 2


def test_a_tunnel_holds_its_exchange_until_both_sides_are_closed_and_leaves_nothing() -> None:
    relay = Relay()
    assert relay.x.tunnel is not None
    relay.client.send(close_frame(1000))
    relay.endpoint.send(close_frame(1000, mask=None))
    assert relay.done
    assert relay.upstreams[0].finished == 1
    assert (relay.x.tunnel, relay.x.upstream, relay.x.deadline) == (None, None, inf)


def test_no_deadline_of_the_handshake_is_left_behind_the_101(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = clock_of(monkeypatch)
    relay = Relay(clock=clock, ping=None)
    relay.check(1_000_000.0)
    assert not relay.x.finished
