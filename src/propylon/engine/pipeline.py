"""Policies, compiled: one tuple of hooks a phase, so that a phase nobody uses costs nothing.

A plain `def` hook is called. What an `async def` hook returns runs as a real asyncio Task, so that timeouts, context
variables and every asyncio library work in it; the exchange waits for it, and cancels it when it ends before. Hooks
are interpreted Python that anybody may write: each is timed, so that one that blocks the loop is named in the log,
and each may raise, which ends its own exchange with a 500 and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import BLOCKING_SECONDS, blocked, is_awaitable, start_task, wait_for
from propylon.engine.message import Response
from propylon.engine.pending import Pending
from propylon.phases import PHASES

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


Hook = Callable[..., Any]
NamedHook = tuple[Hook, str]
Condition = Callable[["Exchange"], bool]

log = logging.getLogger("propylon.policies")
BACKGROUND: set[asyncio.Task[Any]] = set()  # asyncio holds Tasks weakly: this keeps those that nobody awaits


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy where it stands in a list.

    Attributes:
        name: what logs and `explain` call it.
        policy: an object with hooks, or a callable, which is an `on_request` hook.
        condition: whether it applies to an exchange (`when:`, `unless:`); `None` applies always.
    """

    name: str
    policy: object
    condition: Condition | None = None

    def hook(self, phase: str) -> Hook | None:
        """Return the policy's hook for a phase, its condition included; `None` if it has none."""
        hook: Hook | None = getattr(self.policy, phase, None)
        if hook is None and phase == "on_request" and callable(self.policy) and not self._has_hooks():
            hook = self.policy
        if hook is None or self.condition is None:
            return hook
        return _conditional(hook, self.condition, keeps_data=phase.endswith("_chunk"))

    def _has_hooks(self) -> bool:
        return any(hasattr(self.policy, phase) for phase in PHASES)

    def phases(self) -> list[str]:
        """Name the phases this policy takes part in."""
        return [phase for phase in PHASES if self.hook(phase) is not None]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The hooks of one route, a tuple a phase, in the order of the configuration: gateway, service, route."""

    on_request: tuple[NamedHook, ...] = ()
    on_attempt: tuple[NamedHook, ...] = ()
    on_response: tuple[NamedHook, ...] = ()
    on_request_chunk: tuple[NamedHook, ...] = ()
    on_response_chunk: tuple[NamedHook, ...] = ()
    on_message: tuple[NamedHook, ...] = ()
    on_error: tuple[NamedHook, ...] = ()
    on_done: tuple[NamedHook, ...] = ()


def compile_pipeline(uses: Iterable[PolicyUse]) -> Pipeline:
    """Sort the hooks of policies by phase."""
    listed = list(uses)

    def named(phase: str) -> tuple[NamedHook, ...]:
        return tuple((hook, use.name) for use in listed if (hook := use.hook(phase)) is not None)

    return Pipeline(**{phase: named(phase) for phase in PHASES})


def _conditional(hook: Hook, condition: Condition, keeps_data: bool) -> Hook:
    """Ask the condition once an exchange, so that all phases of a policy apply or none does."""
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
    """Run hooks in order until one answers.

    Raises:
        GatewayError: request.policy_failed if a hook raised; whatever ended the exchange meanwhile.
    """
    begun = monotonic()
    for hook, name in hooks:
        try:
            answer = hook(x)
            if (now := monotonic()) - begun > BLOCKING_SECONDS:
                blocked(name, now - begun)
            if answer is not None and type(answer) is not Response:
                answer = await outcome(x, answer, name)
                now = monotonic()
                if answer is not None and not isinstance(answer, Response):
                    raise TypeError(f"policy {name} returned {answer!r}: it may return a Response or None")
        except GatewayError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            raise failed(x, name, "request.policy_failed", error) from error
        if answer is not None:
            return answer
        begun = now
    return None


async def run_all(
    x: Exchange, hooks: tuple[NamedHook, ...], *rest: object, code: str = "response.policy_failed"
) -> None:
    """Run every hook in order, whatever they return.

    Raises:
        GatewayError: `code` if a hook raised; whatever ended the exchange meanwhile.
    """
    begun = monotonic()
    for hook, name in hooks:
        try:
            result = hook(x, *rest)
            if (now := monotonic()) - begun > BLOCKING_SECONDS:
                blocked(name, now - begun)
            if result is not None:
                await outcome(x, result, name)
                now = monotonic()
        except GatewayError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            raise failed(x, name, code, error) from error
        begun = now


def run_done(x: Exchange, hooks: tuple[NamedHook, ...]) -> None:
    """Tell every hook that the exchange is over. Nothing waits for what an async one still does."""
    begun = monotonic()
    for hook, name in hooks:
        try:
            result = hook(x)
            if result is not None and is_awaitable(result):
                task = start_task(result, name)
                BACKGROUND.add(task)
                task.add_done_callback(lambda task, name=name: _forget(task, x, name))  # type: ignore[misc]
        except (Exception, asyncio.CancelledError) as error:
            log_failure(x, name, error)
        if (now := monotonic()) - begun > BLOCKING_SECONDS:
            blocked(name, now - begun)
        begun = now


async def settled() -> None:
    """Wait for what async on_done policies still do in this loop."""
    loop = asyncio.get_running_loop()
    while tasks := [task for task in BACKGROUND if task.get_loop() is loop]:
        await asyncio.wait(tasks)


def _forget(task: asyncio.Task[Any], x: Exchange, name: str) -> None:
    BACKGROUND.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log_failure(x, name, error)


async def outcome(x: Exchange, result: object, name: str) -> Any:
    """Return what a hook has returned, or what it is to wait for.

    Raises what an async hook raised, or whatever ended the exchange meanwhile.
    """
    if isinstance(result, Pending):
        return await result.wait()
    return await wait_for(x, result, name) if is_awaitable(result) else result


def failed(x: Exchange, name: str, code: str, error: BaseException) -> GatewayError:
    """Log an exception with its traceback, and return the error the client gets instead."""
    log_failure(x, name, error)
    return GatewayError(code, log=f"policy {name} raised")


def log_failure(x: Exchange, name: str, error: BaseException) -> None:
    """Log an exception of a policy with its traceback."""
    log.error("policy %s raised in exchange %s", name, x.request_id or "-", exc_info=error)
