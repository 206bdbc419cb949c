"""Async hooks: each runs as an asyncio Task, so that every library of asyncio works in it.

Most of them end without having waited for anything, and a Task of their own would cost turns of the event loop. So the
first step is made at once, as a spare Task that is parked (`asyncio.current_task` returns it, and the context variables
are the hook's own). A hook that has ended with it leaves the Task parked for the next one. A hook that waits keeps it:
the Task drives all further steps, and the next hook gets another one. Python 3.12 has eager Tasks for this purpose.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # for other implementations of Tasks ("Extending asyncio")
from collections.abc import Awaitable, Coroutine
from contextvars import Context, copy_context
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from propylon.engine import lines

if TYPE_CHECKING:
    from collections.abc import Generator

    from propylon.engine.exchange import Exchange

BLOCKING_SECONDS: Final = 0.1  # a policy's step that blocks the loop for longer is logged


def is_awaitable(result: object) -> TypeGuard[Awaitable[Any]]:
    """Return whether a hook's result must be awaited."""
    return type(result) is CoroutineType or isinstance(result, Awaitable)


async def wait_for(x: Exchange, work: Awaitable[Any], name: str) -> Any:
    """Wait for an async hook, and return its result.

    Raises the hook's exception, or the failure that ends the exchange; then the hook is cancelled.
    """
    loop = asyncio.get_running_loop()
    if asyncio.current_task(loop) is None:  # within another Task, that would have to be left first
        result = _first_step(loop, _coroutine(work), name, x)
        if not isinstance(result, HookTask):
            return result
        task = result.leave()
        del result
    else:
        task = start_task(work, name, x)
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
        del task  # its exception refers to this frame: a cycle that only the collector would free


def _first_step(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], name: str, x: Exchange) -> Any:
    """Make the first step of a hook as the spare Task: return its result, or what makes the other steps."""
    global _spare
    spare = _spare
    if spare is None or not spare.usable(loop):
        spare = _spare = HookTask(loop)
    try:
        spare.begin(loop, work, name, x)
    except StopIteration as stop:
        return stop.value
    _spare = None
    return spare


def start_task(work: Awaitable[Any], name: str, x: Exchange | None = None) -> asyncio.Task[Any]:
    """Run an async hook's awaitable as a Task, from the next turn of the event loop on.

    Args:
        name: of the policy, for the log.
        x: the exchange that it runs for, for the log; `None` if there is none.
    """
    made = HookTask(asyncio.get_running_loop())
    made.assign(_coroutine(work), name, x)
    return made.leave()


class HookTask(Coroutine[Any, Any, Any]):
    """A Task that makes the steps of hooks, and its coroutine: parked, until a hook waits for something.

    All steps run in the context of the hook. They are timed, so that a hook that blocks the loop after an `await` is
    logged too.
    """

    __slots__ = ("_awaited", "_context", "_exchange", "_loop", "_name", "_parked", "_stepped", "_task", "_work")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._work: Coroutine[Any, Any, Any] | None = None
        self._parked: asyncio.Future[None] | None = None
        self._stepped = False  # a first step was made before the Task had its turn
        self._awaited: Any = None
        self._task: asyncio.Task[Any] | None = loop.create_task(self)

    def usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether its Task is parked in `loop`, and nothing has cancelled it."""
        task = self._task
        return self._loop is loop and task is not None and not task.done() and not task.cancelling()

    def assign(self, work: Coroutine[Any, Any, Any], name: str, x: Exchange | None) -> None:
        """Let the Task drive a hook from its first step on."""
        self._work, self._name, self._exchange, self._context = work, name, x, copy_context()

    def begin(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], name: str, x: Exchange) -> None:
        """Make the first step of a hook as this Task; if the hook waits, the Task will drive it.

        Raises what the step raises: `StopIteration` with the result of a hook that has ended.
        """
        self._name, context = name, copy_context()  # a parked Task keeps no context, nor what it refers to
        task = self._task
        assert task is not None
        _enter_task(loop, task)
        try:
            self._awaited = self._step(context, work, None, x)
        finally:
            _leave_task(loop, task)
        self._work, self._exchange, self._context, self._stepped = work, x, context, True

    def leave(self) -> asyncio.Task[Any]:
        """Return the Task, which is not parked any longer."""
        task, self._task = self._task, None  # a Task refers to its coroutine: no cycle is left
        assert task is not None
        if self._parked is not None:
            _log_if_destroyed(task, True)
            if not self._parked.done():
                self._parked.set_result(None)
            self._parked = None
        return task

    def send(self, value: Any) -> Any:
        """Park in the first turn; step the hook in others."""
        work = self._work
        if work is None:
            _log_if_destroyed(self._task, False)  # a parked Task may end with its loop
            self._parked = self._loop.create_future()
            return next(iter(self._parked))
        if self._stepped:
            self._stepped = False
            if self._awaited is not None:
                return self._awaited
            # A bare yield, as of asyncio.sleep(0), asked for a turn of the event loop: this is it.
        return self._step(self._context, work, value, self._exchange)

    def throw(self, *error: Any) -> Any:
        """Step the hook with an exception; without a hook, end."""
        if self._work is None:
            raise error[0]
        if self._stepped:
            self._stepped = False
            if isinstance(self._awaited, asyncio.Future):
                self._awaited.cancel()  # the Task has no reference to it yet
        begun = monotonic()
        try:
            return self._context.run(self._work.throw, *error)
        finally:
            check_blocking(self._name, begun, self._exchange)

    def close(self) -> None:
        """Close the hook's coroutine."""
        if self._work is not None:
            self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError

    def _step(self, context: Context, work: Coroutine[Any, Any, Any], value: Any, x: Exchange | None) -> Any:
        begun = monotonic()
        try:
            return context.run(work.send, value)
        finally:
            if (seconds := monotonic() - begun) > BLOCKING_SECONDS:
                lines.blocked(self._name, seconds, x)


def _log_if_destroyed(task: Any, log_it: bool) -> None:
    task._log_destroy_pending = log_it


def _coroutine(work: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    return work if type(work) is CoroutineType else _awaited(work)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def check_blocking(name: str, begun: float, x: Exchange | None = None) -> None:
    """Log a policy that has blocked the event loop since `begun` (`time.monotonic`)."""
    if (seconds := monotonic() - begun) > BLOCKING_SECONDS:
        lines.blocked(name, seconds, x)


_spare: HookTask | None = None
