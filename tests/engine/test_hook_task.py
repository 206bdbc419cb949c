"""Async hooks: the first step at once and as a Task, the rest as asyncio steps it."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.response import Response
from tests.support.deadline import settle, until
from tests.support.fakes import FakeClient, FakeEndpoint, FakeUpstream, exchange, snapshot

HERE: ContextVar[str] = ContextVar("here", default="outside")


def begun(*hooks: Any) -> tuple[Exchange, FakeUpstream]:
    """An exchange that begins in a callback of the loop, as in real life."""
    upstream = FakeUpstream()
    x = exchange(snapshot(*hooks, endpoint=FakeEndpoint(upstream)), client=FakeClient())
    asyncio.get_running_loop().call_soon(lambda: x.start(forward(x)))
    return x, upstream


async def one_turn() -> None:
    await asyncio.sleep(0)


async def test_a_hook_that_waits_for_nothing_costs_no_turn_of_the_loop() -> None:
    async def plain(x: Exchange) -> None:
        x.request.headers.set("x-seen", "1")

    x, upstream = begun(plain)
    await one_turn()
    assert b"x-seen: 1" in upstream.block
    x.fail(GatewayError("relay.client_gone"))


async def test_its_answer_and_its_failure_count_at_once_too() -> None:
    async def answers(x: Exchange) -> Response:
        return Response(204)

    async def fails(x: Exchange) -> None:
        raise KeyError("secret")

    for hook, status in ((answers, 204), (fails, 500)):
        x, upstream = begun(hook)
        await one_turn()
        assert (x.status, upstream.sent, x.finished) == (status, [], True)
    await settle()  # the Tasks behind them end without a word


async def test_all_steps_are_of_one_task_with_one_context() -> None:
    seen: list[object] = []

    async def steps(x: Exchange) -> None:
        HERE.set("inside")
        for _ in range(3):
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(HERE.get())

    begun(steps)
    await settle()
    assert len({id(task) for task in seen[::2]}) == 1
    assert isinstance(seen[0], asyncio.Task)
    assert seen[1::2] == ["inside"] * 3
    assert HERE.get() == "outside"
    assert asyncio.current_task() is not seen[0]


@pytest.mark.parametrize("way", ["timeout", "task group", "wait_for"])
async def test_what_asks_for_the_task_works_from_the_first_step_on(way: str) -> None:
    done: list[str] = []

    async def child() -> None:
        await asyncio.sleep(0)
        done.append("child")

    async def hook(x: Exchange) -> None:
        if way == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.get_running_loop().create_future()
        elif way == "task group":
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
        else:
            await asyncio.wait_for(child(), 5)
        done.append("hook")

    x, upstream = begun(hook)
    while not upstream.sent and not x.finished:
        await one_turn()
    assert upstream.sent
    assert done[-1] == "hook"


async def test_an_exchange_that_ends_cancels_it_and_what_it_waits_for() -> None:
    waiting = asyncio.get_running_loop().create_future()
    cancelled: list[bool] = []

    async def hook(x: Exchange) -> None:
        try:
            await waiting
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    for turns in (1, 3):  # before its Task has had a turn, and behind that
        waiting = asyncio.get_running_loop().create_future()
        x, _ = begun(hook)
        for _ in range(turns):
            await one_turn()
        x.fail(GatewayError("relay.client_gone"))
        await settle()
        assert waiting.cancelled()
        assert x.finished
    assert cancelled == [True, True]


async def test_a_result_that_comes_before_the_tasks_turn_is_not_lost() -> None:
    waiting = asyncio.get_running_loop().create_future()

    async def hook(x: Exchange) -> Response:
        return Response(await waiting)

    x, _ = begun(hook)
    asyncio.get_running_loop().call_soon(waiting.set_result, 201)
    await settle()
    assert x.status == 201


@pytest.mark.parametrize("turns", [0, 1])
async def test_what_raises_leaves_nothing_to_the_garbage_collector(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange holds its snapshot, and a policy that a reload has removed is closed when that is freed."""

    class Raised(Exception):
        """One of this test alone."""

    async def raises(x: Exchange) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise Raised

    monkeypatch.setattr(logging.getLogger("propylon.policies"), "disabled", True)  # pytest keeps what is logged
    gc.disable()
    try:
        x, _ = begun(raises)
        await until(lambda: x.finished)
        assert x.status == 500
        await settle()
        assert not any(type(each) is Raised for each in gc.get_objects())  # isinstance would ask dead weak proxies
    finally:
        gc.enable()


async def test_hooks_that_wait_for_nothing_share_one_parked_task() -> None:
    seen: set[asyncio.Task[Any] | None] = set()

    async def plain(x: Exchange) -> None:
        seen.add(asyncio.current_task())

    before = asyncio.all_tasks()
    for _ in range(20):
        begun(plain)
        await one_turn()
    assert len(seen) == 1
    assert asyncio.all_tasks() - before <= seen


async def test_a_task_that_a_hook_has_cancelled_is_not_used_again() -> None:
    seen: list[asyncio.Task[Any]] = []

    async def cancels(x: Exchange) -> Response:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        seen.append(task)
        return Response(204)

    for _ in range(3):
        x, _ = begun(cancels)
        await settle()
        assert x.status == 204
    assert len(set(seen)) == 3
    assert all(task.cancelled() for task in seen)


async def test_a_hook_that_cancels_itself_and_waits_is_cancelled() -> None:
    async def hook(x: Exchange) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.get_running_loop().create_future()

    x, _ = begun(hook)
    await settle()
    assert x.status == 500


async def test_a_hook_within_a_hook_of_another_exchange_is_apart() -> None:
    """A hook's first step may itself begin or step another exchange, as when it gives back a place."""
    tasks: list[asyncio.Task[Any] | None] = []

    async def inner(x: Exchange) -> Response:
        tasks.append(asyncio.current_task())
        return Response(201)

    async def outer(x: Exchange) -> Response:
        tasks.append(asyncio.current_task())
        other = exchange(snapshot(inner), client=FakeClient())
        other.start(forward(other))
        assert asyncio.current_task() is tasks[0]
        await settle()
        assert other.status == 201
        return Response(202)

    x, _ = begun(outer)
    await until(lambda: x.status == 202, "the outer exchange is answered")
    assert tasks[0] is not tasks[1]


def test_each_event_loop_has_a_task_of_its_own() -> None:
    async def plain(x: Exchange) -> Response:
        return Response(204)

    async def once() -> int:
        x, _ = begun(plain)
        await settle()
        return x.status

    assert [asyncio.run(once()) for _ in range(3)] == [204, 204, 204]


async def test_a_parked_task_keeps_nothing_that_a_hook_has_put_into_its_context() -> None:
    class Big:
        """Something that a context variable refers to."""

    alive: list[weakref.ref[Big]] = []
    variable: ContextVar[Big] = ContextVar("big")

    async def plain(x: Exchange) -> Response:
        big = Big()
        alive.append(weakref.ref(big))
        variable.set(big)
        return Response(204)

    x, _ = begun(plain)
    await until(lambda: x.finished, "the exchange ends")
    assert alive[0]() is None
