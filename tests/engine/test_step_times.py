"""Times of steps: they add up, whatever happened."""

from __future__ import annotations

import pytest

from propylon.engine import ask, attempt, pipeline, retry, timed
from propylon.engine import exchange as exchange_module
from propylon.engine import step_times as module
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.response import Response
from propylon.engine.retry import RetrySettings
from propylon.engine.step_times import StepTimes
from tests.support.fakes import OK, Clock, FakeEndpoint, FakeUpstream, exchange, fake_service, snapshot


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, ask, attempt, exchange_module, pipeline, retry, module, timed)


class Times:
    """An on_done policy that notes the times."""

    def __init__(self) -> None:
        self.seen: list[StepTimes] = []
        self.elapsed: list[float] = []

    def on_done(self, x: Exchange) -> None:
        self.seen.append(x.step_times)
        self.elapsed.append(x.elapsed)


def test_each_step_has_its_time(clock: Clock) -> None:
    times, upstream = Times(), FakeUpstream()

    def slow(x: Exchange) -> None:
        clock.now += 0.05

    endpoint = FakeEndpoint()
    x = exchange(snapshot(slow, times, endpoint=endpoint))
    x.start(forward(x))
    clock.now += 0.2  # until there is a connection
    endpoint.pool.leases[0].upstream = upstream
    x.notify()
    clock.now += 1
    stream = upstream.begin_answer(OK)
    clock.now += 4
    stream.feed(b"x")
    upstream.end_answer()
    assert times.seen == [pytest.approx((0.05, 0, 0.2, 1, 4))]
    assert times.elapsed == [pytest.approx(5.25)]
    clock.now += 60
    assert x.elapsed == pytest.approx(5.25)


def test_where_the_gateway_answers_itself_all_is_the_request(clock: Clock) -> None:
    times = Times()

    def answers(x: Exchange) -> Response:
        clock.now += 0.03
        return Response(204)

    x = exchange(snapshot(answers, times))
    x.start(forward(x))
    assert times.seen == [pytest.approx((0.03, 0, 0, 0, 0))]


def test_earlier_attempts_are_apart_and_a_failure_has_no_relay(clock: Clock) -> None:
    times, upstreams = Times(), [FakeUpstream(), FakeUpstream()]
    service = fake_service(*map(FakeEndpoint, upstreams), retry=RetrySettings(attempts=2))
    x = exchange(snapshot(times, route={"service": service}))
    x.start(forward(x))
    clock.now += 2
    upstreams[0].fail("attempt.closed")
    clock.now += 3
    upstreams[1].fail("attempt.closed")
    assert times.seen == [pytest.approx((0, 2, 0, 3, 0))]
    assert sum(times.seen[0]) == pytest.approx(times.elapsed[0])
