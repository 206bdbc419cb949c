"""What takes over when a service has no answer, and when it does not."""

from __future__ import annotations

from typing import Any

import pytest

from propylon import Response
from propylon.engine import ask as ask_module
from propylon.engine import attempt as attempt_module
from propylon.engine import exchange as exchange_module
from propylon.engine import retry as retry_module
from propylon.engine import timed as timed_module
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.pipeline import PolicyUse, compile_pipeline
from propylon.engine.retry import RetrySettings
from propylon.engine.snapshot import Fallback
from propylon.failures import FAILURES
from propylon.services.settings import Concurrency
from tests.support.deadline import settle
from tests.support.fakes import Clock, FakeEndpoint, FakeUpstream, fake_service
from tests.support.tries import EMPTY, Counts, Tries

LATER = Fallback(respond=lambda x: Response(200, body="later"))


def falling(fallback: Fallback, **keys: Any) -> Tries:
    """An exchange with one endpoint and a fallback."""
    return Tries(endpoints=1, route={"fallback": fallback}, **keys)


async def test_another_service_takes_over_with_its_own_tries() -> None:
    one, two = FakeUpstream(), FakeUpstream()
    other = fake_service(FakeEndpoint(one), FakeEndpoint(two))
    tries = await falling(Fallback(other)).start()
    await tries.fail(0)
    one.fail("attempt.closed")
    await settle(3)
    two.answer(EMPTY)
    assert tries.status == 200
    assert tries.x.service is other
    tries.ended()


@pytest.mark.parametrize(
    ("method", "body", "falls"),
    [(b"PUT", b"abc", True), (b"POST", b"abc", False), (b"POST", None, False), (b"GET", None, True)],
)
async def test_another_service_gets_only_what_may_be_sent_twice(method: bytes, body: bytes | None, falls: bool) -> None:
    upstream = FakeUpstream()
    tries = falling(Fallback(fake_service(FakeEndpoint(upstream))), method=method)
    tries.x.body = body
    await tries.start()
    await tries.fail(0)
    assert bool(upstream.sent) is falls
    if falls:
        upstream.answer(EMPTY)
    assert tries.status == (200 if falls else 502)
    tries.ended()


async def test_what_was_never_sent_falls_back_whatever_the_method() -> None:
    upstream = FakeUpstream()
    tries = falling(Fallback(fake_service(FakeEndpoint(upstream))), method=b"POST")
    tries.endpoints[0].pool.refusal = GatewayError("connect.refused")
    await tries.start()
    assert upstream.sent
    upstream.answer(EMPTY)
    assert tries.status == 200


async def test_a_fallback_never_lets_a_hook_see_a_body_twice() -> None:
    policy, upstream = Counts(), FakeUpstream()
    pipeline = compile_pipeline([PolicyUse("p", policy)])
    route = {"fallback": Fallback(fake_service(FakeEndpoint(upstream))), "pipeline": pipeline}
    tries = Tries(endpoints=1, route=route, method=b"PUT")
    tries.x.body = b"abc"
    await tries.start()
    await tries.fail(0)
    assert (policy.seen, upstream.sent, tries.code) == (b"abc", [], "attempt.closed")


async def test_a_body_under_way_falls_back_too() -> None:
    upstream = FakeUpstream()
    tries = falling(
        Fallback(fake_service(FakeEndpoint(upstream))), method=b"PUT", fields=b"host: a\r\ncontent-length: 4\r\n"
    )
    body = tries.x.body = Body(tries.source, 4)
    await tries.start()
    body.feed(b"ab")
    await tries.fail(0)
    body.feed(b"cd")
    body.end([])
    assert upstream.request_body == b"abcd"
    upstream.answer(EMPTY)
    assert tries.status == 200
    tries.ended()


async def test_a_failure_that_is_not_the_services_is_told() -> None:
    class Refuses:
        def on_request(self, x: Exchange) -> None:
            raise GatewayError("request.body_too_large")

    upstream = FakeUpstream()
    other = Fallback(fake_service(FakeEndpoint(upstream)))
    tries = await Tries(Refuses(), endpoints=1, route={"fallback": other}).start()
    assert (tries.status, upstream.sent) == (413, [])


async def test_a_client_that_has_gone_gets_no_fallback() -> None:
    upstream = FakeUpstream()
    tries = await falling(Fallback(fake_service(FakeEndpoint(upstream)))).start()
    tries.x.fail(GatewayError("relay.client_gone"))
    assert upstream.sent == []
    tries.ended()


