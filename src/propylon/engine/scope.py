"""The scope of a policy: services, stores, tasks, clock and randomness; and the record of each policy in use.

    class Policy:
        def __init__(self, config: Config, scope: Scope) -> None:
            self._keys = scope.service(config.keys_from)
            self._scope = scope

        def start(self) -> None:
            self._scope.task(self._refresh())

Rules of the file: `__init__` of a policy opens no resource, since checking a configuration makes its policies too.
Resources that outlive an exchange are opened in `start()` and released in `close()`, each `def` or `async def`.
Services and stores are those of the policy's worker, and are looked up on use, so that a policy outlives the snapshot
that it was made for.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from random import random as chance
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import start_task
from propylon.engine.pipeline import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from propylon.engine.snapshot import Snapshot
    from propylon.engine.subrequest import Subrequest, SubrequestResponse
    from propylon.state.store import Store

log = logging.getLogger("propylon.policies")


class Home(Protocol):
    """What runs policies: a worker's core."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The current snapshot; `None` before the first and after the last."""

    def store(self, name: str) -> Store:
        """Return the store of a name, shared by all policies that use the name."""


class NamedService:
    """A service by name, for requests of a policy: looked up in the current snapshot for each request."""

    __slots__ = ("_scope", "name")

    def __init__(self, scope: Scope, name: str) -> None:
        self._scope = scope
        self.name = name

    async def ask(self, request: Subrequest, *, timeout: float, limit: int) -> SubrequestResponse:
        """Send a request to the service, with the balancing and retries of its settings.

        Args:
            timeout: seconds for the whole subrequest, to the end of the body.
            limit: most bytes of the body to read; 0 reads none.

        Raises:
            GatewayError: choose.*, connect.*, attempt.*, head.*, relay.*; choose.no_endpoint also for an unknown
                service.
        """
        snapshot = self._scope.home.snapshot
        service = None if snapshot is None else snapshot.services.get(self.name)
        if service is None:
            raise GatewayError("choose.no_endpoint", log=f"there is no service {self.name!r}")
        return await request.ask(service, timeout=timeout, limit=limit)


class Scope:
    """The scope of one policy.

    Attributes:
        name: of the policy, in logs.
        clock: returns monotonic seconds.
        random: returns a float of [0, 1).
    """

    __slots__ = ("_ended", "_gate", "_home", "_stores", "_tasks", "clock", "name", "random")

    def __init__(
        self,
        name: str = "policy",
        *,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = chance,
        home: Home | None = None,
    ) -> None:
        """Make the scope of a policy, which is not started yet unless `home` is given."""
        self.name = name
        self.clock = clock
        self.random = random
        self._home = home
        self._gate: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stores: dict[str, Store] = {}
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "at work" if self._home is not None else "not started"
        return f"<Scope of {self.name}, {state}, {len(self._tasks)} tasks>"

    @property
    def home(self) -> Home:
        """The core that runs the policy. Raises `RuntimeError` before the policy is started."""
        if self._home is None:
            raise RuntimeError(f"policy {self.name} is not started: services and stores are there from start() on")
        return self._home

    def service(self, name: str) -> NamedService:
        """Return a service by its name in the configuration, for subrequests."""
        return NamedService(self, name)

    def store(self, name: str) -> Store:
        """Return a store, shared by all policies of the worker that use the same name.

        It keeps its entries until the last of these policies ends.

        Raises:
            RuntimeError: the policy has not been started.
        """
        if name not in self._stores:
            self._stores[name] = self.home.store(name)
        return self._stores[name]

    def task(self, work: Coroutine[Any, Any, Any], *, finish: bool = False) -> asyncio.Task[Any]:
        """Run a coroutine as a Task apart from exchanges; its exception is logged.

        One that is started in `start()` runs as soon as the snapshot is in use.

        Args:
            finish: at the end of the policy or of the gateway, wait for the task instead of cancelling it.

        Raises:
            RuntimeError: the policy has ended.
        """
        if self._ended:
            work.close()
            raise RuntimeError(f"policy {self.name} has ended")
        begun = self._gate is None or self._gate.is_set()
        task = start_task(work if begun else self._after_gate(work), self.name)
        self._tasks.add(task)
        if finish:
            BACKGROUND.add(task)

        def done(task: asyncio.Task[Any]) -> None:
            work.close()  # it may never have been started
            self._forget(task)

        task.add_done_callback(done)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        BACKGROUND.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of policy %s raised", self.name, exc_info=error)

    # for the core

    def attach(self, home: Home, gate: asyncio.Event) -> None:
        """Attach the policy to `home`; its tasks wait for `gate`, which is set when the snapshot is in use."""
        self._home = home
        self._gate = gate
        self._ended = False

    async def _after_gate(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._gate is not None
        await self._gate.wait()
        return await work

    @property
    def rests(self) -> bool:
        """Whether it has no task."""
        return not self._tasks

    def cancel(self, *, finishing: bool = False) -> None:
        """Cancel its tasks; those with `finish` only if `finishing`."""
        for task in self._tasks if finishing else self._tasks - BACKGROUND:
            task.cancel()

    async def end(self) -> None:
        """Cancel its tasks, wait for the end of all, and allow no further ones."""
        self.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._ended = True
        self._stores.clear()


@dataclass(slots=True, eq=False)
class PlacedPolicy:
    """A policy in use, kept across reloads while place, name and settings stay the same.

    Attributes:
        place: identifies its list: the gateway's, a service's or a route's.
        where: the keys of that list when the policy was made, for messages.
        name: its name in that list.
        settings: to compare with those of another configuration.
        conditions: its `when` and `unless`, which distinguish two policies of equal settings.
    """

    place: Hashable
    where: str
    name: str
    settings: Any
    conditions: object
    policy: object
    scope: Scope
