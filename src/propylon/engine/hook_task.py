"""Async hooks: each runs as an asyncio Task, so that every library of asyncio works in it.

Most of them end without having waited for anything, and a Task of their own would cost turns of the event loop. So the
first step is made at once, as a spare Task that is parked (`asyncio.current_task` returns it, and the context variables
are the hook's own). A hook that has ended with it leaves the Task parked for the next one. A hook that waits keeps it:
the Task drives all further steps, and the next hook gets another one. Python 3.12 has eager Tasks for this purpose.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.tasks import _enter_task, _leave_task  # for other implementations of Tasks ("Extending asyncio")
from collections.abc import Awaitable, Coroutine
from contextvars import Context, copy_context
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Generator

    from propylon.engine.exchange import Exchange

BLOCKING_SECONDS: Final = 0.1  # a policy's step that blocks the loop for longer is logged

log = logging.getLogger("propylon.policies")


def is_awaitable(result: object) -> TypeGuard[Awaitable[Any]]:
    """Return whether a hook's result must be awaited."""
    return type(result) is CoroutineType or isinstance(result, Awaitable)


async def wait_for(x: Exchange, work: Awaitable[Any], name: str) -> Any:
    """Wait for an async hook, and return its result.

    Raises the hook's exception, or the failure that ends the exchange; then the hook is cancelled.
    """
    loop = asyncio.get_running_loop()
    steps = HookSteps(_coroutine(work), name, copy_context())
    task = _first_step(steps, loop)
    if task is None:
        return steps.result()
    task.add_done_callback(x.wake)
    x.arm_policy(task)
    try:
        while not task.done():
            await x.pause()
    except BaseException:
        task.cancel()
        raise
    finally:
        x.disarm_policy(task)
    if task.cancelled():
        raise RuntimeError(f"policy {name} cancelled itself")
    try:
        return task.result()
    finally:
        del task  # as in `HookSteps.result`


def _first_step(steps: HookSteps, loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    """Make the first step of a hook, and return the Task that makes the others; `None` if there are none."""
    global _spare
    if asyncio.current_task(loop) is not None:  # it would have to be left first
        return loop.create_task(steps)
    spare = _spare
    if spare is None or not spare.usable(loop):
        spare = _spare = SpareTask(loop)
    steps.begin(loop, spare.task)
    if steps.done:
        return None
    _spare = None
    return spare.run(steps)


def start_task(work: Awaitable[Any], name: str) -> asyncio.Task[Any]:
    """Run an async hook's awaitable as a Task, from the next turn of the event loop on."""
    return asyncio.get_running_loop().create_task(HookSteps(_coroutine(work), name, copy_context()))


class HookSteps(Coroutine[Any, Any, Any]):
    """The coroutine of a hook, whose first step may be made before its Task has its turn.

    All steps run in the context of the hook, whichever Task makes them. They are timed, so that a hook that blocks the
    loop after an `await` is logged too.

    Attributes:
        done: it ended in the first step.
    """

    __slots__ = ("_awaited", "_begun", "_context", "_error", "_name", "_value", "_work", "done")

    def __init__(self, work: Coroutine[Any, Any, Any], name: str, context: Context) -> None:
        self._work = work
        self._name = name
        self._context = context
        self._begun = self.done = False
        self._awaited: Any = None
        self._value: Any = None
        self._error: BaseException | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
        """Make the first step as `task`."""
        self._begun = True
        _enter_task(loop, task)
        try:
            self._awaited = self._step(None)
        except StopIteration as stop:
            self.done, self._value = True, stop.value
        except BaseException as error:
            self.done, self._error = True, error
        finally:
            _leave_task(loop, task)

    def result(self) -> Any:
        """Return the result of the first step, or raise its exception."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame: a cycle that only the collector would free
        return self._value

    def send(self, value: Any) -> Any:
        """Step the coroutine, or return what the first step yielded."""
        if self._begun:
            self._begun = False
            return self._awaited
        return self._step(value)

    def throw(self, *error: Any) -> Any:
        """Step the coroutine with an exception."""
        if self._begun:
            self._begun = False
            if isinstance(self._awaited, asyncio.Future):
                self._awaited.cancel()  # the Task has no reference to it yet
        return self._context.run(self._work.throw, *error)

    def close(self) -> None:
        """Close the coroutine."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()

    def _step(self, value: Any) -> Any:
        begun = monotonic()
        try:
            return self._context.run(self._work.send, value)
        finally:
            if (seconds := monotonic() - begun) > BLOCKING_SECONDS:
                blocked(self._name, seconds)


class SpareTask:
    """A Task that is parked until a hook needs it.

    Attributes:
        task: the Task.
    """

    __slots__ = ("_loop", "_parking", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parking = _Parking(loop.create_future())
        self.task: asyncio.Task[Any] = loop.create_task(self._parking)
        self.task._log_destroy_pending = False  # type: ignore[attr-defined]  # one that is parked may go with its loop

    def usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether it is parked in `loop`, and nothing has cancelled it."""
        return self._loop is loop and not self.task.done() and not self.task.cancelling()

    def run(self, steps: HookSteps) -> asyncio.Task[Any]:
        """Let the Task drive the hook whose first step it has made, and return it."""
        self.task._log_destroy_pending = True  # type: ignore[attr-defined]
        self._parking.leave(steps)
        return self.task


class _Parking(Coroutine[Any, Any, Any]):
    """The coroutine of a spare Task: it waits for a future, and then is the coroutine of a hook."""

    __slots__ = ("_future", "_steps")

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future: asyncio.Future[None] | None = future
        self._steps: HookSteps | None = None

    def leave(self, steps: HookSteps) -> None:
        """Become the coroutine of a hook."""
        self._steps = steps
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(None)

    def send(self, value: Any) -> Any:
        """Park in the first turn; then step the hook."""
        if self._steps is not None:
            return self._steps.send(value)
        assert self._future is not None
        return next(iter(self._future))

    def throw(self, *error: Any) -> Any:
        """Step the hook with an exception; without one, end."""
        if self._steps is not None:
            return self._steps.throw(*error)
        raise error[0]

    def close(self) -> None:
        """Close the hook's coroutine."""
        if self._steps is not None:
            self._steps.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError


_spare: SpareTask | None = None


def _coroutine(work: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    return work if type(work) is CoroutineType else _awaited(work)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def blocked(name: str, seconds: float) -> None:
    """Log a policy that blocked the event loop."""
    log.warning("policy %s blocked the event loop for %.0f ms: nothing else moved meanwhile", name, seconds * 1000)
