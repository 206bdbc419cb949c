"""Reload of a running gateway: the new configuration is compiled beside the current one, then swapped atomically.

Rules of the file:

- One reload at a time. Requests during a reload share the next one, which reads the configuration when
  it begins, so the last change wins.
- On any error the current configuration stays in use, including its Python modules, and every problem is logged as
  `propylon check` shows it.
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
from propylon.build.problems import with_build_problems
from propylon.build.snapshot import build_snapshot
from propylon.config.changes import CHANGED, Change, changes
from propylon.config.files import files_named
from propylon.config.include import matching
from propylon.config.load import placed
from propylon.config.problems import ERROR, ConfigError
from propylon.config.warnings import warnings_of
from propylon.inbound.listener import ListenError
from propylon.runtime.aside import aside
from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from propylon.config.load import Loaded
    from propylon.config.problems import Problem
    from propylon.engine.snapshot import Snapshot
    from propylon.runtime.listeners import Plan
    from propylon.runtime.modules import Modules
    from propylon.runtime.worker import Worker
    from propylon.services.service import Service

MAX_LINES: Final = 20
"""The maximum number of changes, and of warnings, to log for one reload."""

COMPILE_SECONDS: Final = 60.0
"""Timeout of compiling: imported modules may block."""

log = logging.getLogger("propylon.reload")


@dataclass(frozen=True, slots=True)
class Reload:
    """The result of a successful reload.

    Attributes:
        changes: the differences to the previous configuration.
        seconds: the duration.
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
    """The compiled configuration of one reload, not in use yet."""

    loaded: Loaded
    snapshot: Snapshot
    plan: Plan
    known: dict[str, ModuleType]
    changes: tuple[Change, ...]
    sources: frozenset[Path]
    warnings: tuple[Problem, ...]


class Reloader:
    """Reloads one gateway.

    Attributes:
        loaded: the current configuration.
        around: returns the context manager of each reload; set by `runtime/process.py`.
    """

    def __init__(
        self,
        worker: Worker,
        loaded: Loaded,
        read: Callable[[], Loaded],
        adopt: Callable[[Loaded, Snapshot], None],
        modules: Modules | None = None,
    ) -> None:
        """Create the reloader of a worker.

        Args:
            loaded: the current configuration of the worker.
            read: reads the configuration again.
            adopt: called with the new configuration and snapshot after the swap, in the same turn of the loop.
            modules: the modules beside the configuration.
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
        self._tried: Loaded | None = None
        self._sources = _sources(loaded)
        self._patterns = loaded.patterns
        self._failed = self._stuck = False
        self._tasks: set[asyncio.Task[Reload]] = set()

    def files(self) -> frozenset[Path]:
        """Return the files of the current configuration and of one that failed to load."""
        modules: frozenset[Path] = frozenset()
        if self._modules is not None:
            modules = self._modules.files
            if self._failed:
                modules |= frozenset(self._modules.folder.glob("*.py"))  # one of these may be what was missing
        included = {file for pattern in self._patterns for file in matching(pattern)}
        return self._sources | modules | included

    async def reload(self, given: Loaded | None = None) -> Reload:
        """Apply the `given` configuration, or the one that is read when the reload begins.

        Raises:
            ConfigError, BuildError, TlsError, ListenError: it cannot be used; nothing has changed.
        """
        self._given = given
        return await asyncio.shield(self.request())

    def request(self) -> asyncio.Task[Reload]:
        """Schedule a reload and return its task; the result is logged."""
        if self._next is None:
            task = self._next = asyncio.get_running_loop().create_task(self._in_turn(), name="propylon reload")
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        return self._next

    def close(self) -> None:
        """Cancel all reloads."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[Reload]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved: it has been logged

    async def _in_turn(self) -> Reload:
        async with self._lock:
            self._next = None
            given, self._given = self._given, None
            read = self._read if given is None else lambda: given
            try:
                done = await self._reload(read)
            except Exception as error:  # modules and policies are user code
                self._failed = True
                if isinstance(error, ConfigError):
                    self._sources |= set(error.files)
                self._log_failure(error)
                self._tried = None
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
            self._sources, self._patterns = made.sources, made.loaded.patterns
            self._adopt(made.loaded, made.snapshot)
        done = Reload(made.changes, monotonic() - begun)
        if done.changes:
            log.info("took up the new configuration within %.2f s:\n%s", done.seconds, done)
        else:
            log.info("took up the configuration anew: %s", done)
        log_warnings(made.warnings)
        return done

    async def _compiled(self, read: Callable[[], Loaded]) -> Compiled:
        """Compile in a thread, for at most `COMPILE_SECONDS`."""
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
        self._tried = None
        try:
            self._tried = loaded = self._loaded(read)
            sources = _sources(loaded)
            self._sources |= sources  # also on failure: an edit of any of them may fix it
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
            made = replace(made, reader=running)  # its memo is still valid
        return Compiled(loaded, made, plan, known, found, sources, warnings_of(loaded))

    def _loaded(self, read: Callable[[], Loaded]) -> Loaded:
        try:
            return read()
        except ConfigError as error:
            folder = Path() if self._modules is None else self._modules.folder
            raise with_build_problems(error, folder) from None

    def _log_failure(self, error: Exception) -> None:
        """Log why a reload failed; the traceback only for a defect."""
        if isinstance(error, ConfigError):
            reason = "\n".join(map(str, error.problems))
        elif isinstance(error, BuildError) and self._tried is not None:
            reason = "\n".join(map(str, placed(self._tried, "gateway", error.messages)))
        else:
            reason = str(error)
        expected = isinstance(error, ConfigError | BuildError | TlsError | ListenError | OSError)
        log.error("the configuration stays as it was:\n%s", reason, exc_info=None if expected else error)

    def _restore(self, known: dict[str, ModuleType]) -> None:
        if self._modules is not None:
            self._modules.restore(known)


def log_warnings(warnings: Sequence[Problem]) -> None:
    """Log the warnings of a configuration, as `propylon check` shows them."""
    log = logging.getLogger("propylon.config")
    for warning in warnings[:MAX_LINES]:
        log.warning("%s", replace(warning, severity=ERROR))
    if len(warnings) > MAX_LINES:
        log.warning("and %d more warnings: see 'propylon check'", len(warnings) - MAX_LINES)


def _sources(loaded: Loaded) -> frozenset[Path]:
    return loaded.files | files_named(loaded.config)


def _changed_modules(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change("module", name, CHANGED, "the code has changed")
        for name, digest in sorted(after.items())
        if before.get(name, digest) != digest
    )


def _release(error: BaseException | None) -> None:
    """Clear the frames of the tracebacks, whose locals keep parts of a configuration alive in cycles."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
