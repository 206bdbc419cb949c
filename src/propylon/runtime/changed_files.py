"""Files that are looked at: when one of them has changed, the configuration is read anew.

They are looked at twice a second. What the system could tell about changes (inotify) does not come through network file
systems and many mounts of containers, breaks off when a file is replaced by renaming, and is bounded in number; a look
at a few dozen files costs some microseconds.

Rules of the file: nothing is read while files still change: two looks must have seen the same. A configuration that is
gone is waited for, since many programs replace a file by removing it first.
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
"""Between two looks; so a change is taken up within twice that time."""

COARSE_NS: Final = 20_000_000
"""How far the stamps of files may be behind the clock: the kernel's own for them ticks a hundred times a second."""

Trace = tuple[int, int, int] | None
"""When a file was changed, which it is, and its size; `None` for a file that is not there."""
Traces = dict["Path", Trace]

log = logging.getLogger("propylon.reload")


class ChangedFiles:
    """Calls `changed` when the files have changed and then rested for one look."""

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
        """Remember how the files are now; they are looked at again as long as `run` runs.

        Args:
            files: says which files count now.
            changed: takes up what has changed, and raises nothing.
            needed: the file without which nothing is taken up.
            look: finds out how files are; it runs in a thread.
            sleep: waits some seconds.
            time_ns: the clock that files are stamped with, in nanoseconds.
        """
        self._files = files
        self._changed = changed
        self._needed = needed
        self._look = look or traces
        self._sleep = sleep
        self._time_ns = time_ns
        self._taken = self._look(tuple(files()))

    async def run(self) -> None:
        """Look for ever."""
        before = self._taken
        told = False
        while True:
            await self._sleep(LOOK_SECONDS)
            now = await self._now()
            rests, before = now == before, now
            if now == self._taken or not rests:
                continue
            if self._needed is not None and now.get(self._needed) is None:
                if not told:
                    log.warning("%s is gone: what was read of it stays in use", self._needed)
                told = True
                continue
            told = False
            begun = self._time_ns() - COARSE_NS
            await self._changed()
            known = await self._now()
            # What has changed since it was read differs from `now` at the next look; so does what counts only now, if
            # it may have been written after it was read.
            self._taken = {path: now.get(path, _unless_newer(trace, begun)) for path, trace in known.items()}

    async def _now(self) -> Traces:
        files = tuple(self._files())
        return await aside(lambda: self._look(files), "propylon look at files")


def _unless_newer(trace: Trace, than: int) -> Trace:
    return None if trace is not None and trace[0] >= than else trace


def traces(files: Iterable[Path]) -> Traces:
    """Look at files; symbolic links are followed, as what is behind them may be replaced."""
    return {path: _trace(path) for path in files}


def _trace(path: Path) -> Trace:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
