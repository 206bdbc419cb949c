"""The deadlines of an exchange: none is missed, and none fails it twice."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine import exchange as module
from propylon.engine import timed as timed_module
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.timing import Ending
from propylon.engine.websocket.settings import DRAINED
from tests.support.fakes import Clock, FakeClient, FakeUpstream, exchange


def started(way: Callable[[Exchange], Coroutine[Any, Any, None]]) -> tuple[Exchange, FakeClient]:
    client = FakeClient()
    x = exchange(client=client)
    x.start(way(x))
    return x, client


async def until(x: Exchange, ready: Callable[[], bool]) -> None:
    while not ready():
        await x.pause()


def test_a_deadline_is_armed_anew_and_disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module, timed_module)
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


def test_the_time_between_two_reads_does_not_count_while_a_client_is_slow() -> None:
    """Also where something else happens meanwhile that would begin it: the request's end, or the head going out."""
    x, upstream = exchange(), FakeUpstream()
    upstream.request_sent = True
    upstream.hold(x.client)
    x.arm_relay(upstream)
    assert x.deadline == inf
    upstream.release(x.client)
    x.arm_relay(upstream)
    assert (x.deadline < inf, x.expiry) == (True, "relay.idle_timeout")


def test_the_total_time_wins_where_it_is_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module, timed_module)
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
    clock = Clock(monkeypatch, module, timed_module)
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
        clock = Clock(patch, module, timed_module)
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


def test_a_check_that_comes_too_early_leaves_other_deadlines_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module, timed_module)
    x = exchange()
    x.set_lasting(cast("Any", SimpleNamespace(deadline=1007.0)))
    x.client.due = inf
    x.check(clock.now)
    assert x.client.due == 1007.0
    x.arm(5.0, "head.timeout")
    x.check(clock.now)
    assert x.client.due == clock.now + 5


def test_elapsed_is_counted_from_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module, timed_module)
    x = exchange()
    clock.now += 1.5
    assert x.elapsed == 1.5


def test_what_lasts_is_told_how_it_is_to_end_whether_it_began_before_or_after() -> None:
    ending = Ending(5.0, DRAINED)
    told: list[Ending] = []
    lasting = cast("Any", SimpleNamespace(deadline=inf, end_by=told.append))
    before, after = exchange(), exchange()
    before.set_lasting(lasting)
    before.end_by(ending)
    after.end_by(ending)
    after.set_lasting(lasting)
    assert told == [ending, ending]
