"""A new configuration for a gateway that runs: read and compiled beside it, then taken up at once or not at all.

Rules of the file:

- One at a time. Who asks while one is under way gets the next one, together with all others who ask until it begins:
  it reads what is there then, so the last change wins.
- Whatever is wrong, the configuration that was there goes on, the Python modules of it included, and the log has every
  problem as `propylon check` shows it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import monotonic
from traceback import clear_frames
from typing import TYPE_CHECKING, Final

from propylon.build.errors import BuildError
from propylon.build.policies_at_work import PoliciesAtWork
from propylon.build.snapshot import build_snapshot
from propylon.config.changes import CHANGED, Change, changes
from propylon.config.files import files_named
from propylon.config.load import placed
from propylon.config.problems import ConfigError
from propylon.inbound.listener import ListenError
from propylon.runtime.aside import aside
from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import ModuleType

    from propylon.config.load import Loaded
    from propylon.engine.snapshot import Snapshot
    from propylon.runtime.listeners import Plan
    from propylon.runtime.modules import Modules
    from propylon.runtime.worker import Worker
    from propylon.services.service import Service

MAX_LINES: Final = 20
"""Changes that the log has of one reload."""

COMPILE_SECONDS: Final = 60.0
"""How long compiling may take; it is the modules of others that may never end."""

log = logging.getLogger("propylon.reload")


@dataclass(frozen=True, slots=True)
class Reload:
    """A reload that succeeded.

    Attributes:
        changes: what is different now, each in words; empty if nothing is.
        seconds: how long it took.
    """

    changes: tuple[Change, ...]
    seconds: float

    def __str__(self) -> str:
        if not self.changes:
            return "nothing has changed"
        more = len(self.changes) - MAX_LINES
        return "\n".join((*map(str, self.changes[:MAX_LINES]), *([f"and {more} more"] if more > 0 else [])))


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one reload has made so far; nothing of it is in use."""

    loaded: Loaded
    snapshot: Snapshot
    plan: Plan
    known: dict[str, ModuleType]
    changes: tuple[Change, ...]
    sources: frozenset[Path]


