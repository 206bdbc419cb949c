"""Hedging: a second endpoint is asked when the first is slow, one answer is passed on, nothing is left of the other."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest

from propylon.engine.attempt import Attempt
from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.pipeline import PolicyUse, compile_pipeline
from propylon.engine.retry import RetrySettings
from propylon.services.settings import Concurrency, Hedging
from tests.support.deadline import settle
from tests.support.fakes import OK, FakeClient, FakeEndpoint, FakeUpstream, exchange, fake_service, snapshot

EMPTY = OK + b"content-length: 0\r\n"
AT_ONCE = Hedging(0.0)
LATER = Hedging(60.0)
NO_RETRIES = RetrySettings(attempts=1)


class Race:
    """An exchange whose service has endpoints with one connection each; the first is asked, perhaps the second too."""

    def __init__(self, *policies: object, hedging: Hedging = AT_ONCE, count: int = 2, **keys: Any) -> None:
        self.upstreams = [FakeUpstream() for _ in range(count)]
        self.endpoints = [FakeEndpoint(upstream) for upstream in self.upstreams]
        for number, endpoint in enumerate(self.endpoints):
            endpoint.url = f"http://10.0.0.{number}:1"
        settings = {"retry": NO_RETRIES, "hedging": hedging, **keys.pop("settings", {})}
        self.service = fake_service(*self.endpoints, **settings)
        uses = [PolicyUse("p", policy) for policy in policies]
        self.client = FakeClient()
        made = snapshot(route={"service": self.service, "pipeline": compile_pipeline(uses)})
        self.x = exchange(made, client=self.client, **keys)

    async def start(self) -> Race:
        self.x.start(forward(self.x))
        await settle(5)
        return self

    @property
    def asked(self) -> list[int]:
        """How often each endpoint was asked."""
        return [len(upstream.sent) for upstream in self.upstreams]

    @property
    def inflight(self) -> list[int]:
        return [endpoint.vitals.inflight for endpoint in self.endpoints]

    @property
    def status(self) -> int:
        return self.x.status


@pytest.mark.parametrize("winner", [0, 1])
async def test_the_first_answer_wins_and_the_other_request_is_cancelled(winner: int) -> None:
    race = await Race().start()
    assert race.asked == [1, 1]
    assert race.inflight == [1, 1]
    race.upstreams[winner].answer(EMPTY)
    await settle()
    assert race.status == 200
    assert race.x.endpoint is race.endpoints[winner]  # type: ignore[comparison-overlap]
    assert race.upstreams[1 - winner].finished == 1
    assert race.inflight == [0, 0]
    assert race.x.finished


async def test_nobody_else_is_asked_while_the_first_may_still_be_quick() -> None:
    race = await Race(hedging=LATER).start()
    assert race.asked == [1, 0]
    race.upstreams[0].answer(EMPTY)
    await settle()
    assert (race.status, race.asked) == (200, [1, 0])


async def test_that_the_loser_took_so_long_is_remembered() -> None:
    race = await Race().start()
    race.upstreams[1].answer(EMPTY)
    await settle()
    assert race.endpoints[0].vitals.ewma is not None


@pytest.mark.parametrize("first", [0, 1])
async def test_the_other_may_still_answer_when_one_fails(first: int) -> None:
    race = await Race().start()
    race.upstreams[first].fail("attempt.closed")
    await settle()
    assert race.status == 0
    race.upstreams[1 - first].answer(EMPTY)
    await settle()
    assert race.status == 200
    assert race.inflight == [0, 0]


async def test_the_failure_of_the_first_is_told_when_both_fail() -> None:
    race = await Race().start()
    race.upstreams[1].fail("head.bad")
    race.upstreams[0].fail("attempt.closed")
    await settle()
    assert race.x.error is not None
    assert race.x.error.code == "attempt.closed"
    assert race.inflight == [0, 0]


async def test_a_third_endpoint_is_tried_when_both_fail_and_retries_are_allowed() -> None:
    race = await Race(count=3, settings={"retry": RetrySettings(attempts=3, backoff=0.0)}).start()
    race.upstreams[0].fail("attempt.closed")
    race.upstreams[1].fail("attempt.closed")
    await settle(5)
    assert race.asked == [1, 1, 1]
    race.upstreams[2].answer(EMPTY)
    await settle()
    assert race.status == 200


async def test_nothing_is_left_when_the_client_goes_away() -> None:
    race = await Race().start()
    race.x.fail(GatewayError("relay.client_gone"))
    await settle()
    assert race.x.finished
    assert [upstream.finished for upstream in race.upstreams] == [1, 1]
    assert race.inflight == [0, 0]


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    race = Race(hedging=LATER)
    kept = FakeUpstream()
    kept.fresh = False
    race.endpoints[0].pool.kept.append(kept)
    await race.start()
    kept.fail("attempt.closed")
    await settle()
    assert race.asked == [1, 0]
    race.upstreams[0].answer(EMPTY)
    await settle()
    assert race.status == 200


@pytest.mark.parametrize(
    "keys",
    [
        {"method": b"POST"},
        {"settings": {"budget": (0.0, 0.0)}},
        {"count": 1},
    ],
    ids=["not idempotent", "no budget", "nobody else"],
)
async def test_what_may_not_be_sent_twice_is_sent_once(keys: dict[str, Any]) -> None:
    race = await Race(**keys).start()
    assert race.asked == [1] + [0] * (len(race.upstreams) - 1)


async def test_a_body_under_way_is_sent_once() -> None:
    race = Race(method=b"PUT")
    race.x.body = Body(FakeUpstream(), 3)
    await race.start()
    assert race.asked[1] == 0


async def test_each_request_passes_the_attempt_policies() -> None:
    seen: list[str] = []

    class Policy:
        def on_attempt(self, x: Any, attempt: Any) -> None:
            seen.append(attempt.endpoint.url)
            attempt.headers.set("x-to", attempt.endpoint.url)

    race = await Race(Policy()).start()
    assert seen == ["http://10.0.0.0:1", "http://10.0.0.1:1"]
    for number, upstream in enumerate(race.upstreams):
        assert upstream.block.count(b"x-to: http://10.0.0.%d:1\r\n" % number) == 1


async def test_the_delay_is_what_nearly_all_answers_take_once_that_is_known() -> None:
    race = await Race(hedging=Hedging()).start()
    assert race.asked == [1, 0]
    latencies = race.service.hedge_delay.latencies
    for _ in range(50):
        latencies.add(0.0001)
    again = Race(hedging=Hedging())
    again.service.hedge_delay = race.service.hedge_delay
    await again.start()
    for _ in range(50):
        await settle()
        if again.asked == [1, 1]:
            break
    assert again.asked == [1, 1]


class SlowSecond:
    """A policy that takes its time over the second endpoint, and fails if told so."""

    def __init__(self, *, fails: bool = False) -> None:
        self.go = asyncio.Event()
        self.fails = fails
        self.cancelled = False

    async def on_attempt(self, x: Any, attempt: Any) -> None:
        if attempt.endpoint.url.endswith("1:1"):
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            if self.fails:
                raise ValueError("no")


async def test_a_policy_that_is_slow_over_the_second_request_does_not_keep_the_first_answer() -> None:
    policy = SlowSecond()
    race = await Race(policy).start()
    assert race.asked == [1, 0]
    race.upstreams[0].answer(EMPTY)
    await settle(5)
    assert (race.status, race.x.finished, policy.cancelled) == (200, True, True)
    assert race.inflight == [0, 0]


async def test_a_client_that_goes_away_ends_both_even_while_a_policy_of_the_second_works() -> None:
    policy = SlowSecond()
    race = await Race(policy).start()
    race.x.fail(GatewayError("relay.client_gone"))
    await settle(5)
    assert (race.x.finished, policy.cancelled) == (True, True)
    assert race.x.error is not None
    assert race.x.error.code == "relay.client_gone"
    assert race.upstreams[0].finished == 1
    assert race.inflight == [0, 0]


async def test_the_first_request_keeps_its_deadline_when_a_policy_of_the_second_fails() -> None:
    policy = SlowSecond(fails=True)
    race = await Race(policy, settings={"retry": RetrySettings(attempts=1, per_try=30.0)}).start()
    policy.go.set()
    await settle(5)
    assert race.status == 0
    assert race.x.deadline < inf


@pytest.mark.parametrize("code", ["head.timeout", "attempt.total_timeout"])
async def test_endpoints_that_do_not_answer_in_time_are_blamed(code: str) -> None:
    race = await Race().start()
    race.x.fail(GatewayError(code))
    await settle()
    assert race.status == 504
    assert [endpoint.vitals.ejection.row for endpoint in race.endpoints] == [1, 1]
    assert race.inflight == [0, 0]


async def test_an_answer_that_is_not_good_enough_does_not_win_over_one_that_may_come() -> None:
    race = await Race(settings={"retry": RetrySettings(attempts=1, statuses=frozenset((503,)))}).start()
    race.upstreams[1].answer(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n")
    await settle()
    assert race.status == 0
    assert race.endpoints[1].vitals.ejection.row == 1
    race.upstreams[0].answer(EMPTY)
    await settle()
    assert race.status == 200
    assert race.inflight == [0, 0]


@pytest.mark.parametrize("then", ["answer", "fail"])
async def test_the_last_of_two_answers_counts_when_none_is_good_enough(then: str) -> None:
    race = await Race(settings={"retry": RetrySettings(attempts=1, statuses=frozenset((503,)))}).start()
    race.upstreams[0].answer(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nx-of: 0\r\n")
    await settle()
    if then == "answer":
        race.upstreams[1].answer(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nx-of: 1\r\n")
    else:
        race.upstreams[1].fail("attempt.closed")
    await settle()
    assert race.status == (503 if then == "answer" else 502)
    assert race.inflight == [0, 0]


async def test_nobody_is_asked_twice_because_the_others_are_full() -> None:
    race = Race(settings={"concurrency": Concurrency(per_endpoint=2)})
    race.endpoints[1].vitals.inflight = 2
    await race.start()
    assert race.asked == [1, 0]
    assert race.endpoints[0].vitals.inflight == 1


async def test_what_a_policy_added_for_a_connection_that_was_dead_is_not_sent_twice() -> None:
    class Adds:
        def on_attempt(self, x: Exchange, attempt: Attempt) -> None:
            attempt.headers.add("x-try", "1")

    race = Race(Adds(), hedging=LATER)
    kept = FakeUpstream()
    kept.fresh = False
    race.endpoints[0].pool.kept.append(kept)
    await race.start()
    kept.fail("attempt.closed")
    await settle()
    assert race.upstreams[0].block.count(b"x-try: 1") == 1


@pytest.mark.parametrize("wins", [0, 1])
async def test_of_two_tries_the_one_that_was_taken_is_told_last(wins: int) -> None:
    race = await Race().start()
    race.upstreams[wins].answer(EMPTY)
    assert [(made.endpoint.url[-3], made.outcome) for made in race.x.tries] == [(str(1 - wins), 0), (str(wins), 200)]
