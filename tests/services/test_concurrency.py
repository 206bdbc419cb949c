"""A service with a limit: so many exchanges are under way, some wait in line, and the others are told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, cast

import pytest

from propylon.engine.errors import GatewayError
from propylon.services.concurrency import ConcurrencyGate
from propylon.services.settings import Concurrency


def gate(settings: Concurrency, clock: Callable[[], float] = lambda: 0.0) -> ConcurrencyGate:
    return ConcurrencyGate("s", settings, clock)


def ticking() -> Callable[[], float]:
    """A clock on which a millisecond passes whenever it is looked at: no two exchanges begin or end at once."""
    return count(0.0, 0.001).__next__


class Waiter:
    """An exchange, as far as a limit knows it: a coroutine that `notify` continues."""

    def __init__(self) -> None:
        self.way: Coroutine[Any, Any, None] | None = None
        self.gate: ConcurrencyGate | None = None
        self.armed: list[tuple[float | None, str]] = []
        self.failure: GatewayError | None = None
        self.ended = False
        self.status = 200
        self.error: GatewayError | None = None
        self.is_websocket = False
        self.lasting = None
        self.refused: GatewayError | None = None

    def enter(self, admission: ConcurrencyGate) -> Waiter:
        self.way = self._enter(admission)
        self.notify()
        return self

    async def _enter(self, gate: ConcurrencyGate) -> None:
        await gate.enter(cast("Any", self))
        self.gate = gate

    def notify(self) -> None:
        assert self.way is not None
        try:
            self.way.send(None)
        except StopIteration:
            self.ended = True
        except GatewayError as error:
            self.refused = error

    async def pause(self) -> None:
        await _turn()
        if self.failure is not None:
            raise self.failure

    def arm(self, seconds: float | None, code: str) -> None:
        self.armed.append((seconds, code))

    def disarm(self) -> None:
        self.armed.append((None, ""))

    def leave(self, error: GatewayError | None = None) -> None:
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.leave(cast("Any", self), error)


class _turn:
    def __await__(self) -> Any:
        yield


async def test_so_many_enter_some_wait_and_the_others_are_refused() -> None:
    admission = gate(Concurrency(max=2, queue=1, queue_timeout=5.0))
    first, second, third, fourth = (Waiter().enter(admission) for _ in range(4))
    assert (first.ended, second.ended, third.ended) == (True, True, False)
    assert third.armed == [(5.0, "choose.queue_timeout")]
    assert fourth.refused is not None
    assert (fourth.refused.code, fourth.refused.headers) == ("choose.queue_full", {"retry-after": "1"})
    first.leave()
    assert not third.ended  # not in the middle of what the first one is doing
    await asyncio.sleep(0)
    assert third.ended
    second.leave()
    third.leave()
    assert Waiter().enter(admission).ended


async def test_who_gives_up_waiting_leaves_its_place_in_line() -> None:
    admission = gate(Concurrency(max=1, queue=1))
    first, second = Waiter().enter(admission), Waiter().enter(admission)
    second.failure = GatewayError("choose.queue_timeout")
    second.notify()
    assert second.refused is second.failure
    third = Waiter().enter(admission)
    assert third.refused is None
    first.leave()
    await asyncio.sleep(0)
    assert third.ended


async def test_who_goes_in_the_moment_of_its_turn_passes_it_on() -> None:
    admission = gate(Concurrency(max=1, queue=2))
    first, second, third = (Waiter().enter(admission) for _ in range(3))
    first.leave()  # it is the second one's turn, which does not know it yet
    second.failure = GatewayError("relay.client_gone")
    second.notify()
    await asyncio.sleep(0)
    assert third.ended


async def test_endpoints_bound_a_service_by_their_number() -> None:
    admission = gate(Concurrency(per_endpoint=2, queue=1))
    admission.endpoints_changed(1)
    one, two, three = (Waiter().enter(admission) for _ in range(3))
    assert (one.ended, two.ended, three.ended) == (True, True, False)
    admission.endpoints_changed(2)
    await asyncio.sleep(0)
    assert three.ended


async def test_without_endpoints_nobody_waits_for_one() -> None:
    admission = gate(Concurrency(per_endpoint=1))
    admission.endpoints_changed(0)
    assert Waiter().enter(admission).ended


@pytest.mark.parametrize("adaptive", ["aimd", "gradient"])
async def test_a_limit_that_moves_begins_low_and_stays_within_its_bounds(adaptive: str) -> None:
    admission = gate(Concurrency(max=100, adaptive=adaptive, min=10))
    entered = [Waiter().enter(admission) for _ in range(21)]
    assert [waiter.ended for waiter in entered] == [True] * 20 + [False]


async def test_a_limit_that_moves_shrinks_when_the_service_is_overloaded() -> None:
    admission = gate(Concurrency(max=100, adaptive="aimd", min=4), ticking())
    for _ in range(3):
        entered = [Waiter().enter(admission) for _ in range(4)]
        for waiter in entered:
            waiter.status = 503
            waiter.leave()
    entered = [Waiter().enter(admission) for _ in range(20)]
    assert sum(waiter.ended for waiter in entered) < 20


async def rounds(outcome: Callable[[Waiter, ConcurrencyGate], None]) -> int:
    """How many of 30 may enter a limit that has learned from some exchanges."""
    admission = gate(Concurrency(max=100, adaptive="aimd", min=4), ticking())
    for _ in range(3):
        entered = [Waiter().enter(admission) for _ in range(4)]
        for waiter in entered:
            outcome(waiter, admission)
            waiter.leave()
    return sum(Waiter().enter(admission).ended for _ in range(30))


@pytest.mark.parametrize(
    ("code", "shrinks"), [("head.timeout", True), ("choose.broken", False), ("choose.no_endpoint", False)]
)
async def test_a_limit_that_moves_learns_from_what_failed_though_another_service_answers(
    code: str, shrinks: bool
) -> None:
    def fall_back(waiter: Waiter, admission: ConcurrencyGate) -> None:
        waiter.leave(GatewayError(code))

    def fail(waiter: Waiter, admission: ConcurrencyGate) -> None:
        waiter.status, waiter.error = GatewayError(code).status, GatewayError(code)

    assert (await rounds(fall_back) < 20) is shrinks
    assert (await rounds(fail) < 20) is shrinks
