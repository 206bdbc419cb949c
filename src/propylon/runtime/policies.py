"""The policies at work: started before a configuration takes effect, closed when they are no longer in use.

Rules of the file:

- Policies of a new configuration are started after everything else of it has been checked. If one cannot be started,
  those started before it are closed, and the current ones are not affected.
- A policy that a new configuration does not reuse is closed when the last snapshot with it is freed. An exchange holds
  its snapshot, so until then a hook of the policy may still be called, hours later by a tunnel; afterwards it cannot
  be. This needs no count of exchanges.
- When the core stops, all are closed. A policy has `CLOSE_SECONDS` to close.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.build.errors import StartError
from propylon.engine.hook_task import check_blocking, is_awaitable, start_task
from propylon.state.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.scope import PlacedPolicy
    from propylon.engine.snapshot import Snapshot

START_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 5.0

log = logging.getLogger("propylon.policies")


class Policies:
    """The policies of one core, and the environment of their scopes (`Home`).

    Attributes:
        snapshot: the current snapshot.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` returns monotonic seconds, for the expiry of stores."""
        self.snapshot: Snapshot | None = None
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Event()
        self._snapshots: dict[
            PlacedPolicy, int
        ] = {}  # the number of snapshots, in use or being started, of each policy
        self._next: tuple[PlacedPolicy, ...] = ()
        self._new: list[PlacedPolicy] = []
        self._started: list[PlacedPolicy] = []
        self._closing: dict[asyncio.Task[None], PlacedPolicy] = {}
        self._stores: weakref.WeakValueDictionary[str, MemoryStore] = weakref.WeakValueDictionary()

    @property
    def current(self) -> tuple[PlacedPolicy, ...]:
        """The policies of the current snapshot."""
        return () if self.snapshot is None else self.snapshot.policies

    @property
    def living(self) -> tuple[PlacedPolicy, ...]:
        """The policies of all snapshots in use, and those being closed."""
        return (*self._snapshots, *self._closing.values())

    def store(self, name: str) -> MemoryStore:
        """Return the store of a name, which is freed with the last policy that uses it."""
        store = self._stores.get(name)
        if store is None:
            store = self._stores[name] = MemoryStore(self._clock)
        return store

    async def start(self, snapshot: Snapshot) -> None:
        """Start the policies of a snapshot that are not at work yet, in the order of the configuration.

        Must be followed by `enter` or `abandon`. A repeated call for the same snapshot has no effect.

        Raises:
            StartError: one of them cannot be started; those already started are closed again.
        """
        if self._next is snapshot.policies:
            return
        self._loop = asyncio.get_running_loop()
        self._next = snapshot.policies
        self._new = [placed for placed in snapshot.policies if placed not in self._snapshots]
        for placed in snapshot.policies:
            self._snapshots[placed] = self._snapshots.get(placed, 0) + 1
        try:
            if being_closed := [task for task, placed in self._closing.items() if placed in self._snapshots]:
                await asyncio.wait(being_closed)  # an object that a program has removed and added again
            for placed in self._new:
                placed.scope.attach(self, self._gate)
                if hasattr(placed.policy, "start"):
                    await self._start(placed)
                self._started.append(placed)
        except BaseException:
            await self.abandon()
            raise

    async def _start(self, placed: PlacedPolicy) -> None:
        try:
            await _call(placed, "start", START_SECONDS)
        except BaseException as error:  # policies are user code
            placed.scope.cancel(finishing=True)
            await placed.scope.end()
            if not isinstance(error, Exception):
                raise
            reason = str(error) or type(error).__name__
            raise StartError(f"{placed.where}: policy {placed.name}: {reason}") from error

    async def abandon(self) -> None:
        """Close the policies that were started for an abandoned snapshot."""
        started, self._started = self._started, []
        for placed in self._new:
            self._snapshots.pop(placed, None)
        self._leave(self._next)
        self._next, self._new = (), []
        await asyncio.gather(*map(_close_now, filter(_holds_something, started)))

    def enter(self, snapshot: Snapshot) -> None:
        """Make a started snapshot the current one; policies without a snapshot in use are closed."""
        self.snapshot = snapshot
        self._next, self._new, self._started = (), [], []
        gate, self._gate = self._gate, asyncio.Event()
        gate.set()
        if self._loop is not None:  # `None` before the first `start`
            freed = weakref.finalize(snapshot, _post, self._loop, self._leave, snapshot.policies)
            freed.atexit = False

    def _leave(self, policies: tuple[PlacedPolicy, ...]) -> None:
        """Decrement the snapshot counts of the policies of a freed snapshot, and close those at zero."""
        for placed in policies:
            left = self._snapshots.get(placed, 0) - 1
            if left > 0:
                self._snapshots[placed] = left
            elif self._snapshots.pop(placed, None) is not None and _holds_something(placed):
                task = asyncio.get_running_loop().create_task(_close(placed), name=f"propylon close {placed.name}")
                self._closing[task] = placed
                task.add_done_callback(self._closing.pop)

    async def close(self) -> None:
        """Close all policies, including those already being closed; their tasks are cancelled."""
        await self.abandon()
        self.snapshot = None
        left, self._snapshots = list(filter(_holds_something, self._snapshots)), {}
        closing = dict(self._closing)
        for placed in closing.values():
            placed.scope.cancel(finishing=True)
        await asyncio.gather(*map(_close_now, left))
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_SECONDS)
            for task in closing:
                task.cancel()
            await asyncio.gather(*closing, return_exceptions=True)


def _holds_something(placed: PlacedPolicy) -> bool:
    return not placed.scope.rests or hasattr(placed.policy, "close")


async def _close_now(placed: PlacedPolicy) -> None:
    placed.scope.cancel(finishing=True)
    await _close(placed, CLOSE_SECONDS)


async def _close(placed: PlacedPolicy, patience: float | None = None) -> None:
    """Wait for the tasks of a policy, then close it.

    Args:
        patience: timeout of the tasks in seconds; `None` for no limit.
    """
    try:
        async with asyncio.timeout(patience):
            await placed.scope.end()
    except TimeoutError:
        log.error("a task of policy %s does not end when it is cancelled", placed.scope.name)
    try:
        if hasattr(placed.policy, "close"):
            await _call(placed, "close", CLOSE_SECONDS)
    except Exception as error:  # the others must still be closed
        log.error("policy %s could not be closed", placed.scope.name, exc_info=error)


async def _call(placed: PlacedPolicy, hook: str, seconds: float) -> None:
    """Call `start` or `close` of a policy.

    Raises its exceptions, and `TimeoutError` after that many seconds.
    """
    begun = monotonic()
    try:
        async with asyncio.timeout(seconds) as limit:
            try:
                result = getattr(placed.policy, hook)()
            finally:
                check_blocking(placed.scope.name, begun)
            if is_awaitable(result):
                await start_task(result, placed.scope.name)
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"{hook}() takes more than {seconds:g} s") from None
        raise


def _post(
    loop: asyncio.AbstractEventLoop,
    leave: Callable[[tuple[PlacedPolicy, ...]], None],
    policies: tuple[PlacedPolicy, ...],
) -> None:
    """Schedule `leave` in the event loop; the last reference to a snapshot may be dropped in any thread."""
    with suppress(RuntimeError):  # the loop is closed, and so are the policies
        loop.call_soon_threadsafe(leave, policies)
