"""Polling of files: the configuration is reloaded when one of them has changed.

Polling is used because inotify does not work through network file systems and many container mounts, loses files that
are replaced by renaming, and has a limited number of watches; a poll of a few dozen files costs some microseconds.

Rules of the file: a change is applied once two successive polls are equal. A removed configuration file is waited for,
since many programs replace a file by removing it first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from propylon.runtime.aside import aside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

LOOK_SECONDS: Final = 0.3
"""Interval between two polls; a change is applied within twice that time."""

COARSE_NS: Final = 20_000_000
"""How far timestamps of files may lag behind the clock: the kernel's clock for them ticks a hundred times a second."""

Trace = tuple[int, int, int] | None
"""Modification time, inode and size of a file; `None` for a missing file."""
Traces = dict["Path", Trace]

log = logging.getLogger("propylon.reload")


class ChangedFiles:
    """Calls `changed` when files have changed and then stayed the same for one interval."""

    def __init__(
        self,
        files: Callable[[], Iterable[Path]],
        changed: Callable[[], Awaitable[object]],
        needed: Path | None,
        *,
        look: Callable[[Iterable[Path]], Traces] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Record the current state of the files; `run` polls them.

        Args:
            files: returns the files to poll.
            changed: applies the changes; must not raise.
            needed: the file without which no change is applied.
            look: returns the state of files; it runs in a thread.
            sleep: waits some seconds.
            time_ns: the clock of file timestamps, in nanoseconds.
        """
        self._files = files
        self._changed = changed
        self._needed = needed
        self._look = look or traces
        self._sleep = sleep
        self._time_ns = time_ns
        self._applied = self._look(tuple(files()))

    async def run(self) -> None:
        """Poll until cancelled."""
        before = self._applied
        warned = False
        while True:
            await self._sleep(LOOK_SECONDS)
            now = await self._now()
            stable, before = now == before, now
            if now == self._applied or not stable:
                continue
            if self._needed is not None and now.get(self._needed) is None:
                if not warned:
                    log.warning("%s is gone: what was read of it stays in use", self._needed)
                warned = True
                continue
            warned = False
            begun = self._time_ns() - COARSE_NS
            await self._changed()
            known = await self._now()
            # Files that changed after they were read differ from `now` at the next poll; so do files that are new in
            # `files()`, if they may have been written after they were read.
            self._applied = {path: now.get(path, _unless_newer(trace, begun)) for path, trace in known.items()}

    async def _now(self) -> Traces:
        files = tuple(self._files())
        return await aside(lambda: self._look(files), "propylon look at files")


def _unless_newer(trace: Trace, than: int) -> Trace:
    return None if trace is not None and trace[0] >= than else trace


def traces(files: Iterable[Path]) -> Traces:
    """Return the state of files; symbolic links are followed, as their targets may be replaced."""
    return {path: _trace(path) for path in files}


def _trace(path: Path) -> Trace:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
