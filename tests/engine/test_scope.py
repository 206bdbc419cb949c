"""The scope of a policy: services of now, stores it shares, and tasks that end with it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from propylon.engine.errors import GatewayError
from propylon.engine.pipeline import BACKGROUND, settled
from propylon.engine.scope import Scope
from propylon.engine.subrequest import Subrequest
from propylon.state.memory import MemoryStore
from tests.support.deadline import settle
from tests.support.fakes import OK, FakeEndpoint, FakeUpstream, fake_service, snapshot


class Place:
    """What stands for a worker (`Home`)."""

    def __init__(self) -> None:
        self.snapshot: Any = None
        self.made: list[str] = []

    def store(self, name: str) -> MemoryStore:
        self.made.append(name)
        return MemoryStore(lambda: 0.0)


async def for_ever() -> None:
    await asyncio.Event().wait()


# services and stores


async def test_a_service_is_the_one_that_has_the_name_when_it_is_asked() -> None:
    home = Place()
    service = Scope(home=home).service("keys")
    for answer in (b"first", b"second"):
        upstream = FakeUpstream()
        home.snapshot = snapshot(services={"keys": fake_service(FakeEndpoint(upstream))})
        asking = asyncio.create_task(service.ask(Subrequest(b"GET", b"/"), timeout=5, limit=10))
        await settle()
        upstream.answer(OK, answer)
        assert (await asking).body == answer


@pytest.mark.parametrize("known", [None, {}])
async def test_a_service_that_is_not_there_is_a_failure_like_any_other(known: Any) -> None:
    home = Place()
    home.snapshot = None if known is None else snapshot(services=known)
    with pytest.raises(GatewayError) as caught:
        await Scope(home=home).service("keys").ask(Subrequest(b"GET", b"/"), timeout=5, limit=10)
    assert caught.value.code == "choose.no_endpoint"
    assert "there is no service 'keys'" in str(caught.value)


async def test_a_policy_that_is_not_started_has_neither_services_nor_stores() -> None:
    scope = Scope("limit")
    assert repr(scope) == "<Scope of limit, not started, 0 tasks>"
    with pytest.raises(RuntimeError, match="policy limit is not started"):
        scope.store("counters")
    with pytest.raises(RuntimeError, match="policy limit is not started"):
        await scope.service("keys").ask(Subrequest(b"GET", b"/"), timeout=5, limit=10)


def test_a_store_is_held_as_long_as_the_policy_works() -> None:
    home = Place()
    scope = Scope(home=home)
    assert scope.store("a") is scope.store("a")
    assert scope.store("b") is not scope.store("a")
    assert home.made == ["a", "b"]


# tasks


async def test_tasks_end_with_the_policy_and_those_that_finish_are_waited_for() -> None:
    scope, gate, done = Scope(), asyncio.Event(), []

    async def finish() -> None:
        await gate.wait()
        done.append(True)

    endless = scope.task(for_ever())
    scope.task(finish(), finish=True)
    ending = asyncio.create_task(scope.end())
    await settle()
    assert endless.cancelled()
    assert not ending.done()
    gate.set()
    await ending
    assert done == [True]
    assert repr(scope) == "<Scope of policy, ended, 0 tasks>"


async def test_a_gateway_that_stops_waits_for_tasks_that_finish_and_for_no_others() -> None:
    scope, gate = Scope(), asyncio.Event()
    scope.task(for_ever())
    await asyncio.wait_for(settled(), 1)
    scope.task(cast("Any", gate.wait()), finish=True)
    waiting = asyncio.create_task(settled())
    await settle()
    assert not waiting.done()
    gate.set()
    await waiting
    assert not BACKGROUND
    await scope.end()


async def test_what_is_to_finish_can_be_cancelled_too() -> None:
    scope = Scope()
    task = scope.task(for_ever(), finish=True)
    scope.cancel()
    await settle()
    assert not task.done()
    scope.cancel(finishing=True)
    await scope.end()
    assert task.cancelled()


async def test_a_task_waits_until_the_configuration_is_in_use() -> None:
    scope, gate, begun = Scope(), asyncio.Event(), []

    async def work(name: str) -> None:
        begun.append(name)

    scope.attach(Place(), gate)
    scope.task(work("early"))
    await settle()
    assert begun == []
    gate.set()
    await settle()
    assert begun == ["early"]
    scope.task(work("late"))
    await settle()
    assert begun == ["early", "late"]


async def test_a_task_that_has_never_begun_leaves_nothing_behind() -> None:
    """A coroutine that is never awaited is a warning, which fails this test."""
    scope = Scope()
    scope.attach(Place(), asyncio.Event())
    scope.task(for_ever())
    await scope.end()


async def test_what_a_task_raises_is_logged_with_the_name_of_its_policy(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise ValueError("no keys")

    scope = Scope("keys")
    scope.task(broken())
    await settle()
    assert "a task of policy keys raised" in caplog.text
    assert "ValueError: no keys" in caplog.text
    assert scope.rests


async def test_there_are_no_tasks_behind_the_end() -> None:
    scope = Scope("keys")
    await scope.end()
    with pytest.raises(RuntimeError, match="policy keys has ended"):
        scope.task(for_ever())
