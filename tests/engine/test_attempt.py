"""An attempt, and what follows when it comes to nothing: another endpoint, within bounds, or the failure itself."""

from __future__ import annotations

import asyncio
import gc
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from propylon.engine import alarm as alarm_module
from propylon.engine import ask as ask_module
from propylon.engine import attempt as attempt_module
from propylon.engine import exchange as exchange_module
from propylon.engine import retry as retry_module
from propylon.engine import timed as timed_module
from propylon.engine.attempt import Attempt
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.retry import RetrySettings
from propylon.failures import FAILURES
from propylon.services.affinity import Affinity
from propylon.services.breaker import Breaker, BreakerSettings
from propylon.services.ejection import EjectionSettings
from propylon.services.settings import BreakerUse, PassiveHealth
from tests.support.deadline import never, settle
from tests.support.fakes import OK, Clock, FakeClient, FakeEndpoint, FakeUpstream, exchange, fake_service, snapshot
from tests.support.tries import EMPTY, Counts, Tries

ALL_CAUSES = frozenset(("connect", "busy", "reset", "timeout"))
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n"


class Timers:
    """Takes the place of `call_later`: remembers what was asked for, and lets it happen at once or never."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, ring: bool) -> None:
        loop = asyncio.get_running_loop()
        self.seconds: list[float] = []
        self.handles: list[asyncio.TimerHandle] = []
        original = loop.call_later

        def call_later(delay: float, *arguments: Any) -> asyncio.TimerHandle:
            self.seconds.append(delay)
            self.handles.append(original(0 if ring else 1000, *arguments))
            return self.handles[-1]

        fake = SimpleNamespace(call_later=call_later)
        monkeypatch.setattr(alarm_module, "asyncio", SimpleNamespace(get_running_loop=lambda: fake))


# one attempt


def test_what_an_attempt_changes_stays_with_the_attempt() -> None:
    x = exchange(fields=b"host: a\r\nx-a: 1\r\n")
    endpoint = FakeEndpoint()

    def attempt() -> Attempt:
        return Attempt(x, fake_service(endpoint), cast("Any", endpoint))

    first = attempt()
    assert first._headers is None  # so nothing has to be rendered anew
    first.headers.set("x-a", "2")
    assert first._headers is first.headers
    assert attempt().headers["x-a"] == "1"
    x.request.headers.set("x-b", "3")
    third = attempt()
    third.headers.remove("x-b")
    assert x.request.headers["x-b"] == "3"
    assert x.fields.visible == ((b"host", b"a"), (b"x-a", b"1"))


def test_an_attempt_counts_until_it_is_ended_and_is_ended_once() -> None:
    endpoint = FakeEndpoint()
    made = Attempt(exchange(), fake_service(endpoint), cast("Any", endpoint))
    assert endpoint.vitals.inflight == 1
    made.settle()
    made.settle()
    made.blame(GatewayError("attempt.closed"))
    assert endpoint.vitals.inflight == 0


async def test_what_an_endpoint_takes_is_counted_from_when_the_request_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, attempt_module, ask_module)
    endpoint, upstream = FakeEndpoint(), FakeUpstream()
    x = exchange(snapshot(endpoint=endpoint), client=FakeClient())
    x.start(forward(x))
    clock.now += 5.0  # it waits for a connection
    endpoint.pool.leases[0].upstream = cast("Any", upstream)
    x.notify()
    clock.now += 0.25
    upstream.answer(EMPTY)
    assert endpoint.vitals.ewma == 0.25


# what is tried again


@pytest.mark.parametrize(("method", "again"), [(b"GET", True), (b"HEAD", True), (b"PUT", True), (b"DELETE", True),
                                               (b"OPTIONS", True), (b"POST", False), (b"PATCH", False)])  # fmt: skip
async def test_rfc9110_9_2_2_what_was_sent_is_sent_again_only_if_it_is_idempotent(method: bytes, again: bool) -> None:
    tries = await Tries(method=method).start()
    await tries.fail(0)
    assert tries.asked == [True, again, False]
    if again:
        await tries.answer(1)
        assert tries.status == 200
    else:
        assert (tries.status, tries.code) == (502, "attempt.closed")
    tries.ended()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_what_was_never_sent_is_tried_elsewhere_whatever_the_method(method: bytes) -> None:
    tries = Tries(method=method)
    tries.endpoints[0].pool.refusal = GatewayError("connect.refused")
    await tries.start()
    assert tries.asked == [False, True, False]
    await tries.answer(1)
    assert tries.status == 200
    tries.ended()


async def test_a_post_that_was_sent_at_last_is_not_sent_again() -> None:
    tries = Tries(method=b"POST")
    tries.endpoints[0].pool.refusal = GatewayError("connect.refused")
    await tries.start()
    await tries.fail(1)
    assert tries.asked == [False, True, False]
    assert tries.code == "attempt.closed"
    tries.ended()


@pytest.mark.parametrize(
    "code", [code for code, failure in FAILURES.items() if failure.cause and code.split(".")[0] in ("attempt", "head")]
)
@pytest.mark.parametrize("on", [frozenset[str](), ALL_CAUSES])
async def test_only_causes_that_are_asked_for_are_mended(code: str, on: frozenset[str]) -> None:
    tries = await Tries(retry=RetrySettings(on=on)).start()
    await tries.fail(0, code)
    assert tries.asked == [True, FAILURES[code].cause in on, False]
    if tries.asked[1]:
        await tries.answer(1)
    else:
        assert tries.code == code
    tries.ended()


@pytest.mark.parametrize("code", ["connect.dns", "connect.tls", "connect.timeout", "choose.queue_full"])
@pytest.mark.parametrize("on", [frozenset[str](), ALL_CAUSES])
async def test_the_causes_of_no_connection(code: str, on: frozenset[str]) -> None:
    tries = Tries(retry=RetrySettings(on=on))
    tries.endpoints[0].pool.refusal = GatewayError(code)
    await tries.start()
    assert tries.asked == [False, bool(on), False]
    if on:
        await tries.answer(1)
    tries.ended()


async def test_an_answer_is_passed_on_unless_its_status_is_to_be_tried_again() -> None:
    tries = await Tries().start()
    await tries.answer(0, BAD)
    assert (tries.status, tries.asked) == (503, [True, False, False])
    tries.ended()
    tries = await Tries(retry=RetrySettings(statuses=frozenset((503,)))).start()
    await tries.answer(0, BAD)
    assert (tries.status, tries.asked) == (0, [True, True, False])
    await tries.answer(1)
    assert tries.status == 200
    tries.ended()


async def test_the_answer_of_a_post_is_passed_on_whatever_its_status() -> None:
    tries = await Tries(method=b"POST", retry=RetrySettings(statuses=frozenset((503,)))).start()
    await tries.answer(0, BAD)
    assert (tries.status, tries.asked) == (503, [True, False, False])
    tries.ended()


# bounds


async def test_there_are_so_many_tries_and_the_last_failure_counts() -> None:
    tries = await Tries(endpoints=4, retry=RetrySettings(attempts=3, on=ALL_CAUSES)).start()
    await tries.fail(0)
    await tries.fail(1)
    await tries.fail(2, "head.timeout")
    assert tries.asked == [True, True, True, False]
    assert (tries.status, tries.code) == (504, "head.timeout")
    tries.ended()


async def test_the_last_answer_counts() -> None:
    tries = await Tries(endpoints=2, retry=RetrySettings(statuses=frozenset((500, 503)))).start()
    await tries.answer(0, BAD)
    await tries.answer(1, b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n")
    assert (tries.client.heads[0][0], tries.client.reasons) == (500, [b"Oops"])
    tries.ended()


async def test_each_try_goes_to_another_endpoint_and_none_is_asked_twice() -> None:
    tries = await Tries(endpoints=2, retry=RetrySettings(attempts=9)).start()
    await tries.fail(0)
    await tries.fail(1)
    assert tries.code == "attempt.closed"
    assert tries.x.attempts == 2
    tries.ended()


async def test_the_same_endpoint_is_asked_again_only_if_that_is_allowed() -> None:
    for allowed in (False, True):
        tries = Tries(endpoints=1, retry=RetrySettings(same_endpoint=allowed))
        second = FakeUpstream()
        tries.endpoints[0].pool.new.append(second)
        await tries.start()
        await tries.fail(0)
        assert bool(second.sent) is allowed
        second.answer(EMPTY)
        assert tries.status == (200 if allowed else 502)
        tries.ended()


@pytest.mark.parametrize(("after", "waits"), [(b"1", True), (b"3", False), (b"Fri, 31 Dec 1999 23:59:59 GMT", True)])
async def test_retry_after_of_the_only_endpoint_is_waited_for_if_it_is_not_too_long(
    after: bytes, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry = RetrySettings(same_endpoint=True, statuses=frozenset((503,)), backoff_max=2.0)
    tries = Tries(endpoints=1, retry=retry)
    tries.endpoints[0].pool.new.append(FakeUpstream())
    await tries.start()
    timers = Timers(monkeypatch, ring=True)
    await tries.answer(0, BAD + b"retry-after: %b\r\n" % after)
    assert timers.seconds == ([1.0] if after == b"1" else [])
    assert tries.status == (0 if waits else 503)
    tries.x.fail(GatewayError("relay.client_gone"))


async def test_retry_after_does_not_hold_for_another_endpoint() -> None:
    tries = await Tries(retry=RetrySettings(statuses=frozenset((503,)))).start()
    await tries.answer(0, BAD + b"retry-after: 3600\r\n")
    assert tries.asked == [True, True, False]
    tries.x.fail(GatewayError("relay.client_gone"))


async def test_a_budget_bounds_the_retries_of_all_exchanges_together() -> None:
    settings: dict[str, Any] = {"budget": (0.0, 0.2)}  # two in ten seconds
    tries = Tries(endpoints=4, retry=RetrySettings(attempts=9), settings=settings)
    await tries.start()
    for number in range(3):
        await tries.fail(number)
    assert tries.asked == [True, True, True, False]
    assert tries.code == "attempt.closed"
    tries.ended()


async def test_what_is_not_tried_again_costs_no_budget() -> None:
    tries = await Tries(method=b"POST", settings={"budget": (0.0, 0.1)}).start()
    await tries.fail(0)
    assert tries.service.budget.withdraw(exchange_module.monotonic())


async def test_no_try_begins_that_the_total_time_would_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, again in ((0.4, False), (0.6, True)):
        clock = Clock(monkeypatch, attempt_module, ask_module, retry_module, exchange_module, timed_module)
        tries = Tries(retry=RetrySettings(backoff=0.5, backoff_max=0.5))
        tries.service.random = lambda: 0.999999
        tries.x.set_timeouts(total=seconds)
        await tries.start()
        await tries.fail(0)
        assert tries.x.finished is not again
        assert (tries.status == 502) is not again
        clock.now += 1
        tries.x.check(clock.now)  # the total time passes during the wait
        await settle()
        assert tries.asked == [True, False, False]
        if again:
            assert tries.code == "attempt.total_timeout"
        tries.ended()


async def test_the_time_for_each_try_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, attempt_module, ask_module, retry_module, exchange_module, timed_module)
    tries = Tries(retry=RetrySettings(on=ALL_CAUSES, per_try=2.0))
    await tries.start()
    clock.now += 1.9
    tries.x.check(clock.now)
    assert tries.asked == [True, False, False]
    clock.now += 0.2
    tries.x.check(clock.now)
    await settle()
    assert tries.asked == [True, True, False]
    clock.now += 1.9
    tries.x.check(clock.now)
    assert tries.asked == [True, True, False]
    await tries.answer(1)
    assert tries.status == 200
    tries.ended()


async def test_the_time_for_a_try_never_exceeds_that_of_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, attempt_module, ask_module, retry_module, exchange_module, timed_module)
    tries = Tries(retry=RetrySettings(per_try=2.0))
    tries.x.set_timeouts(response=1.0)
    await tries.start()
    assert tries.x.deadline == clock.now + 1.0
    await tries.answer(0)


async def test_an_endpoint_that_a_policy_chose_is_the_only_one() -> None:
    class Chooses:
        def on_request(self, x: Exchange) -> None:
            x.choose("http://10.0.0.1:1")

    tries = await Tries(Chooses(), retry=RetrySettings(same_endpoint=True)).start()
    assert tries.asked == [False, True, False]
    await tries.fail(1)
    assert tries.asked == [False, True, False]
    assert tries.code == "attempt.closed"
    tries.ended()


async def test_the_routes_settings_stand_before_the_services() -> None:
    tries = await Tries(retry=RetrySettings(attempts=1), route={"retry": RetrySettings(attempts=2)}).start()
    await tries.fail(0)
    await tries.fail(1)
    assert tries.asked == [True, True, False]


# the client, meanwhile


async def test_a_client_that_goes_away_during_the_wait_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = await Tries().start()
    tries.service.random = lambda: 1.0
    timers = Timers(monkeypatch, ring=False)
    await tries.fail(0)
    assert not tries.x.finished
    tries.x.fail(GatewayError("relay.client_gone"))
    assert tries.asked == [True, False, False]
    assert tries.client.heads == []
    assert [handle.cancelled() for handle in timers.handles] == [True]
    tries.ended()


async def test_the_wait_grows_and_is_drawn_by_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = Tries(endpoints=5, retry=RetrySettings(attempts=9, backoff=1.0, backoff_max=3.0))
    tries.service.random = lambda: 0.5
    await tries.start()
    timers = Timers(monkeypatch, ring=True)
    for number in range(4):
        await tries.fail(number)
    assert timers.seconds == [0.5, 1.0, 1.5, 1.5]
    tries.x.fail(GatewayError("relay.client_gone"))


async def test_a_client_that_goes_away_is_nobodys_fault() -> None:
    passive = PassiveHealth(ejection=EjectionSettings(consecutive=1), share=1.0)
    tries = await Tries(settings={"passive": passive}).start()
    tries.x.fail(GatewayError("relay.client_gone"))
    assert tries.endpoints[0].vitals.ejection.until == 0
    tries.ended()


# what is learned


async def test_endpoints_learn_of_every_try() -> None:
    passive = PassiveHealth(ejection=EjectionSettings(consecutive=1), statuses=frozenset((503,)), share=1.0)
    breaker = BreakerUse(settings=BreakerSettings(consecutive=9), endpoints=False, service=True)
    retry = RetrySettings(statuses=frozenset((503,)))
    tries = await Tries(retry=retry, settings={"passive": passive, "breaker": breaker}).start()
    await tries.fail(0)
    await tries.answer(1, BAD)
    await tries.answer(2)
    assert [bool(endpoint.vitals.ejection.until) for endpoint in tries.endpoints] == [True, True, False]
    assert tries.endpoints[2].vitals.ewma is not None
    tries.ended()


async def test_an_endpoint_that_breaks_off_its_answer_is_blamed() -> None:
    passive = PassiveHealth(ejection=EjectionSettings(consecutive=1), share=1.0)
    tries = await Tries(settings={"passive": passive}).start()
    tries.upstreams[0].begin_answer(OK + b"content-length: 9\r\n", b"half")
    tries.upstreams[0].fail("relay.truncated")
    assert tries.endpoints[0].vitals.ejection.until > 0
    assert tries.asked == [True, False, False]
    tries.ended()


@pytest.mark.parametrize(("status", "body", "blamed"), [(413, b"x", 0), (413, None, 1), (200, b"x", 1), (500, b"x", 1)])
async def test_a_refusal_that_is_cut_off_by_the_unread_upload_is_not_the_endpoints_failure(
    status: int, body: bytes | None, blamed: int
) -> None:
    tries = Tries(settings=STRICT, method=b"POST")
    tries.x.body = body
    await tries.start()
    tries.upstreams[0].begin_answer(b"HTTP/1.1 %d x\r\ncontent-length: 9\r\n" % status, b"half")
    tries.upstreams[0].fail("relay.truncated")
    assert tries.endpoints[0].vitals.ejection.times == blamed
    tries.ended()


STRICT: dict[str, Any] = {"passive": PassiveHealth(ejection=EjectionSettings(consecutive=1), share=1.0)}


@pytest.mark.parametrize(("ended", "stalled", "blamed"), [(False, False, 0), (False, True, 1), (True, False, 1)])
async def test_who_is_blamed_when_all_time_is_over(ended: bool, stalled: bool, blamed: int) -> None:
    tries = Tries(settings=STRICT, method=b"PUT")
    tries.x.body = body = Body(tries.source, 3)
    body.feed(b"ab")
    await tries.start()
    if ended:
        body.feed(b"c")
        body.end([])
    tries.upstreams[0].stalled = stalled
    tries.x.fail(GatewayError("attempt.total_timeout"))
    await settle()
    assert tries.status == 504
    assert tries.endpoints[0].vitals.ejection.times == blamed  # a slow client puts nobody aside
    tries.ended()


async def test_nobody_is_blamed_for_a_policy_that_takes_all_the_time() -> None:
    class Slow:
        async def on_attempt(self, *_: object) -> None:
            await never()

    tries = await Tries(Slow(), settings=STRICT).start()
    tries.x.fail(GatewayError("attempt.total_timeout"))
    await settle()
    assert tries.status == 504
    assert tries.endpoints[0].vitals.ejection.times == 0


# policies


async def test_on_attempt_runs_for_each_try_and_its_changes_are_of_that_try_alone() -> None:
    seen: list[tuple[str, int, str | None]] = []

    class Signs:
        def on_attempt(self, x: Exchange, attempt: Attempt) -> None:
            seen.append((attempt.endpoint.url, attempt.number, attempt.headers.get("x-signed")))
            attempt.headers.set("x-signed", str(attempt.number))

    tries = await Tries(Signs()).start()
    await tries.fail(0)
    await tries.answer(1)
    assert seen == [("http://10.0.0.0:1", 1, None), ("http://10.0.0.1:1", 2, None)]
    assert b"x-signed: 1\r\n" in tries.upstreams[0].block
    assert b"x-signed: 2\r\n" in tries.upstreams[1].block
    assert b"x-signed: 1" not in tries.upstreams[1].block
    tries.ended()


async def test_a_replaced_connection_begins_with_fresh_headers_too() -> None:
    class Adds:
        def on_attempt(self, x: Exchange, attempt: Attempt) -> None:
            attempt.headers.add("x-n", str(attempt.number))

    tries = Tries(Adds())
    tries.endpoints[0].pool.kept.append(kept := FakeUpstream(fresh=False))
    await tries.start()
    kept.fail("attempt.closed")
    assert b"x-n: 1\r\n" in kept.block
    assert b"x-n: 2\r\n" in tries.upstreams[0].block
    assert b"x-n: 1\r\n" not in tries.upstreams[0].block


async def test_what_a_policy_of_a_try_still_does_is_cancelled_when_the_exchange_ends() -> None:
    ended: list[str] = []

    class Slow:
        async def on_attempt(self, *_: object) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("cancelled")

    tries = await Tries(Slow()).start()
    tries.x.fail(GatewayError("relay.client_gone"))
    await settle()
    assert ended == ["cancelled"]
    assert tries.upstreams[0].finished == 1
    assert tries.endpoints[0].vitals.inflight == 0


async def test_an_attempt_goes_on_whenever_it_is_stepped_and_only_as_far_as_it_can() -> None:
    endpoint, upstream = FakeEndpoint(), FakeUpstream()
    x = exchange(snapshot(endpoint=endpoint))
    made = Attempt(x, fake_service(endpoint), cast("Any", endpoint))
    assert [made.advance(), made.advance()] == [False, False]
    assert len(endpoint.pool.leases) == 1  # one claim, however often it is asked
    endpoint.pool.leases[0].upstream = upstream
    assert not made.advance()
    assert (len(upstream.sent), made.number) == (1, 1)
    assert not made.advance()
    upstream.exchange = None  # it is not the exchange that steps it here
    upstream.answer(EMPTY)
    assert made.advance()
    assert len(upstream.sent) == 1
    made.settle()
    assert (made.upstream, upstream.finished, endpoint.vitals.inflight) == (None, 1, 0)


async def test_on_attempt_that_fails_is_not_tried_again_and_nobody_is_blamed() -> None:
    class Fails:
        def on_attempt(self, *_: object) -> None:
            raise OSError

    passive = PassiveHealth(ejection=EjectionSettings(consecutive=1), share=1.0)
    tries = await Tries(Fails(), retry=RetrySettings(on=ALL_CAUSES), settings={"passive": passive}).start()
    assert (tries.asked, tries.code) == ([False, False, False], "request.policy_failed")
    assert tries.endpoints[0].vitals.ejection.until == 0
    assert [endpoint.vitals.inflight for endpoint in tries.endpoints] == [0, 0, 0]


@pytest.mark.parametrize("under_way", [False, True])
async def test_on_request_chunk_never_sees_a_body_twice(under_way: bool) -> None:
    policy = Counts()
    tries = Tries(policy, method=b"PUT", fields=b"host: a\r\ncontent-length: 3\r\n")
    tries.x.body = Body(tries.source, 3) if under_way else b"abc"
    await tries.start()
    if under_way:
        assert isinstance(tries.x.body, Body)
        tries.x.body.feed(b"abc")
        tries.x.body.end([])
    await tries.fail(0)
    assert (policy.seen, tries.asked) == (b"abc", [True, False, False])
    assert tries.code == "attempt.closed"
    tries.ended()


async def test_a_body_that_no_hook_saw_yet_goes_elsewhere() -> None:
    policy = Counts()
    tries = Tries(policy, method=b"PUT", fields=b"host: a\r\ncontent-length: 3\r\n")
    tries.endpoints[0].pool.refusal = GatewayError("connect.refused")
    tries.x.body = b"abc"
    await tries.start()
    assert (policy.seen, tries.asked) == (b"abc", [False, True, False])
    await tries.answer(1)
    tries.ended()


# bodies


def putting(length: int = 4, **keys: Any) -> tuple[Tries, Body]:
    """A PUT whose body is under way."""
    tries = Tries(method=b"PUT", fields=b"host: a\r\ncontent-length: %d\r\n" % length, **keys)
    body = tries.x.body = Body(tries.source, length)
    return tries, body


async def test_a_whole_body_is_sent_again() -> None:
    tries = Tries(method=b"PUT")
    tries.x.body = b"abc"
    await tries.start()
    await tries.fail(0)
    assert tries.upstreams[1].sent[0][-1] == b"abc"
    await tries.answer(1)
    tries.ended()


async def test_a_body_under_way_is_sent_again_from_its_beginning_and_goes_on() -> None:
    tries, body = putting()
    await tries.start()
    body.feed(b"ab")
    await tries.fail(0)
    assert tries.upstreams[1].request_body == b"ab"
    body.feed(b"cd")
    body.end([])
    assert tries.upstreams[0].request_body == b"ab"
    assert tries.upstreams[1].request_body == b"abcd"
    await tries.answer(1)
    assert tries.status == 200
    tries.ended()


async def test_a_body_larger_than_the_buffer_is_sent_once() -> None:
    tries, body = putting(retry=RetrySettings(body_buffer=3))
    await tries.start()
    body.feed(b"ab")
    body.feed(b"cd")
    await tries.fail(0)
    assert (tries.asked, tries.code) == ([True, False, False], "attempt.closed")
    tries.ended()


async def test_what_arrives_between_two_tries_is_not_lost_though_it_is_too_large() -> None:
    """The client is held; what it had sent already comes nevertheless."""
    tries, body = putting(6, retry=RetrySettings(body_buffer=3, backoff=0.001))
    tries.endpoints[1].pool.new.clear()
    await tries.start()
    body.feed(b"ab")
    await tries.fail(0)
    (lease,) = tries.endpoints[1].pool.leases
    assert tries.source.paused
    body.feed(b"cdef")
    lease.upstream = cast("Any", tries.upstreams[1])
    tries.x.notify()
    assert not tries.source.paused
    assert tries.upstreams[1].request_body == b"abcdef"
    await tries.fail(1)
    assert tries.code == "attempt.closed"  # now it was too large
    tries.ended()


async def test_the_same_holds_where_only_the_connection_is_replaced() -> None:
    tries, body = putting(6, endpoints=2, retry=RetrySettings(body_buffer=3))
    kept = FakeUpstream(fresh=False)
    tries.endpoints[0].pool.kept.append(kept)
    tries.endpoints[0].pool.new.clear()
    await tries.start()
    body.feed(b"ab")
    kept.fail("attempt.closed")
    (lease,) = tries.endpoints[0].pool.leases
    assert tries.source.paused
    body.feed(b"cdef")
    assert kept.request_body == b"ab"
    lease.upstream = cast("Any", tries.upstreams[0])
    tries.x.notify()
    assert tries.upstreams[0].request_body == b"abcdef"
    assert not tries.source.paused
    await tries.answer(0)
    assert tries.status == 200


async def test_a_post_under_way_that_was_never_sent_goes_elsewhere_whole() -> None:
    tries, body = putting()
    tries.x.method = b"POST"
    tries.endpoints[0].pool.refusal = GatewayError("connect.refused")
    body.feed(b"ab")
    await tries.start()
    body.feed(b"cd")
    body.end([])
    assert tries.upstreams[1].request_body == b"abcd"
    await tries.answer(1)
    tries.ended()


async def test_an_answer_before_the_bodys_end_may_be_tried_again() -> None:
    tries, body = putting(retry=RetrySettings(statuses=frozenset((503,))))
    await tries.start()
    body.feed(b"ab")
    await tries.answer(0, BAD)
    body.feed(b"cd")
    body.end([])
    assert tries.upstreams[1].request_body == b"abcd"
    await tries.answer(1)
    assert tries.status == 200
    tries.ended()


# behind it


async def test_no_deadline_of_an_attempt_is_left_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, attempt_module, ask_module, retry_module, exchange_module, timed_module)
    tries = Tries(retry=RetrySettings(per_try=1.0))
    tries.x.set_timeouts(total=5.0)
    await tries.start()
    tries.upstreams[0].begin_answer(OK + b"content-length: 2\r\n", b"o")
    assert tries.x.total_deadline == inf
    tries.x.fail(GatewayError("relay.client_gone"))
    tries.ended()


@pytest.mark.parametrize("code", ["connect.refused", "connect.timeout", "choose.queue_full"])
async def test_nobody_waits_where_no_endpoint_has_seen_anything(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = await Tries().start()
    tries.service.random = lambda: 1.0
    timers = Timers(monkeypatch, ring=False)
    await tries.fail(0, code)
    assert (tries.asked, timers.seconds) == ([True, True, False], [])
    await tries.fail(1)
    assert timers.seconds == [0.05]  # of twice the first backoff


# what a balancing algorithm adds to the answer


@pytest.mark.parametrize(("probes", "cookies"), [(False, 1), (True, 0)])
async def test_a_client_whose_request_is_a_probe_is_not_told_to_stay_there(probes: bool, cookies: int) -> None:
    tries = Tries(settings={"breaker": BreakerUse(settings=BreakerSettings(consecutive=1, open=0.001))})
    breaker = tries.endpoints[0].breaker = Breaker(BreakerSettings(consecutive=1, open=0.001), lambda: 0.5)
    adds = lambda x, endpoint: b"set-cookie: stay=%s\r\n" % endpoint.url.encode()  # noqa: E731
    tries.service.affinity = Affinity(SimpleNamespace(fields=adds))
    if probes:
        breaker.end(False, True, 0.0, 0.0)  # long ago
        tries.service.circuit_switched(cast("Any", tries.endpoints[0]), breaker, 0.0)
        tries.service.sweep(1.0)
    await tries.start()
    assert tries.asked == [True, False, False]
    await tries.answer(0)
    assert tries.client.heads[0][1].count(b"set-cookie") == cookies
    assert breaker.state == "closed"
    tries.ended()


# what is seen of it afterwards


async def test_every_try_is_told_in_order_with_its_outcome_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, attempt_module, ask_module, retry_module, exchange_module, timed_module)
    seen: list[tuple[str, int, int | str, float]] = []

    class Tells:
        def on_done(self, x: Exchange) -> None:
            seen.extend((made.endpoint.url, made.number, made.outcome, made.head_at) for made in x.tries)

    tries = Tries(Tells())
    tries.endpoints[0].pool.refusal = GatewayError("connect.refused")
    await tries.start()
    await tries.fail(1)
    clock.now += 0.5
    await tries.answer(2)
    assert seen == [
        ("http://10.0.0.0:1", 0, "connect.refused", 0.0),
        ("http://10.0.0.1:1", 1, "attempt.closed", 0.0),
        ("http://10.0.0.2:1", 2, 200, clock.now),
    ]
    tries.ended()


async def test_what_is_kept_of_tries_holds_no_exchange_back() -> None:
    tries = await Tries().start()
    await tries.fail(0)
    await tries.answer(1)
    assert len(tries.x.tries) == 2
    assert not any(each is tries.x for made in tries.x.tries for each in gc.get_referents(made))


async def test_fields_for_one_endpoint_alone_go_to_no_other() -> None:
    class Signs:
        def on_attempt(self, x: Exchange, attempt: Attempt) -> None:
            if attempt.number == 1:
                attempt.extra = b"x-signed: yes\r\n"

    tries = await Tries(Signs()).start()
    await tries.fail(0)
    await tries.answer(1)
    assert [b"x-signed: yes\r\n" in upstream.block for upstream in tries.upstreams[:2]] == [True, False]
    tries.ended()


def test_headers_of_a_try_that_is_over_are_those_that_a_policy_looked_at() -> None:
    endpoint = FakeEndpoint()
    looked, other = (Attempt(exchange(), fake_service(endpoint), cast("Any", endpoint)) for _ in range(2))
    looked.headers.set("x-a", "1")
    for made in (looked, other):
        made.settle()
    assert looked.headers["x-a"] == "1"
    with pytest.raises(RuntimeError, match="over"):
        _ = other.headers
