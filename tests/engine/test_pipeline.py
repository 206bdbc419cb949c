"""Policies, compiled: order, conditions, plain and async hooks, and what a failing one does to its exchange."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from propylon import Response
from propylon.engine import exchange as exchange_module
from propylon.engine import hook_task
from propylon.engine import pipeline as module
from propylon.engine import timed as timed_module
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.pipeline import PolicyUse, compile_pipeline, first_answer, run_all, run_done
from propylon.phases import PHASES
from tests.support.deadline import settle
from tests.support.fakes import Clock, exchange

Way = Callable[[Exchange], Awaitable[Any]]


class Outcome:
    """What became of an exchange that went along a test's way."""

    def __init__(self, way: Way) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.x = exchange()
        self.x.start(self._run(way))

    async def _run(self, way: Way) -> None:
        try:
            self.result = await way(self.x)
        except GatewayError as error:
            self.error = error

    @property
    def code(self) -> str:
        assert isinstance(self.error, GatewayError)
        return self.error.code


def hooks(*functions: Callable[..., Any]) -> tuple[tuple[Callable[..., Any], str], ...]:
    return tuple((function, f"p{number}") for number, function in enumerate(functions))


def answered(*functions: Callable[..., Any]) -> Outcome:
    return Outcome(lambda x: first_answer(x, hooks(*functions)))


def ran(*functions: Callable[..., Any]) -> Outcome:
    return Outcome(lambda x: run_all(x, hooks(*functions)))


# compiling


def test_hooks_are_sorted_by_phase_in_the_order_of_the_list() -> None:
    first = SimpleNamespace(on_request=lambda x: "a", on_done=lambda x: "b")
    second = SimpleNamespace(on_done=lambda x: "c")

    def third(x: Exchange) -> str:
        return "d"

    pipeline = compile_pipeline([PolicyUse("1", first), PolicyUse("2", second), PolicyUse("3", third)])
    assert [(hook(None), name) for hook, name in pipeline.on_request] == [("a", "1"), ("d", "3")]
    assert [(hook(None), name) for hook, name in pipeline.on_done] == [("b", "1"), ("c", "2")]
    assert pipeline.on_attempt == pipeline.on_response == pipeline.on_error == ()


def test_a_callable_object_with_hooks_is_no_function() -> None:
    class Both:
        def __call__(self, x: Exchange) -> None:
            raise AssertionError

        def on_done(self, x: Exchange) -> None:
            pass

    assert PolicyUse("both", Both()).phases() == ["on_done"]
    assert PolicyUse("function", lambda x: None).phases() == ["on_request"]
    assert PolicyUse("nothing", object()).phases() == []


def test_a_policy_with_every_hook_takes_part_in_every_phase() -> None:
    everything = SimpleNamespace(**{phase: lambda *_: None for phase in PHASES})
    assert PolicyUse("all", everything).phases() == list(PHASES)


# conditions


@pytest.mark.parametrize("holds", [True, False])
def test_a_condition_is_asked_once_an_exchange_and_decides_for_every_phase(holds: bool) -> None:
    asked: list[Exchange] = []
    ran_hooks: list[str] = []

    def condition(x: Exchange) -> bool:
        asked.append(x)
        return holds

    policy = SimpleNamespace(
        on_request=lambda x: ran_hooks.append("on_request"),
        on_response_chunk=lambda x, data: data.upper(),
        on_error=lambda x, error: ran_hooks.append(error),
        on_done=lambda x: ran_hooks.append("on_done"),
    )
    use = PolicyUse("p", policy, condition)
    for _ in range(2):
        x = exchange()
        for phase, rest in (("on_request", ()), ("on_error", ("failed",)), ("on_done", ())):
            hook = use.hook(phase)
            assert hook is not None
            assert hook(x, *rest) is None
        chunk = use.hook("on_response_chunk")
        assert chunk is not None
        assert chunk(x, b"a") == (b"A" if holds else b"a")
    assert len(asked) == 2
    assert ran_hooks == (["on_request", "failed", "on_done"] * 2 if holds else [])


def test_two_conditions_do_not_share_their_answers() -> None:
    x = exchange()
    uses = [PolicyUse("a", lambda x: "a", lambda x: True), PolicyUse("b", lambda x: "b", lambda x: False)]
    assert [use.hook("on_request")(x) for use in uses] == ["a", None]  # type: ignore[misc]


def test_a_condition_that_raises_is_a_failed_policy() -> None:
    def condition(x: Exchange) -> bool:
        raise RuntimeError("condition")

    hook = PolicyUse("p", lambda x: None, condition).hook("on_request")
    assert hook is not None
    assert answered(hook).code == "request.policy_failed"


# plain hooks