class Reloader:
    """Reloads one gateway.

    Attributes:
        loaded: the configuration that is in use.
        around: what each reload runs within; whoever has the process to itself puts its settings there.
    """

    def __init__(
        self,
        worker: Worker,
        loaded: Loaded,
        read: Callable[[], Loaded],
        adopt: Callable[[Loaded, Snapshot], None],
        modules: Modules | None = None,
    ) -> None:
        """Make the reloader of a worker.

        Args:
            loaded: what the worker runs on now.
            read: reads the configuration anew.
            adopt: is told what is in use now, behind the swap and in the same turn of the loop.
            modules: those beside the configuration.
        """
        self.loaded = loaded
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        self._worker = worker
        self._read = read
        self._modules = modules
        self._adopt = adopt
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[Reload] | None = None
        self._given: Loaded | None = None
        self._sources = _sources(loaded)
        self._failed = self._stuck = False
        self._tasks: set[asyncio.Task[Reload]] = set()

    def files(self) -> frozenset[Path]:
        """Return the files that the configuration in use was made of, or the one that could not be used."""
        modules: frozenset[Path] = frozenset()
        if self._modules is not None:
            modules = self._modules.files
            if self._failed:
                modules |= frozenset(self._modules.folder.glob("*.py"))  # one of these may be what was missing
        return self._sources | modules

    async def reload(self, given: Loaded | None = None) -> Reload:
        """Take up the configuration that there is when its turn comes, or the one that is `given`.

        Raises:
            ConfigError, BuildError, TlsError, ListenError: it cannot be used, and nothing has changed.
        """
        self._given = given
        return await asyncio.shield(self.request())

    def request(self) -> asyncio.Task[Reload]:
        """Reload when it can be; whatever comes of it is in the log."""
        if self._next is None:
            task = self._next = asyncio.get_running_loop().create_task(self._in_turn(), name="propylon reload")
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        return self._next

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[Reload]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it is in the log, whether somebody waits or not

    async def _in_turn(self) -> Reload:
        async with self._lock:
            self._next = None
            given, self._given = self._given, None
            read = self._read if given is None else lambda: given
            try:
                done = await self._reload(read)
            except Exception as error:  # modules and policies are anybody's code
                self._failed = True
                self._tell(error)
                _release(error)
                raise
            self._failed = False
            return done

    async def _reload(self, read: Callable[[], Loaded]) -> Reload:
        begun = monotonic()
        with self.around():
            made = await self._compiled(read)
            try:
                await self._worker.take(made.snapshot, made.plan)
            except BaseException:
                self._restore(made.known)
                raise
            self.loaded = made.loaded
            self._sources = made.sources
            self._adopt(made.loaded, made.snapshot)
        done = Reload(made.changes, monotonic() - begun)
        if done.changes:
            log.info("took up the new configuration within %.2f s:\n%s", done.seconds, done)
        else:
            log.info("took up the configuration anew: %s", done)
        return done

    async def _compiled(self, read: Callable[[], Loaded]) -> Compiled:
        """Compile in a thread, for `COMPILE_SECONDS` at the most."""
        if self._stuck:
            raise BuildError("the last reload still runs: a module of its configuration does not come to an end")
        given_up = False
        services = dict(self._worker.core.directory.services)
        known = self._worker.core.policies
        policies = PoliciesAtWork(known.current, known.living)

        def compile_it() -> Compiled:
            try:
                made = self._compile(read, services, policies)
                if given_up:
                    self._restore(made.known)
                return made
            finally:
                self._stuck = False

        self._stuck = True
        try:
            async with asyncio.timeout(COMPILE_SECONDS):
                return await aside(compile_it, "propylon reload")
        except TimeoutError:
            raise BuildError(f"reading the configuration took more than {COMPILE_SECONDS:.0f} s") from None
        finally:
            given_up = True

    def _compile(self, read: Callable[[], Loaded], services: dict[str, Service], policies: PoliciesAtWork) -> Compiled:
        modules = self._modules
        digests = {} if modules is None else modules.digests()
        known = {} if modules is None else modules.forget()
        try:
            loaded = read()
            sources = _sources(loaded)
            self._sources |= sources  # also when it cannot be used: what is wrong may be put right in any of them
            at_work = replace(policies, same_code=cache(lambda: modules is None or modules.same_code(known)))
            made = build_snapshot(loaded.config, services, Path() if modules is None else modules.folder, at_work)
            plan = self._worker.listeners.stage(loaded.config.listen)
            found = changes(self.loaded, loaded)
            if modules is not None:
                found += _changed_modules(digests, modules.digests())
        except BaseException:
            self._restore(known)
            raise
        running = self._worker.core.snapshot.reader
        if running.rules == made.reader.rules:
            made = replace(made, reader=running)  # what it remembers is still true
        return Compiled(loaded, made, plan, known, found, sources)

    def _tell(self, error: Exception) -> None:
        """Log why there is no new configuration; only a defect is told with its traceback."""
        if isinstance(error, ConfigError):
            told = "\n".join(map(str, error.problems))
        elif isinstance(error, BuildError) and self.loaded.file is not None:
            told = str(placed(self.loaded.file, str(error)))
        else:
            told = str(error)
        expected = isinstance(error, ConfigError | BuildError | TlsError | ListenError | OSError)
        log.error("the configuration stays as it was:\n%s", told, exc_info=None if expected else error)

    def _restore(self, known: dict[str, ModuleType]) -> None:
        if self._modules is not None:
            self._modules.restore(known)


def _sources(loaded: Loaded) -> frozenset[Path]:
    return loaded.files | files_named(loaded.config)


def _changed_modules(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change("module", name, CHANGED, "the code has changed")
        for name, digest in sorted(after.items())
        if before.get(name, digest) != digest
    )


def _release(error: BaseException | None) -> None:
    """Let go of what the functions that failed had in hand: half a configuration, in cycles with their traceback."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
