"""A request of the gateway's own: the answer or the failure comes to whoever made it, bounded in time and in size."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.errors import GatewayError
from propylon.engine.retry import RetrySettings
from propylon.engine.snapshot import CompiledRoute
from propylon.engine.subrequest import Subrequest, SubrequestResponse
from propylon.routing.query_edit import QueryEdit
from propylon.routing.rewrite import strip
from propylon.services.ejection import EjectionSettings
from propylon.services.settings import PassiveHealth
from tests.support.deadline import settle, until, within
from tests.support.fakes import OK, FakeEndpoint, FakeUpstream, exchange, fake_service

SOON = 0.03  # seconds, of deadlines that are to pass
LONG = 30.0


def ask(
    own: Subrequest, *endpoints: FakeEndpoint, timeout: float = LONG, limit: int = 100
) -> asyncio.Task[SubrequestResponse]:
    service = fake_service(*endpoints, retry=RetrySettings(per_try=SOON))
    return asyncio.create_task(own.ask(service, timeout=timeout, limit=limit))


async def begun(own: Subrequest, upstream: FakeUpstream, **keys: Any) -> asyncio.Task[SubrequestResponse]:
    """The task of a request that has been sent to `upstream`."""
    task = ask(own, FakeEndpoint(upstream), **keys)
    await settle()
    assert upstream.sent
    return task


async def test_it_goes_out_as_it_was_made_and_the_answer_comes_back() -> None:
    upstream = FakeUpstream()
    own = Subrequest(b"POST", b"/keys", b"a=1")
    own.headers.set("accept", "application/json")
    own.exchange.body = b"hello"
    task = await begun(own, upstream)
    assert upstream.line == b"POST /keys?a=1"
    assert b"host: 10.0.0.7:3001\r\n" in upstream.block
    assert b"accept: application/json\r\n" in upstream.block
    assert upstream.sent[0][-1] == b"hello"
    upstream.answer(OK + b"x-a: 1\r\n", b"there")
    answer = await task
    assert (answer.status, answer.headers["x-a"], answer.body, answer.whole) == (200, "1", b"there", True)
    assert upstream.finished == 1


async def test_a_copy_of_a_request_is_as_policies_have_made_it_and_is_sent_once() -> None:
    route = CompiledRoute("r", rewrite=strip("/api"), query_edit=QueryEdit({}, {"b": "2"}, ()))
    x = exchange(path=b"/api/x", query=b"a=1", fields=b"host: a.example\r\nx-a: 1\r\nx-gone: 1\r\n")
    x.id, x.route = b"id-1", route
    x.request.headers.set("x-b", "2")
    x.request.headers.remove("x-gone")
    own = Subrequest.of(x)
    x.request.headers.set("x-late", "1")
    first, second = FakeUpstream(), FakeUpstream()
    task = ask(own, FakeEndpoint(first), FakeEndpoint(second))
    await settle()
    assert first.line == b"GET /x?a=1&b=2"
    sent = first.block.lower()
    assert [field for field in (b"x-a: 1", b"x-b: 2", b"x-request-id: id-1") if field not in sent] == [], sent
    assert b"x-gone" not in sent
    assert b"x-late" not in sent
    first.fail("attempt.closed")
    with pytest.raises(GatewayError, match=r"attempt\.closed"):
        await task
    assert not second.sent


async def test_a_service_is_told_about_no_client() -> None:
    upstream = FakeUpstream()
    task = await begun(Subrequest(b"GET", b"/"), upstream)
    assert b"forwarded" not in upstream.block.lower()
    assert b"x-request-id: " in upstream.block
    upstream.answer()
    await task


async def test_a_host_of_its_own_is_sent() -> None:
    upstream = FakeUpstream()
    own = Subrequest(b"GET", b"/")
    own.headers.set("host", "issuer.example")
    task = await begun(own, upstream)
    assert b"host: issuer.example\r\n" in upstream.block
    assert b"10.0.0.7" not in upstream.block
    upstream.answer()
    await task


async def test_a_body_that_comes_in_pieces_is_put_together() -> None:
    upstream = FakeUpstream()
    task = await begun(Subrequest(b"GET", b"/"), upstream)
    body = upstream.begin_answer(OK, b"one ")
    body.feed(b"two")
    upstream.end_answer()
    answer = await task
    assert (answer.body, answer.whole) == (b"one two", True)


async def test_no_more_of_a_body_is_kept_than_asked_for_and_the_connection_is_given_up() -> None:
    upstream = FakeUpstream()
    task = await begun(Subrequest(b"GET", b"/"), upstream, limit=10)
    body = upstream.begin_answer(OK, b"123456")
    body.feed(b"7890")
    await settle()
    assert not task.done()
    body.feed(b"too much")
    answer = await task
    assert (answer.body, answer.whole) == (b"1234567890", False)
    assert upstream.finished == 1


@given(pieces=st.lists(st.binary(min_size=1, max_size=5), max_size=6), limit=st.integers(1, 12), held=st.integers(0, 6))
def test_of_any_body_its_beginning_is_kept_up_to_the_limit(pieces: list[bytes], limit: int, held: int) -> None:
    async def answered() -> SubrequestResponse:
        upstream = FakeUpstream()
        task = await begun(Subrequest(b"GET", b"/"), upstream, limit=limit)
        body = upstream.begin_answer(OK, b"".join(pieces[:held]))
        for piece in pieces[held:]:
            body.feed(piece)
        upstream.end_answer()
        return await task

    answer = asyncio.run(answered())
    sent = b"".join(pieces)
    assert (answer.body, answer.whole) == (sent[:limit], len(sent) <= limit)


async def test_a_body_that_nobody_wants_is_not_waited_for() -> None:
    upstream = FakeUpstream()
    task = await begun(Subrequest(b"GET", b"/"), upstream, limit=0)
    upstream.begin_answer(OK)
    answer = await task
    assert (answer.status, answer.body, answer.whole) == (200, b"", False)
    assert upstream.finished == 1


async def test_another_endpoint_is_asked_in_the_time_that_one_try_has() -> None:
    silent, other = FakeUpstream(), FakeUpstream()
    service = fake_service(
        FakeEndpoint(silent), FakeEndpoint(other), retry=RetrySettings(per_try=SOON, on=frozenset(("timeout",)))
    )
    task = asyncio.create_task(Subrequest(b"GET", b"/").ask(service, timeout=LONG, limit=0))
    await until(lambda: bool(silent.sent and other.sent), "the second endpoint is asked")
    asked_last = other if other.exchange is not None else silent
    asked_last.answer()
    assert (await task).status == 200


@pytest.mark.parametrize("head", [False, True], ids=["before the head", "in the body"])
async def test_its_time_covers_everything(head: bool) -> None:
    upstream = FakeUpstream()
    task = await begun(Subrequest(b"GET", b"/"), upstream, timeout=SOON)
    if head:
        upstream.begin_answer(OK + b"content-type: text/event-stream\r\n", b"data: 1\n\n")
    async with within(3, "the request ends"):
        with pytest.raises(GatewayError, match=r"attempt\.total_timeout"):
            await task
    assert upstream.finished == 1


async def test_a_failure_comes_to_whoever_asked_and_counts_against_the_endpoint() -> None:
    upstream = FakeUpstream()
    endpoint = FakeEndpoint(upstream)
    task = ask(Subrequest(b"POST", b"/"), endpoint)
    await settle()
    assert endpoint.vitals.inflight == 1
    upstream.fail("attempt.closed")
    with pytest.raises(GatewayError, match=r"attempt\.closed"):
        await task
    assert endpoint.vitals.inflight == 0


async def test_half_an_answer_is_a_failure_of_the_endpoint() -> None:
    upstream = FakeUpstream()
    endpoint = FakeEndpoint(upstream)
    service = fake_service(endpoint, passive=PassiveHealth(ejection=EjectionSettings(consecutive=1)))
    task = asyncio.create_task(Subrequest(b"GET", b"/").ask(service, timeout=LONG, limit=100))
    await settle()
    upstream.begin_answer(OK, b"half")
    upstream.fail("relay.truncated")
    with pytest.raises(GatewayError, match=r"relay\.truncated"):
        await task
    assert endpoint.vitals.ejection.until


async def test_a_service_without_endpoints_fails_at_once() -> None:
    with pytest.raises(GatewayError, match=r"choose\.no_endpoint"):
        await ask(Subrequest(b"GET", b"/"))


@pytest.mark.parametrize("stage", ["in line", "sent", "in the body"])
async def test_it_ends_with_whoever_waits_for_it(stage: str) -> None:
    upstream = FakeUpstream()
    endpoint = FakeEndpoint(*([] if stage == "in line" else [upstream]))
    own = Subrequest(b"GET", b"/")
    task = ask(own, endpoint)
    await settle()
    if stage == "in the body":
        upstream.begin_answer(OK, b"half")
        await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert own.exchange.finished
    assert endpoint.vitals.inflight == 0
    assert upstream.finished == (stage != "in line")
    assert len(endpoint.pool.withdrawn) == (stage == "in line")


async def test_nothing_is_left_of_one_that_is_over() -> None:
    upstream = FakeUpstream()
    own = Subrequest(b"POST", b"/nothing-is-left")
    own.exchange.body = b"large"
    task = await begun(own, upstream)
    upstream.answer(OK, b"there")
    await task
    own.exchange.arm(SOON, "head.timeout")  # as a connection does that has just been given up
    assert own._timer is None
    assert own.exchange.body is None
    del own, task
    await settle()
    left = [each for each in gc.get_objects() if isinstance(each, Subrequest)]
    assert b"/nothing-is-left" not in [each.exchange.path for each in left], "the garbage collector is not needed"


async def test_on_a_connection_of_its_own_nothing_is_counted_and_nothing_is_tried_twice() -> None:
    upstream, endpoint = FakeUpstream(), FakeEndpoint()
    own = Subrequest(b"GET", b"/healthz")
    task = asyncio.create_task(own.ask_on(upstream, cast("Any", endpoint), timeout=LONG, limit=100))
    await settle()
    assert upstream.line == b"GET /healthz"
    assert endpoint.vitals.inflight == 0
    upstream.fail("attempt.closed")
    with pytest.raises(GatewayError, match=r"attempt\.closed"):
        await task
    assert len(upstream.sent) == 1
    assert upstream.finished == 1
    assert endpoint.pool.leases == []


async def test_a_connection_that_is_closed_already_is_a_failure() -> None:
    upstream = FakeUpstream()
    upstream.error = GatewayError("attempt.closed")
    with pytest.raises(GatewayError, match=r"attempt\.closed"):
        await Subrequest(b"GET", b"/").ask_on(upstream, cast("Any", FakeEndpoint()), timeout=LONG, limit=0)
    assert upstream.sent == []
