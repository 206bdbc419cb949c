"""The exchange: stepped by callbacks, never lost, failed once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine import exchange as module
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.timing import Timeouts
from tests.support.fakes import Clock, FakeClient, FakeEndpoint, exchange, fake_service, snapshot

GONE = GatewayError("relay.client_gone")
LATE = GatewayError("head.timeout")


def started(way: Callable[[Exchange], Coroutine[Any, Any, None]]) -> tuple[Exchange, FakeClient]:
    client = FakeClient()
    x = exchange(client=client)
    x.start(way(x))
    return x, client


async def until(x: Exchange, ready: Callable[[], bool]) -> None:
    while not ready():
        await x.pause()


def test_it_goes_on_inside_the_call_that_notifies() -> None:
    log: list[str] = []
    flags = {"ready": False}

    async def way(x: Exchange) -> None:
        await until(x, lambda: flags["ready"])
        log.append("went on")

    x, client = started(way)
    x.notify()
    assert log == []
    flags["ready"] = True
    x.notify()
    assert log == ["went on"]
    assert x.finished
    assert client.done == [x]


def test_what_happens_while_it_runs_is_seen_at_the_next_look() -> None:
    flags = {"ready": False}

    async def way(x: Exchange) -> None:
        flags["ready"] = True
        x.notify()  # as a callback does that its own write has triggered
        await until(x, lambda: flags["ready"])

    x, client = started(way)
    assert x.finished
    assert client.done == [x]


def test_notifying_what_is_over_does_nothing() -> None:
    async def way(x: Exchange) -> None:
        pass

    x, client = started(way)
    x.notify()
    x.fail(GONE)
    x.check(inf)
    assert client.done == [x]


def test_a_failure_comes_out_of_the_pause_it_stands_at() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        try:
            await until(x, lambda: False)
        except GatewayError as error:
            caught.append(error)

    x, _ = started(way)
    x.fail(LATE)
    assert caught == [LATE]
    assert x.finished


def test_a_failure_while_it_runs_comes_out_of_the_next_pause() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        x.fail(LATE)
        try:
            await x.pause()
        except GatewayError as error:
            caught.append(error)

    x, client = started(way)
    assert caught == [LATE]
    assert client.done == [x]


def test_the_first_failure_is_the_one_that_counts() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        try:
            x.fail(LATE)
            x.fail(GONE)
            await x.pause()
        except GatewayError as error:
            caught.append(error)

    started(way)
    assert caught == [LATE]


def test_after_a_failure_was_raised_a_pause_waits_again() -> None:
    """What answers a failure may have to wait too: an async `on_error` policy, for one."""
    steps: list[str] = []
    ready: list[bool] = []

    async def way(x: Exchange) -> None:
        try:
            await x.pause()
        except GatewayError:
            steps.append("failed")
        for _ in range(100):  # not `while`: if `pause` does not wait, this test fails, and does not hang
            if ready:
                break
            await x.pause()
            steps.append("woken")
        steps.append("answered")

    x, _ = started(way)
    x.fail(LATE)
    assert steps == ["failed"]
    x.notify()
    assert steps == ["failed", "woken"]
    ready.append(True)
    x.notify()
    assert steps == ["failed", "woken", "woken", "answered"]


def test_a_failure_after_an_upstream_error_is_still_raised() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        x.error = GatewayError("attempt.closed")  # as answer_failure does
        try:
            await x.pause()
        except GatewayError as error:
            caught.append(error)

    x, _ = started(way)
    x.fail(GONE)
    assert caught == [GONE]


@given(st.lists(st.sampled_from(["set", "notify", "fail"]), max_size=12))
def test_whatever_the_order_of_events_it_ends_once(events: list[str]) -> None:
    flags = {"count": 0}
    seen: list[object] = []

    async def way(x: Exchange) -> None:
        try:
            await until(x, lambda: flags["count"] >= 3)
            seen.append("done")
        except GatewayError as error:
            seen.append(error)

    x, client = started(way)
    sets = 0
    expected: list[object] = []
    for event in events:
        if event == "set":
            flags["count"] += 1
            sets += 1
        elif event == "notify":
            x.notify()
            if sets >= 3 and not expected:
                expected.append("done")
        else:
            x.fail(LATE)
            if not expected:
                expected.append(LATE)
    assert seen == expected
    assert client.done == [x] * len(expected)
    assert x.finished is bool(expected)


def test_a_defect_of_the_way_ends_the_exchange_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def way(x: Exchange) -> None:
        raise ZeroDivisionError

    x, client = started(way)
    assert x.finished
    assert client.names == ["abort"]
    assert client.done == [x]
    assert [(r.levelno, r.exc_info[0]) for r in caplog.records if r.exc_info] == [(logging.ERROR, ZeroDivisionError)]


# deadlines


def test_a_deadline_is_armed_anew_and_disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module)
    x = exchange()
    assert x.deadline == inf
    x.arm(5.0, "head.timeout")
    assert x.deadline == clock.now + 5
    clock.now += 3
    x.arm(1.0, "relay.idle_timeout")
    assert (x.deadline, x.expiry) == (clock.now + 1, "relay.idle_timeout")
    x.arm(None, "head.timeout")
    assert x.deadline == inf
    x.arm(1.0, "head.timeout")
    x.disarm()
    assert x.deadline == inf


def test_the_total_time_wins_where_it_is_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module)
    x = exchange()
    x.total_deadline = clock.now + 2
    x.arm(5.0, "head.timeout")
    assert (x.deadline, x.expiry) == (clock.now + 2, "attempt.total_timeout")
    x.arm(1.0, "head.timeout")
    assert (x.deadline, x.expiry) == (clock.now + 1, "head.timeout")
    x.arm(None, "head.timeout")
    assert (x.deadline, x.expiry) == (clock.now + 2, "attempt.total_timeout")


@pytest.mark.parametrize(
    ("arm", "code"),
    [
        (lambda x: x.arm(1.0, "head.timeout"), "head.timeout"),
        (lambda x: (x.set_timeouts(policy=1.0), x.arm_policy(x)), "request.policy_timeout"),
    ],
    ids=["armed", "policy"],
)
def test_a_passed_deadline_fails_with_its_code(
    monkeypatch: pytest.MonkeyPatch, arm: Callable[[Exchange], None], code: str
) -> None:
    clock = Clock(monkeypatch, module)
    caught: list[str] = []

    async def way(x: Exchange) -> None:
        arm(x)
        try:
            await until(x, lambda: False)
        except GatewayError as error:
            caught.append(error.code)

    x, _ = started(way)
    x.check(clock.now + 0.9)
    assert caught == []
    x.check(clock.now + 1.0)
    assert caught == [code]
    assert x.deadline == inf


Step = tuple[str, float | None]
STEPS = st.lists(
    st.tuples(st.sampled_from(["arm", "total", "disarm", "policy", "done", "check", "pass"]), st.floats(0.1, 9.0)),
    max_size=20,
)


@given(STEPS)
def test_an_exchange_that_is_checked_only_when_it_is_due_fails_as_soon_as_one_that_always_is(steps: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch, module)
        x = exchange()
        for number, (step, seconds) in enumerate(steps):
            if step == "arm":
                x.arm(seconds, "head.timeout")
            elif step == "total":
                x.set_timeouts(total=seconds)
            elif step == "policy":
                x.set_timeouts(policy=seconds)
                x.arm_policy(number)
            elif step == "done" and x.policy_deadlines:
                x.disarm_policy(next(iter(x.policy_deadlines)))
            elif step == "disarm":
                x.disarm()
            elif step == "pass":
                clock.now += seconds or 0
            nearest = min([x.deadline, *(x.policy_deadlines or {}).values()])
            assert x.client.due <= nearest
            if step == "check" and clock.now < nearest:
                x.client.due = inf
                x.check(clock.now)
                assert x.client.due == nearest


@pytest.mark.parametrize(
    ("name", "part"),
    [("event_stream", SimpleNamespace(due=1007.0)), ("tunnel", SimpleNamespace(deadline=1007.0))],
    ids=["event stream", "tunnel"],
)
def test_a_check_that_comes_too_early_leaves_other_deadlines_due(
    monkeypatch: pytest.MonkeyPatch, name: str, part: Any
) -> None:
    clock = Clock(monkeypatch, module)
    x = exchange()
    setattr(x, name, part)
    x.client.due = inf
    x.check(clock.now)
    assert x.client.due == 1007.0
    x.arm(5.0, "head.timeout")
    x.check(clock.now)
    assert x.client.due == clock.now + 5


def test_what_is_over_has_no_deadline_and_carries_out_what_was_deferred() -> None:
    done: list[str] = []
    x = exchange()
    x.arm(1.0, "head.timeout")
    x.defer(lambda: done.append("a"))
    x.defer(lambda: done.append("b"))
    x.settle()
    assert done == ["a", "b"]
    assert x.deadline == inf
    assert x.finished


def test_elapsed_is_counted_from_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module)
    x = exchange()
    clock.now += 1.5
    assert x.elapsed == 1.5


# what policies use


def test_the_request_is_made_when_it_is_asked_for() -> None:
    x = exchange(method=b"POST", query=b"a=1", fields=b"Host: A.example:81\r\nx: 1\r\n")
    assert x.changed_request is None
    request = x.request
    assert x.request is request is x.changed_request
    assert (request.method, request.path, request.query, request.host) == ("POST", "/x", "a=1", "a.example")
    assert (request.scheme, request.client, request.query_value("a")) == ("http", "192.0.2.1", "1")
    assert request.headers["X"] == "1"
    assert x.request_id == "id-1"
    assert x.client_address == b"192.0.2.1"
    x.state["k"] = 1
    assert x.state == {"k": 1}


def test_a_header_that_belongs_to_the_gateway_is_no_condition() -> None:
    x = exchange(fields=b"host: a\r\nX-Forwarded-For: 1.2.3.4\r\nx-a: 1\r\n")
    assert x.header(b"x-a") == b"1"
    assert x.header(b"x-forwarded-for") is None
    assert x.header(b"nope") is None


def test_a_path_that_a_policy_sets_is_canonical_or_refused() -> None:
    x = exchange()
    x.request.path = "/a//b%41"
    assert x.path == b"/a/bA"
    assert x.rewritten
    for bad in ("a", "/../x", "/a b", "/%zz", "/a\r\nb", "/a?b", "/ä", ""):
        with pytest.raises(ValueError, match=r"."):
            x.request.path = bad
    assert x.path == b"/a/bA"


def test_a_query_that_could_end_the_request_line_is_refused() -> None:
    x = exchange()
    x.request.query = "a=%20&b"
    assert x.query == b"a=%20&b"
    for bad in ("a b", "a\r\n", "a#b", "a\x7f", "ä"):
        with pytest.raises(ValueError, match="query"):
            x.request.query = bad
    x.request.query = None
    assert x.query is None


def test_timeouts_change_only_what_is_named() -> None:
    x = exchange()
    x.set_timeouts(response=2.0, total=None)
    assert x.timeouts == Timeouts(connect=5.0, response=2.0, idle=60.0, total=None)
    assert x.snapshot.timeouts == Timeouts()


@pytest.mark.parametrize(
    ("fields", "body", "refused"),
    [
        (b"content-length: 10\r\n", None, False),
        (b"content-length: 11\r\n", None, True),
        (b"transfer-encoding: chunked\r\n", b"x" * 10, False),
        (b"transfer-encoding: chunked\r\n", b"x" * 11, True),
        (b"transfer-encoding: chunked\r\n", None, False),
    ],
)
def test_a_limit_refuses_what_is_known_to_be_larger(fields: bytes, body: bytes | None, refused: bool) -> None:
    x = exchange(fields=fields)
    x.body = body
    if refused:
        with pytest.raises(GatewayError) as caught:
            x.limit_body(10)
        assert caught.value.code == "request.body_too_large"
    else:
        x.limit_body(10)
    assert x.body_limit == 10


def test_an_endpoint_is_chosen_among_those_of_the_service() -> None:
    x = exchange()
    with pytest.raises(ValueError, match=r"."):
        x.choose("http://10.0.0.7:3001")
    endpoint = FakeEndpoint()
    x.service = fake_service(endpoint)
    x.choose("http://10.0.0.7:3001")
    assert x.pinned is endpoint  # type: ignore[comparison-overlap]
    with pytest.raises(ValueError, match=r"http://evil"):
        x.choose("http://evil")


# request bodies, as policies read them


async def test_a_body_that_was_read_still_goes_to_the_service() -> None:
    x = exchange()
    x.body = Body.of(b"abc")
    assert await x.request.body() == b"abc"
    assert x.body == b"abc"  # type: ignore[comparison-overlap]
    assert await x.request.body() == b"abc"


@pytest.mark.parametrize("make", [Body.of, bytes], ids=["stream", "whole"])
async def test_a_body_beyond_what_a_policy_reads_is_413(make: Callable[[bytes], Body | bytes]) -> None:
    x = exchange()
    x.body = make(b"12345")
    with pytest.raises(GatewayError) as caught:
        await x.request.body(limit=4)
    assert caught.value.status == 413


@pytest.mark.parametrize("body", [None, b""], ids=["none", "empty"])
async def test_no_body_reads_as_empty(body: bytes | None) -> None:
    x = exchange()
    x.body = body
    assert await x.request.body() == b""
    assert [piece async for piece in x.request.stream()] in ([], [b""])


async def test_a_streamed_body_is_consumed() -> None:
    x = exchange()
    x.body = Body.of(b"abc")
    assert b"".join([piece async for piece in x.request.stream()]) == b"abc"
    assert x.body == b""  # type: ignore[comparison-overlap]


async def test_a_replaced_body_drops_what_still_comes() -> None:
    x = exchange()
    stream = Body.of(b"abc")
    x.body = stream
    x.request.replace_body(b"new")
    assert x.body == b"new"  # type: ignore[comparison-overlap]
    assert stream.held() == b""


def test_an_exchange_keeps_the_snapshot_it_began_with() -> None:
    first = snapshot()
    assert exchange(first).snapshot is first


def test_a_place_in_a_service_is_given_back_once_whoever_gives_it_back() -> None:
    left: list[GatewayError | None] = []
    x = exchange()
    x.gate = cast("Any", SimpleNamespace(leave=lambda x, error: left.append(error)))
    error = GatewayError("head.timeout")
    x.leave_gate(error)
    x.settle()
    assert left == [error]
