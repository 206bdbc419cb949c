"""Compiled policies: one tuple of hooks for each phase, so that an unused phase costs nothing.

A plain `def` hook is called. An `async def` hook runs as an asyncio Task, so that timeouts, context variables and every
asyncio library work in it; the exchange waits for it, and cancels it if the exchange ends before. Hooks are third-party
code: each is timed, so that one that blocks the event loop is logged, and an exception ends only its own exchange, with
a 500.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from propylon.engine import lines
from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import BLOCKING_SECONDS, check_blocking, is_awaitable, start_task, wait_for
from propylon.engine.pending import Pending
from propylon.engine.response import Response
from propylon.phases import PHASES

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


Hook = Callable[..., Any]
NamedHook = tuple[Hook, str]
Condition = Callable[["Exchange"], bool]

BACKGROUND: set[asyncio.Task[Any]] = set()  # asyncio holds Tasks weakly: this keeps those that are not awaited


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy as an entry of a list.

    Attributes:
        name: its name in the configuration.
        policy: an object with hooks, or a callable, which is an `on_request` hook.
        condition: whether it applies to an exchange (`when:`, `unless:`); `None` applies always.
        label: its name in the log: for one in Python, its module and function or class; by default `name`.
    """

    name: str
    policy: object
    condition: Condition | None = None
    label: str = ""

    def hook(self, phase: str) -> Hook | None:
        """Return the policy's hook for a phase, its condition included; `None` if it has none."""
        hook: Hook | None = getattr(self.policy, phase, None)
        if hook is None and phase == "on_request" and callable(self.policy) and not self._has_hooks():
            hook = self.policy
        if hook is None or self.condition is None:
            return hook
        return _conditional(hook, self.condition, keeps_data=phase.endswith("_chunk"))

    def is_async(self, phase: str) -> bool:
        """Return whether the hook for a phase is an `async def`."""
        return inspect.iscoroutinefunction(getattr(self.policy, phase, None))

    def _has_hooks(self) -> bool:
        return any(hasattr(self.policy, phase) for phase in PHASES)

    def phases(self) -> list[str]:
        """Return the phases that the policy has hooks for."""
        return [phase for phase in PHASES if self.hook(phase) is not None]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The hooks of one route by phase, in the order of the configuration: gateway, service, route.

    Attributes:
        changes_responses: whether a hook may change a response that is passed on.
        reads_bodies: whether a hook for pieces of bodies is there, or one that may read a response: an async one.
    """

    on_request: tuple[NamedHook, ...] = ()
    on_attempt: tuple[NamedHook, ...] = ()
    on_response: tuple[NamedHook, ...] = ()
    on_request_chunk: tuple[NamedHook, ...] = ()
    on_response_chunk: tuple[NamedHook, ...] = ()
    on_message: tuple[NamedHook, ...] = ()
    on_error: tuple[NamedHook, ...] = ()
    on_done: tuple[NamedHook, ...] = ()
    reads_bodies: bool = False
    changes_responses: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes_responses", bool(self.on_response or self.on_response_chunk))


def compile_pipeline(uses: Iterable[PolicyUse]) -> Pipeline:
    """Group the hooks of policies by phase."""
    listed = list(uses)

    def named(phase: str) -> tuple[NamedHook, ...]:
        return tuple((hook, use.label or use.name) for use in listed if (hook := use.hook(phase)) is not None)

    hooks = {phase: named(phase) for phase in PHASES}
    chunks = hooks["on_request_chunk"] or hooks["on_response_chunk"]
    return Pipeline(**hooks, reads_bodies=bool(chunks) or any(use.is_async("on_response") for use in listed))


def _conditional(hook: Hook, condition: Condition, keeps_data: bool) -> Hook:
    """Wrap a hook in a condition, evaluated once for each exchange: all phases of a policy apply, or none."""
    key = f"propylon.condition.{id(condition)}"

    def conditional(x: Exchange, *rest: Any) -> Any:
        state = x.state
        if key not in state:
            state[key] = condition(x)
        if state[key]:
            return hook(x, *rest)
        return rest[0] if keeps_data else None

    return conditional


async def first_answer(x: Exchange, hooks: tuple[NamedHook, ...]) -> Response | None:
    """Run hooks in order until one returns a response.

    Raises:
        GatewayError: request.policy_failed if a hook raised; or the failure that ended the exchange.
    """
    begun = monotonic()
    for hook, name in hooks:
        try:
            answer = hook(x)
            if (now := monotonic()) - begun > BLOCKING_SECONDS:
                lines.blocked(name, now - begun, x)
            if answer is not None and type(answer) is not Response:
                begun = inf  # waiting blocks nothing
                answer = await outcome(x, answer, name)
                now = monotonic()
                if answer is not None and not isinstance(answer, Response):
                    raise TypeError(f"policy {name} returned {answer!r}: it may return a Response or None")
        except GatewayError:
            check_blocking(name, begun, x)
            raise
        except (Exception, asyncio.CancelledError) as error:
            check_blocking(name, begun, x)
            raise failed(x, name, "request.policy_failed", error) from error
        if answer is not None:
            return answer
        begun = now
    return None


async def run_all(
    x: Exchange, hooks: tuple[NamedHook, ...], *rest: object, code: str = "response.policy_failed"
) -> None:
    """Run all hooks in order; their results are ignored.

    Raises:
        GatewayError: `code` if a hook raised; or the failure that ended the exchange.
    """
    begun = monotonic()
    for hook, name in hooks:
        try:
            result = hook(x, *rest)
            if (now := monotonic()) - begun > BLOCKING_SECONDS:
                lines.blocked(name, now - begun, x)
            if result is not None:
                begun = inf  # waiting blocks nothing
                await outcome(x, result, name)
                now = monotonic()
        except GatewayError:
            check_blocking(name, begun, x)
            raise
        except (Exception, asyncio.CancelledError) as error:
            check_blocking(name, begun, x)
            raise failed(x, name, code, error) from error
        begun = now


def run_done(x: Exchange, hooks: tuple[NamedHook, ...]) -> None:
    """Run the on_done hooks. Async ones run on in the background.

    The hooks are timed together: reading the clock costs as much as a hook that counts.
    """
    x.ended = begun = monotonic()
    for hook, name in hooks:
        try:
            result = hook(x)
            if result is not None and is_awaitable(result):
                task = start_task(result, name, x)
                BACKGROUND.add(task)
                task.add_done_callback(lambda task, name=name: _forget(task, x, name))  # type: ignore[misc]
        except (Exception, asyncio.CancelledError) as error:
            lines.raised(x, name, error)
    if (now := monotonic()) - begun > BLOCKING_SECONDS:
        lines.blocked(" or ".join(name for _, name in hooks), now - begun, x)


async def settled() -> None:
    """Wait for the background Tasks of policies in this event loop."""
    loop = asyncio.get_running_loop()
    while tasks := [task for task in BACKGROUND if task.get_loop() is loop]:
        await asyncio.wait(tasks)


def _forget(task: asyncio.Task[Any], x: Exchange, name: str) -> None:
    BACKGROUND.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        lines.raised(x, name, error)


async def outcome(x: Exchange, result: object, name: str) -> Any:
    """Return a hook's result; wait for it if it is async or pending.

    Raises the exception of an async hook, or the failure that ended the exchange.
    """
    if isinstance(result, Pending):
        return await result.wait()
    return await wait_for(x, result, name) if is_awaitable(result) else result


def failed(x: Exchange, name: str, code: str, error: BaseException) -> GatewayError:
    """Log an exception with its traceback, and return the failure for the client."""
    lines.raised(x, name, error)
    return GatewayError(code, log=f"policy {name} raised")
