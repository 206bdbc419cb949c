"""The policies at work: started before they are used, kept while they are the same, closed when nothing uses them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from propylon.build.errors import BuildError
from propylon.build.policies_at_work import PoliciesAtWork
from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.engine.scope import Scope
from propylon.engine.snapshot import Snapshot
from propylon.runtime import policies as module
from propylon.runtime.policies import Policies
from tests.support.deadline import settle, until

seen: list[str] = []


class Noted:
    """A policy that notes its life."""

    def __init__(self, name: str, scope: Scope) -> None:
        self.name, self.scope = name, scope

    def on_request(self, x: Any) -> None:
        pass

    def start(self) -> None:
        seen.append(f"start {self.name}")

    async def close(self) -> None:
        await asyncio.sleep(0)
        seen.append(f"close {self.name}")


class Broken(Noted):
    """A policy that cannot be started."""

    async def start(self) -> None:
        self.scope.task(asyncio.Event().wait())
        await asyncio.sleep(0)
        raise OSError("no such database")


class Slow(Noted):
    """A policy that does not come to an end."""

    async def start(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@pytest.fixture
async def running() -> AsyncIterator[Policies]:
    made = Policies()
    yield made
    await made.close()


def built(running: Policies, *names: str, kind: type = Noted, then: Any = ()) -> Snapshot:
    policies = [{"python": {"use": kind if name == "broken" else Noted, "with": {"name": name}}} for name in names]
    config = validate({"policies": [*policies, *then], "routes": [{"path": "/*", "respond": "x"}]})
    return build_snapshot(config, at_work=PoliciesAtWork(running.current, running.living))


async def take(running: Policies, snapshot: Snapshot) -> Snapshot:
    await running.start(snapshot)
    running.enter(snapshot)
    return snapshot


async def test_policies_are_started_in_order_and_closed_in_the_end(running: Policies) -> None:
    await take(running, built(running, "a", "b"))
    assert seen == ["start a", "start b"]
    await running.close()
    assert sorted(seen[2:]) == ["close a", "close b"]
    await running.close()
    assert len(seen) == 4


async def test_what_is_only_compiled_is_neither_started_nor_closed(running: Policies) -> None:
    built(running, "a")
    await settle()
    assert seen == []


async def test_a_policy_that_stays_is_the_same(running: Policies) -> None:
    first = await take(running, built(running, "a", "b"))
    second = await take(running, built(running, "new", "a"))
    assert second.policies[1] is first.policies[0]
    assert seen == ["start a", "start b", "start new"]


async def test_one_that_is_gone_is_closed_when_the_last_snapshot_with_it_is_freed(running: Policies) -> None:
    first = await take(running, built(running, "a"))
    second = await take(running, built(running, "a", "b"))
    await take(running, built(running, "b"))
    seen.clear()
    gc.disable()
    try:
        del first
        await settle()
        assert seen == []
        del second
        await until(lambda: seen == ["close a"], "the policy is closed")
    finally:
        gc.enable()


async def test_closing_waits_for_tasks_that_finish(running: Policies) -> None:
    snapshot = await take(running, built(running, "a"))
    gate = asyncio.Event()
    snapshot.policies[0].scope.task(gate.wait(), finish=True)
    endless = snapshot.policies[0].scope.task(asyncio.Event().wait())
    await take(running, built(running))
    del snapshot
    await until(endless.cancelled, "the endless task is cancelled")
    await settle()
    assert seen == ["start a"]
    gate.set()
    await until(lambda: seen[1:] == ["close a"], "the policy is closed")


async def test_the_stop_waits_no_longer(running: Policies) -> None:
    snapshot = await take(running, built(running, "a", "b"))
    tasks = [placed.scope.task(asyncio.Event().wait(), finish=True) for placed in snapshot.policies[:2]]
    await take(running, built(running, "b"))
    del snapshot
    await settle()
    await running.close()
    assert all(task.cancelled() for task in tasks)
    assert sorted(seen[2:]) == ["close a", "close b"]


@pytest.mark.parametrize(("kind", "says"), [(Broken, "no such database"), (Slow, "takes more than 0.02 s")])
async def test_one_that_cannot_be_started_is_told_and_the_others_are_closed(
    running: Policies, kind: type, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.02)
    old = await take(running, built(running, "old"))
    seen.clear()
    snapshot = built(running, "old", "good", "broken", "never", kind=kind)
    with pytest.raises(BuildError, match=rf"^policies\.2: policy python: .*{says}"):
        await take(running, snapshot)
    assert seen == ["start good", "close good"]
    assert snapshot.policies[2].scope.rests
    assert running.current is old.policies


async def test_a_start_that_is_cancelled_leaves_nothing(running: Policies) -> None:
    snapshot = built(running, "good", "broken", kind=Slow)
    starting = asyncio.create_task(running.start(snapshot))
    await settle()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert seen == ["start good", "close good"]


async def test_one_that_cannot_be_closed_does_not_keep_the_others(
    running: Policies, caplog: pytest.LogCaptureFixture
) -> None:
    class Hangs(Noted):
        def close(self) -> Any:
            raise ValueError("what now")

    await take(running, built(running, "broken", "a", kind=Hangs))
    await running.close()
    assert seen[2:] == ["close a"]
    assert f"policy {Hangs.__module__}:{Hangs.__qualname__} could not be closed" in caplog.text
    assert "what now" in caplog.text


def with_object(running: Policies, policy: object, *paths: str) -> Snapshot:
    routes = [{"path": path, "respond": "x", "policies": [policy]} for path in paths]
    config = validate({"routes": [*routes, {"path": "/*", "respond": "x"}]})
    return build_snapshot(config, at_work=PoliciesAtWork(running.current, running.living))


async def test_an_object_has_one_life_wherever_it_stands(running: Policies) -> None:
    policy = Noted("mine", Scope())
    await take(running, with_object(running, policy, "/a", "/b"))
    await take(running, with_object(running, policy, "/c"))
    await settle()
    assert seen == ["start mine"]
    await take(running, with_object(running, policy))
    await until(lambda: seen == ["start mine", "close mine"], "it is closed")


async def test_an_object_that_is_given_again_while_it_is_still_used_goes_on(running: Policies) -> None:
    policy = Noted("mine", Scope())
    used = await take(running, with_object(running, policy, "/a"))
    await take(running, with_object(running, policy))
    await take(running, with_object(running, policy, "/b"))
    del used
    await settle()
    assert seen == ["start mine"]


async def test_an_object_that_is_given_again_while_it_is_being_closed_is_started_behind_that(running: Policies) -> None:
    gate = asyncio.Event()

    class Careful(Noted):
        async def close(self) -> None:
            await gate.wait()
            await super().close()

    policy = Careful("mine", Scope())
    await take(running, with_object(running, policy, "/a"))
    await take(running, with_object(running, policy))
    await settle()
    taking = asyncio.create_task(take(running, with_object(running, policy, "/b")))
    await settle()
    assert seen == ["start mine"]
    gate.set()
    await taking
    assert seen == ["start mine", "close mine", "start mine"]


async def test_a_store_lives_as_long_as_a_policy_that_uses_it(running: Policies) -> None:
    first = await take(running, built(running, "a"))
    await first.policies[0].scope.store("counts").add("x")
    second = await take(running, built(running, "b"))
    assert await second.policies[0].scope.store("counts").add("x") == 2
    del first, second
    await take(running, built(running, "c"))
    await until(lambda: "close b" in seen, "it is closed")
    assert await running.current[0].scope.store("counts").add("x") == 1
