"""What a policy is given besides its settings, and what is known of each policy that lives.

    class Policy:
        def __init__(self, config: Config, scope: Scope) -> None:
            self._keys = scope.service(config.keys_from)
            self._scope = scope

        def start(self) -> None:
            self._scope.task(self._refresh())

Rules of the file: a policy takes hold of nothing when it is made, since a configuration that is only checked makes its
policies too; what it needs beyond one exchange it opens in `start()` and gives back in `close()`, each `def` or
`async def`. Services and stores are those of the worker it works in, and are found when they are asked for, so that a
policy outlives the configuration it was made in.
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
    """Where policies work: a worker, or what stands for one."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The configuration of now; `None` before the first and after the last."""

    def store(self, name: str) -> Store:
        """Return the store of a name; all who ask for the same name share it."""


class NamedService:
    """A service as a policy asks it: the one that has this name when a request is sent."""

    __slots__ = ("_scope", "name")

    def __init__(self, scope: Scope, name: str) -> None:
        self._scope = scope
        self.name = name

    async def ask(self, request: Subrequest, *, timeout: float, limit: int) -> SubrequestResponse:
        """Send a request to the service, balanced and tried as its settings say.

        Args:
            timeout: seconds for all of it, to the end of the body.
            limit: bytes of the body that are read at the most; 0 if nobody wants it.

        Raises:
            GatewayError: choose.*, connect.*, attempt.*, head.*, relay.*; choose.no_endpoint too if there is no service
                of this name.
        """
        snapshot = self._scope.home.snapshot
        service = None if snapshot is None else snapshot.services.get(self.name)
        if service is None:
            raise GatewayError("choose.no_endpoint", log=f"there is no service {self.name!r}")
        return await request.ask(service, timeout=timeout, limit=limit)


class Scope:
    """What one policy is given.

    Attributes:
        name: what logs call the policy.
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
        """Make the scope of a policy that is not at work yet, unless it has a `home` already."""
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
        """Where the policy works. Raises `RuntimeError` before it has been started."""
        if self._home is None:
            raise RuntimeError(f"policy {self.name} is not started: services and stores are there from start() on")
        return self._home

    def service(self, name: str) -> NamedService:
        """Return a service by its name in the configuration, to send requests to."""
        return NamedService(self, name)

    def store(self, name: str) -> Store:
        """Return a store, which all policies of the worker share that ask for it by the same name.

        It keeps its entries as long as one of these policies lives.

        Raises:
            RuntimeError: the policy has not been started.
        """
        if name not in self._stores:
            self._stores[name] = self.home.store(name)
        return self._stores[name]

    def task(self, work: Coroutine[Any, Any, Any], *, finish: bool = False) -> asyncio.Task[Any]:
        """Run a coroutine beside all exchanges; what it raises is logged.

        One that is begun in `start()` runs as soon as the configuration is in use.

        Args:
            finish: let it come to its end when the policy, or the gateway, ends; otherwise it is cancelled then.

        Raises:
            RuntimeError: the policy has ended.
        """
        if self._ended:
            work.close()
            raise RuntimeError(f"policy {self.name} has ended")
        begun = self._gate is None or self._gate.is_set()
        task = start_task(work if begun else self._behind_gate(work), self.name)
        self._tasks.add(task)
        if finish:
            BACKGROUND.add(task)

        def done(task: asyncio.Task[Any]) -> None:
            work.close()  # it may never have begun
            self._forget(task)

        task.add_done_callback(done)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        BACKGROUND.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of policy %s raised", self.name, exc_info=error)

    # what keeps the policy

    def attach(self, home: Home, gate: asyncio.Event) -> None:
        """Let the policy work at `home`; its tasks wait for `gate`, which is set when the configuration is in use."""
        self._home = home
        self._gate = gate
        self._ended = False

    async def _behind_gate(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._gate is not None
        await self._gate.wait()
        return await work

    @property
    def rests(self) -> bool:
        """Whether it has no task."""
        return not self._tasks

    def cancel(self, *, finishing: bool = False) -> None:
        """Cancel its tasks; those that are to finish only if `finishing`."""
        for task in self._tasks if finishing else self._tasks - BACKGROUND:
            task.cancel()

    async def end(self) -> None:
        """Wait for the end of every task; there will be no further ones."""
        self.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._ended = True
        self._stores.clear()


@dataclass(slots=True, eq=False)
class PlacedPolicy:
    """A policy at its place: the same one as long as place, name and settings stay the same.

    Attributes:
        place: the list that it stands in: the gateway's, a service's or a route's.
        where: the keys that led there when it was made, for messages.
        name: what it is called in that list.
        settings: what it was made of, to be compared with those of another configuration.
        conditions: its `when` and `unless`, which tell two of the same settings apart.
    """

    place: Hashable
    where: str
    name: str
    settings: Any
    conditions: object
    policy: object
    scope: Scope