# a response of the gateway's own


@pytest.mark.parametrize(
    "code", [code for code in FAILURES if code.partition(".")[0] in ("attempt", "head") and FAILURES[code].cause]
)
async def test_a_response_takes_over_whatever_befell_the_service(code: str) -> None:
    tries = await falling(LATER, method=b"POST").start()
    await tries.fail(0, code)
    assert (tries.status, tries.client.body) == (200, b"later")
    tries.ended()


@pytest.mark.parametrize("code", ["connect.refused", "connect.dns", "choose.queue_full"])
async def test_it_does_for_a_service_that_is_not_reached(code: str) -> None:
    tries = falling(LATER)
    tries.endpoints[0].pool.refusal = GatewayError(code)
    await tries.start()
    assert (tries.status, tries.client.body) == (200, b"later")
    tries.ended()


async def test_it_does_for_a_service_that_has_no_endpoint() -> None:
    tries = Tries(endpoints=0, route={"fallback": LATER})
    await tries.start()
    assert (tries.status, tries.client.body) == (200, b"later")


async def test_policies_see_the_response_that_took_over() -> None:
    class Marks:
        def on_response(self, x: Exchange) -> None:
            assert x.response is not None
            x.response.headers.set("x-seen", str(x.response.status))

    pipeline = compile_pipeline([PolicyUse("p", Marks())])
    tries = await Tries(endpoints=1, route={"fallback": LATER, "pipeline": pipeline}).start()
    await tries.fail(0)
    assert b"x-seen: 200\r\n" in tries.client.heads[0][1]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_answer_of_the_service_is_no_failure(status: int) -> None:
    tries = await falling(LATER).start()
    await tries.answer(0, b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n" % status)
    assert tries.status == status
    tries.ended()


async def test_what_breaks_off_behind_its_head_is_cut_and_nothing_takes_over() -> None:
    tries = await falling(LATER).start()
    tries.upstreams[0].begin_answer(EMPTY.replace(b"0", b"9"), b"half")
    await tries.fail(0, "relay.truncated")
    assert tries.client.names[-1] == "abort"
    assert len(tries.client.heads) == 1
    tries.ended()


# time


async def test_another_service_has_its_own_time_for_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, attempt_module, ask_module, retry_module, exchange_module, timed_module)
    upstream = FakeUpstream()
    other = Fallback(fake_service(FakeEndpoint(upstream)))
    tries = falling(other, retry=RetrySettings(per_try=0.5))
    tries.x.set_timeouts(response=10.0)
    await tries.start()
    clock.now += 0.6
    tries.x.check(clock.now)
    assert upstream.sent
    assert tries.x.deadline == clock.now + 10.0
    upstream.answer(EMPTY)
    assert tries.status == 200


async def test_no_other_service_is_asked_when_the_total_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, attempt_module, ask_module, retry_module, exchange_module, timed_module)
    upstream = FakeUpstream()
    tries = falling(Fallback(fake_service(FakeEndpoint(upstream))))
    tries.x.set_timeouts(total=1.0)
    await tries.start()
    clock.now += 2.0
    tries.x.check(clock.now)
    assert upstream.sent == []
    assert (tries.status, tries.code) == (504, "attempt.total_timeout")


async def test_the_other_service_chooses_for_itself() -> None:
    class Chooses:
        def on_request(self, x: Exchange) -> None:
            x.choose("http://10.0.0.0:1")

    upstream = FakeUpstream()
    other = Fallback(fake_service(FakeEndpoint(upstream)))
    tries = Tries(Chooses(), endpoints=1, route={"fallback": other})
    await tries.start()
    await tries.fail(0)
    assert upstream.sent
    upstream.answer(EMPTY)
    assert tries.status == 200
    tries.ended()


async def test_who_has_fallen_back_takes_no_place_of_the_service_that_failed() -> None:
    upstream = FakeUpstream()
    fallback = Fallback(fake_service(FakeEndpoint(upstream)))
    tries = await falling(fallback, settings={"concurrency": Concurrency(max=1)}).start()
    assert repr(tries.service.concurrency) == "<ConcurrencyGate <Limiter 1 of 1 waiting=0>>"
    await tries.fail(0)
    assert upstream.sent
    assert repr(tries.service.concurrency) == "<ConcurrencyGate <Limiter 0 of 1 waiting=0>>"
    upstream.answer(EMPTY)
    tries.ended()
    assert repr(tries.service.concurrency) == "<ConcurrencyGate <Limiter 0 of 1 waiting=0>>"
