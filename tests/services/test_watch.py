"""The watcher: the last good list stays, only changes are applied, a failing provider gets time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from propylon.services.discovery import DiscoveryError, EndpointSpec
from propylon.services.watch import MAX_RETRY_S, MIN_INTERVAL_S, REPEAT_S, Watch
from tests.support.deadline import settle, until

A, B, C = EndpointSpec("http://10.0.0.1"), EndpointSpec("http://10.0.0.2"), EndpointSpec("http://10.0.0.3")
END = object()


class Time:
    """A clock that stands until a test moves it; `delays` has what was slept for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.delays: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.delays.append(seconds)
        self._sleepers.append((self.now + seconds, woken))
        await woken.wait()

    @property
    def retries(self) -> list[float]:
        return [delay for delay in self.delays if delay != MIN_INTERVAL_S]

    async def wake(self) -> None:
        """Move on to the end of the next sleep."""
        await until(lambda: bool(self._sleepers), "somebody sleeps")
        self._sleepers.sort(key=lambda sleeper: sleeper[0])
        self.now, woken = self._sleepers.pop(0)
        woken.set()
        await settle()


class Scripted:
    """A provider that yields and raises what a test says, step by step."""

    def __init__(self) -> None:
        self.steps: asyncio.Queue[object] = asyncio.Queue()
        self.runs = 0
        self.closed = 0

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        self.runs += 1
        try:
            while True:
                step = await self.steps.get()
                if step is END:
                    return
                if isinstance(step, BaseException):
                    raise step
                yield step  # type: ignore[misc]
        finally:
            self.closed += 1


class Watched:
    """A running watch, its provider, its time, and what it applied."""

    def __init__(self, random: float = 1.0, apply: Callable[[tuple[EndpointSpec, ...]], None] | None = None) -> None:
        self.provider = Scripted()
        self.time = Time()
        self.applied: list[tuple[EndpointSpec, ...]] = []
        self.watch = Watch(
            self.provider, apply or self.applied.append, name="users",
            clock=lambda: self.time.now, sleep=self.time.sleep, random=lambda: random,
        )  # fmt: skip

    async def give(self, *steps: object) -> None:
        """Let each step happen, and the pause after it pass."""
        for step in steps:
            self.provider.steps.put_nowait(step)
            await self.time.wake()


@asynccontextmanager
async def watched(random: float = 1.0) -> AsyncIterator[Watched]:
    it = Watched(random)
    it.watch.start()
    try:
        yield it
    finally:
        await it.watch.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "propylon.discovery"]


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "propylon.discovery")


async def test_lists_are_applied_and_what_changed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as it:
        await it.give([A, B], [EndpointSpec(B.url, weight=3), C])
        assert it.applied == [(A, B), (EndpointSpec(B.url, 3), C)]
        assert it.watch.found == it.applied[-1]
    assert lines(caplog) == [
        "users: found +http://10.0.0.1, +http://10.0.0.2",
        "users: +http://10.0.0.3, -http://10.0.0.1, http://10.0.0.2 weight 1 -> 3",
    ]


