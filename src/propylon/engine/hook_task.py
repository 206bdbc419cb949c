"""Async hooks: each runs as an asyncio Task of its own, so that every asyncio library works in it.

Most hooks end without waiting for anything, and a Task costs two turns of the event loop. So the first step is made at
once, as that Task (with its `asyncio.current_task` and context variables), and the exchange continues if the hook has
ended. Python 3.12 has the same as eager Tasks; here the Task still gets its turn, and only returns the result.
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
    context = copy_context()
    steps = HookSteps(_coroutine(work), name, context)
    task = loop.create_task(steps, context=context)
    if asyncio.current_task(loop) is None:  # within another Task, that would have to be left first
        steps.begin(loop, task)
        if steps.done:
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


def start_task(work: Awaitable[Any], name: str) -> asyncio.Task[Any]:
    """Run an async hook's awaitable as a Task, from the next turn of the event loop on."""
    context = copy_context()
    return asyncio.get_running_loop().create_task(HookSteps(_coroutine(work), name, context), context=context)


class HookSteps(Coroutine[Any, Any, Any]):
    """The coroutine of a hook, whose first step may be made before its Task has its turn.

    Its steps are timed, so that a hook that blocks the loop after an `await` is logged too.

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
        """Make the first step as `task`, which must not have been stepped."""
        self._begun = True
        _enter_task(loop, task)
        try:
            self._awaited = self._context.run(self._step, None)
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
            if self.done:
                raise StopIteration
            return self._awaited
        return self._step(value)

    def throw(self, *error: Any) -> Any:
        """Step the coroutine with an exception."""
        if self._begun:
            self._begun = False
            if self.done:
                raise StopIteration
            if isinstance(self._awaited, asyncio.Future):
                self._awaited.cancel()  # the Task has no reference to it yet
        return self._work.throw(*error)

    def close(self) -> None:
        """Close the coroutine."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()

    def _step(self, value: Any) -> Any:
        begun = monotonic()
        try:
            return self._work.send(value)
        finally:
            if (seconds := monotonic() - begun) > BLOCKING_SECONDS:
                blocked(self._name, seconds)


def _coroutine(work: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    return work if type(work) is CoroutineType else _awaited(work)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def blocked(name: str, seconds: float) -> None:
    """Log a policy that blocked the event loop."""
    log.warning("policy %s blocked the event loop for %.0f ms: nothing else moved meanwhile", name, seconds * 1000)