def test_the_first_answer_ends_the_way() -> None:
    calls: list[int] = []
    response = Response(200)
    outcome = answered(lambda x: calls.append(1), lambda x: response, lambda x: calls.append(3))
    assert outcome.result is response
    assert calls == [1]


def test_no_answer_is_none() -> None:
    assert answered(lambda x: None).result is None
    assert answered().result is None


def test_hooks_get_what_belongs_to_their_phase() -> None:
    got: list[Any] = []
    Outcome(lambda x: first_answer(x, hooks(lambda x: got.append("request"))))
    Outcome(lambda x: run_all(x, hooks(lambda x, attempt: got.append(attempt)), "attempt"))
    assert got == ["request", "attempt"]


@pytest.mark.parametrize("answer", ["text", 0, b"", False, {}])
def test_an_answer_that_is_no_response_is_a_failed_policy(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    assert answered(lambda x: answer).code == "request.policy_failed"
    assert "may return a Response or None" in caplog.text


@pytest.mark.parametrize(("run", "code"), [(answered, "request.policy_failed"), (ran, "response.policy_failed")])
def test_an_exception_is_logged_with_its_traceback_and_hidden_from_the_client(
    run: Callable[..., Outcome], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(x: Exchange) -> None:
        raise ValueError("s3cret")

    calls: list[int] = []
    outcome = run(broken, lambda x: calls.append(1))
    assert outcome.code == code
    assert isinstance(outcome.error, GatewayError)
    assert "s3cret" not in str(outcome.error)
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert "policy p0 raised ValueError" in record.getMessage()
    assert "id=id-1" in record.getMessage()
    assert record.exc_info is not None
    assert calls == []


@pytest.mark.parametrize("run", [answered, ran])
def test_a_gateway_error_passes_through_as_it_is(run: Callable[..., Outcome], caplog: pytest.LogCaptureFixture) -> None:
    def limit(x: Exchange) -> None:
        raise GatewayError("request.body_too_large", "why")

    assert run(limit).code == "request.body_too_large"
    assert caplog.records == []


def test_run_all_runs_every_hook_whatever_they_return() -> None:
    calls: list[int] = []
    outcome = ran(lambda x: calls.append(1) or "x", lambda x: calls.append(2))
    assert outcome.error is None
    assert calls == [1, 2]


# async hooks


async def test_an_async_hook_runs_as_a_task_and_the_exchange_waits() -> None:
    tasks: list[asyncio.Task[Any] | None] = []
    gate = asyncio.Event()

    async def slow(x: Exchange) -> Response:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(5):
            await gate.wait()
        return Response(201)

    outcome = answered(slow, lambda x: pytest.fail("the way has ended"))
    await settle()
    assert tasks[0] is not None
    assert not outcome.x.finished
    gate.set()
    await settle()
    assert outcome.x.finished
    assert outcome.result.status == 201


async def test_what_an_async_hook_raises_is_a_failed_policy(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(x: Exchange) -> None:
        await asyncio.sleep(0)
        raise ValueError("late")

    for run, code in ((answered, "request.policy_failed"), (ran, "response.policy_failed")):
        outcome = run(broken)
        await settle()
        assert outcome.code == code
    assert caplog.text.count("ValueError: late") == 2


async def test_async_hooks_keep_their_order() -> None:
    calls: list[int] = []

    def make(number: int, turns: int) -> Callable[[Exchange], Awaitable[None]]:
        async def hook(x: Exchange) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            calls.append(number)

        return hook

    outcome = ran(make(1, 5), lambda x: calls.append(2), make(3, 0), make(4, 1))
    await settle()
    assert calls == [1, 2, 3, 4]
    assert outcome.x.finished


async def test_the_task_is_cancelled_when_the_exchange_fails() -> None:
    ended: list[str] = []

    async def endless(x: Exchange) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    for run in (answered, ran):
        outcome = run(endless)
        await settle()
        outcome.x.fail(GatewayError("relay.client_gone"))
        await settle()
        assert outcome.code == "relay.client_gone"
    assert ended == ["cancelled", "cancelled"]


async def test_a_hook_that_cancels_itself_is_a_failed_policy(caplog: pytest.LogCaptureFixture) -> None:
    async def suicidal(x: Exchange) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    outcome = answered(suicidal)
    await settle()
    assert outcome.code == "request.policy_failed"


async def test_an_async_hook_has_a_deadline_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    gate = asyncio.Event()

    async def slow(x: Exchange) -> None:
        await gate.wait()

    outcome = answered(slow)
    assert list((outcome.x.policy_deadlines or {}).values()) == [clock.now + 30]
    gate.set()
    await settle()
    assert not outcome.x.policy_deadlines
    outcome = answered(slow)
    gate.clear()
    outcome = answered(slow)
    await settle()
    outcome.x.check(clock.now + 30)
    assert outcome.code == "request.policy_timeout"
    assert not outcome.x.policy_deadlines
    await settle()


async def test_a_future_may_be_returned_too() -> None:
    future: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
    outcome = answered(lambda x: future)
    await settle()
    future.set_result(Response(202))
    await settle()
    assert outcome.result.status == 202


# on_done


def test_every_on_done_runs_whatever_the_others_do(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def broken(x: Exchange) -> None:
        raise ValueError("done")

    run_done(exchange(), hooks(lambda x: calls.append(1), broken, lambda x: calls.append(3)))
    assert calls == [1, 3]
    assert "policy p1 raised ValueError" in caplog.text


async def test_an_async_on_done_runs_to_its_end_and_is_kept_alive(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    async def slow(x: Exchange) -> None:
        await asyncio.sleep(0)
        calls.append(1)

    async def broken(x: Exchange) -> None:
        raise ValueError("late")

    run_done(exchange(), hooks(slow, broken))
    assert len(module.BACKGROUND) == 2
    await settle()
    assert calls == [1]
    assert "policy p1 raised" in caplog.text
    assert not module.BACKGROUND


# hooks that block


def blocked(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Who is named as blocking, each with the id of the exchange."""
    records = [cast("Any", record) for record in caplog.records if "blocked the event loop" in record.getMessage()]
    assert all(record.facts["id"] == "id-1" for record in records)
    return [record.event for record in records]


@pytest.mark.parametrize("run", [answered, ran, lambda hook: run_done(exchange(), hooks(hook))])
@pytest.mark.parametrize(("seconds", "named"), [(0.09, False), (0.25, True)])
def test_a_plain_hook_that_blocks_is_named(
    run: Callable[..., object],
    seconds: float,
    named: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock(monkeypatch, module, hook_task)

    def busy(x: Exchange) -> None:
        clock.now += seconds

    run(busy)
    expected = f"policy p0 blocked the event loop for {seconds * 1000:.0f} ms: nothing else moved meanwhile"
    assert blocked(caplog) == ([expected] if named else [])


async def test_an_async_hook_is_named_for_a_step_that_blocks_and_not_for_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch, module, hook_task)

    async def patient(x: Exchange) -> None:
        await asyncio.sleep(0)  # the test's clock goes on meanwhile

    async def busy(x: Exchange) -> None:
        await asyncio.sleep(0)
        clock.now += 0.5
        await asyncio.sleep(0)

    outcome = ran(patient)
    clock.now += 60
    await settle()
    assert outcome.x.finished
    assert blocked(caplog) == []
    outcome = ran(busy)
    await settle()
    assert outcome.x.finished
    assert blocked(caplog) == ["policy p0 blocked the event loop for 500 ms: nothing else moved meanwhile"]


@pytest.mark.parametrize("run", [answered, ran, lambda hook: run_done(exchange(), hooks(hook))])
@pytest.mark.parametrize("error", [ValueError("no"), GatewayError("request.body_too_large"), asyncio.CancelledError()])
def test_a_plain_hook_that_blocks_and_then_raises_is_named_for_both(
    run: Callable[..., object],
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock(monkeypatch, module, hook_task)

    def busy(x: Exchange) -> None:
        clock.now += 0.2
        raise error

    run(busy)
    assert blocked(caplog) == ["policy p0 blocked the event loop for 200 ms: nothing else moved meanwhile"]
    told = [record.getMessage() for record in caplog.records if "policy p0 raised" in record.getMessage()]
    refuses = isinstance(error, GatewayError) and run in (answered, ran)
    assert len(told) == (0 if refuses else 1)


@pytest.mark.parametrize("run", [answered, ran])
async def test_an_async_hook_that_blocks_and_then_raises_is_named_for_both(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch, module, hook_task)

    async def busy(x: Exchange) -> None:
        await asyncio.sleep(0)
        clock.now += 0.2
        raise ValueError("no")

    outcome = run(busy)
    clock.now += 60  # it waits: that is no blocking
    await settle()
    assert outcome.x.finished
    assert blocked(caplog) == ["policy p0 blocked the event loop for 200 ms: nothing else moved meanwhile"]
    assert "policy p0 raised ValueError" in caplog.text


async def test_an_async_hook_that_blocks_while_it_is_cancelled_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch, module, hook_task)

    async def stubborn(x: Exchange) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            clock.now += 0.2

    outcome = answered(stubborn)
    await settle()
    outcome.x.fail(GatewayError("relay.client_gone"))
    await settle()
    assert blocked(caplog) == ["policy p0 blocked the event loop for 200 ms: nothing else moved meanwhile"]


def test_each_hook_is_timed_for_itself(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(monkeypatch, module)

    def busy(x: Exchange) -> None:
        clock.now += 0.06

    answered(busy, busy, busy)
    assert blocked(caplog) == []