async def test_the_same_list_in_another_order_is_not_applied_again(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as it:
        await it.give([A, B], [B, A], [EndpointSpec("http://10.0.0.1:80"), B, B])
        assert it.applied == [(A, B)]
    assert len(lines(caplog)) == 1


async def test_an_empty_list_is_believed_also_as_the_first() -> None:
    async with watched() as it:
        await it.give([])
        assert it.applied == [()]
        await it.give([A], [])
        assert it.applied == [(), (A,), ()]


async def test_bad_endpoints_are_left_out_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as it:
        await it.give([A, EndpointSpec("nonsense")], [A, B, EndpointSpec("nonsense")])
        assert it.applied == [(A,), (A, B)]
    assert len([line for line in lines(caplog) if "left out" in line and "nonsense" in line]) == 1


async def test_a_list_of_nothing_but_bad_endpoints_takes_no_good_one_away(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as it:
        await it.give([A], [EndpointSpec("nonsense")])
        assert it.applied == [(A,)]
        assert it.watch.problem == "none of the 1 endpoints that were found can be used"
    assert "the last 1 endpoints stay" in caplog.text


@pytest.mark.parametrize(
    ("step", "cause"),
    [
        (DiscoveryError("no route to consul"), "no route to consul"),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops"),
        (asyncio.CancelledError(), "the provider was cancelled from within"),
        (END, "the provider ended"),
        (7, "TypeError: "),
    ],
)
async def test_the_last_list_stays_when_a_provider_fails_in_any_way_and_it_is_started_again(
    step: object, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched() as it:
        await it.give([A], step)
        assert it.watch.found == (A,)
        assert it.watch.problem is not None
        assert it.watch.problem.startswith(cause)
        assert it.provider.runs == 2
        assert it.provider.closed == 1
        await it.give([A, B])
        assert it.applied == [(A,), (A, B)]
        assert it.watch.problem is None
    assert f"users: discovery fails: {cause}" in caplog.text
    assert lines(caplog)[-1] == "users: discovery works again, 2 endpoints"


async def test_retries_take_longer_and_longer_up_to_a_minute_and_begin_anew_after_success() -> None:
    async with watched() as it:
        await it.give(*[DiscoveryError("down")] * 9)
        assert it.time.retries == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        await it.give([A], DiscoveryError("down"))
        assert it.time.retries[-1] == 1


async def test_half_of_the_time_until_a_retry_is_chance() -> None:
    async with watched(random=0.0) as it:
        await it.give(*[DiscoveryError("down")] * 8)
        assert it.time.retries == [0.5, 1, 2, 4, 8, 16, MAX_RETRY_S / 2, MAX_RETRY_S / 2]


async def test_a_cause_is_logged_once_and_another_one_as_well(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as it:
        await it.give(*[DiscoveryError("one")] * 20, DiscoveryError("other"), DiscoveryError("one"))
    assert lines(caplog) == [
        "users: discovery fails: one; there are no endpoints yet",
        "users: discovery fails: other; there are no endpoints yet",
    ]


async def test_a_provider_that_fails_after_each_list_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as it:
        for _ in range(30):
            await it.give([A], END)
        assert len(lines(caplog)) == 3  # the list, the failure, works again
        it.time.now += REPEAT_S
        await it.give([A], END)
        assert len(lines(caplog)) == 4  # said again after a while
        assert it.time.retries == [1.0] * 31


async def test_causes_that_all_differ_fill_neither_log_nor_memory(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as it:
        await it.give(*[DiscoveryError(f"at {number} " + "x" * 5000) for number in range(50)])
    assert len(lines(caplog)) == 16
    assert max(map(len, lines(caplog))) < 500


async def test_a_list_that_cannot_be_applied_is_tried_again() -> None:
    applied = []

    def apply(found: tuple[EndpointSpec, ...]) -> None:
        applied.append(found)
        if len(applied) == 1:
            raise RuntimeError("not now")

    it = Watched(apply=apply)
    it.watch.start()
    await it.give([A])
    assert it.watch.found is None
    await it.give([A])
    await it.watch.close()
    assert applied == [(A,), (A,)]
    assert it.watch.found == (A,)


async def test_a_provider_that_never_waits_does_not_keep_the_loop_busy() -> None:
    class Eager:
        yielded = 0

        async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
            while True:
                self.yielded += 1
                yield [A]

    provider, time = Eager(), Time()
    watch = Watch(provider, lambda found: None, name="users", clock=lambda: time.now, sleep=time.sleep)
    watch.start()
    await settle()
    assert provider.yielded == 1
    await time.wake()
    assert provider.yielded == 2
    assert set(time.delays) == {MIN_INTERVAL_S}
    await watch.close()


async def test_lists_that_take_long_are_taken_less_often() -> None:
    time, provider = Time(), Scripted()

    def apply(found: tuple[EndpointSpec, ...]) -> None:
        time.now += 0.5

    watch = Watch(provider, apply, name="users", clock=lambda: time.now, sleep=time.sleep)
    watch.start()
    provider.steps.put_nowait([A])
    await time.wake()
    assert time.delays == [pytest.approx(5.0)]
    await watch.close()


async def test_what_is_no_provider_at_all_is_a_failure_and_not_the_end() -> None:
    class Wrong:
        def watch(self) -> None:
            return None

    time = Time()
    watch = Watch(Wrong(), lambda found: None, name="users", clock=lambda: time.now, sleep=time.sleep)  # type: ignore[arg-type]
    watch.start()
    await time.wake()
    assert watch.problem is not None
    assert watch.problem.startswith("TypeError")
    await watch.close()


async def test_the_first_list_can_be_waited_for() -> None:
    async with watched() as it:
        assert await it.watch.first(0) is False
        waiting = asyncio.create_task(it.watch.first(5))
        await it.give(DiscoveryError("not yet"))
        assert not waiting.done()
        await it.give([A])
        assert await waiting is True
        assert await it.watch.first(0) is True


async def test_close_ends_the_provider_at_every_point_and_may_come_twice() -> None:
    it = Watched()
    await it.watch.close()
    it.watch.start()
    await settle()
    it.provider.steps.put_nowait([A])
    await settle()
    await it.watch.close()  # while it pauses after a list
    await it.watch.close()
    assert it.provider.closed == 1
    other = Watched()
    other.watch.start()
    await settle()
    await other.watch.close()  # while the provider waits
    assert other.provider.closed == 1


async def test_a_provider_that_does_not_want_to_end_is_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propylon.services.watch.CLOSE_TIMEOUT_S", 0.01)
    let_go = asyncio.Event()

    class Stubborn:
        async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            yield [A]

    watch = Watch(Stubborn(), lambda found: None, name="users")
    watch.start()
    await settle()
    await watch.close()
    assert "does not end" in caplog.text
    let_go.set()
    await settle()


async def test_a_provider_that_answers_its_end_with_an_error_has_ended_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Clumsy:
        async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
            try:
                await asyncio.Event().wait()
                yield [A]
            finally:
                raise RuntimeError("cannot say good-bye")

    before = asyncio.all_tasks()
    watch = Watch(Clumsy(), lambda found: None, name="users")
    watch.start()
    await settle()
    await watch.close()
    assert asyncio.all_tasks() == before
    assert lines(caplog) == []


async def test_a_list_that_comes_after_the_end_is_not_applied() -> None:
    class Late:
        async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    yield [A]

    applied: list[tuple[EndpointSpec, ...]] = []
    before = asyncio.all_tasks()
    watch = Watch(Late(), applied.append, name="users")
    watch.start()
    await settle()
    await watch.close()
    assert applied == []
    assert asyncio.all_tasks() == before
