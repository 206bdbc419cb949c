"""The process of a standalone gateway: signals, event loop, log, garbage collector.

Used by `Gateway.run` only: a gateway embedded in another program leaves all of this to that program.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from propylon.config.warnings import warnings_of
from propylon.runtime.changed_files import ChangedFiles
from propylon.runtime.log_format import TextFormatter
from propylon.runtime.reload import log_warnings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from propylon.gateway import Gateway
    from propylon.runtime.reload import Reloader

GC_THRESHOLDS: Final = (10_000, 10, 10)
"""Exchanges are freed by reference counts, only errors leave cycles: the defaults collect 14 times as often."""
NO_FULL_COLLECTION: Final = (5_000, 4, 1_000_000)
FEW_OBJECTS: Final = 70_000
FULL_LOOK_EVERY: Final = 20

TURN_SECONDS: Final = 0.0005
"""The switch interval of threads during a reload: the default of 5 ms would stall a busy event loop."""

log = logging.getLogger("propylon")


class Process:
    """Runs one gateway until a signal stops it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._had_terminal = _is_terminal()

    def run(self, watch: bool) -> None:
        """Serve until SIGTERM, SIGINT or SIGUSR2, then drain.

        Args:
            watch: reload whenever a file of the configuration changes.

        Raises as `Gateway.run` does.
        """
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(TextFormatter())
        logging.basicConfig(level=_level(self._gateway), handlers=[handler])
        self._gateway.snapshot()  # before the loop runs: errors are reported before anything is opened
        log_warnings(warnings_of(self._gateway.loaded()))
        run_loop(self.serve(watch))

    async def serve(self, watch: bool) -> None:
        """Serve in the running event loop until a signal; the signal handlers stay until the loop is closed."""
        stopped = self._handle_signals()
        reloader = await self._started(stopped)
        if reloader is None:
            return
        watching = asyncio.create_task(_watch(reloader).run(), name="propylon watch") if watch else None
        restart = False
        try:
            log.info("listening on %s", ", ".join(self._gateway.addresses))
            gc.collect()
            gc.freeze()  # the configuration is long-lived: collections can skip it
            gc.set_threshold(*GC_THRESHOLDS)
            reloader.around = partial(self._around_reload, LongLived())
            restart = await stopped
            log.info("stopping: waiting for what is under way")
        finally:
            if watching is not None:
                watching.cancel()
            await self._gateway.stop(restart=restart)

    def _handle_signals(self) -> asyncio.Future[bool]:
        """Return a future that is done when a signal stops the gateway; its result is whether it restarts."""
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[bool] = loop.create_future()

        def stop(restart: bool) -> None:
            if not stopped.done():
                stopped.set_result(restart)

        def hang_up() -> None:
            if self._had_terminal and not _is_terminal():
                stop(False)  # the terminal was closed, which ends its processes
            elif self._gateway.reloader is not None:
                self._gateway.reloader.request()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            loop.add_signal_handler(number, stop, number == signal.SIGUSR2)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        return stopped

    async def _started(self, stopped: asyncio.Future[bool]) -> Reloader | None:
        """Start the gateway; return `None` if it is stopped while waiting for the endpoints of its services."""
        starting = asyncio.create_task(self._gateway.start(), name="propylon start")
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            return None
        starting.result()
        return self._gateway.reloader

    @contextmanager
    def _around_reload(self, long_lived: LongLived) -> Iterator[None]:
        """Limit the effect of a reload on exchanges; after success, set the log level and freeze the new objects."""
        with small_turns():
            yield
            logging.getLogger().setLevel(_level(self._gateway))
            long_lived.keep()


def _level(gateway: Gateway) -> str:
    return gateway.config.log.level.upper()


def _watch(reloader: Reloader) -> ChangedFiles:
    async def changed() -> None:
        with suppress(Exception):  # it is in the log
            await reloader.reload()

    return ChangedFiles(reloader.files, changed, reloader.loaded.file)


def _is_terminal() -> bool:
    """Return whether the log goes to an open terminal."""
    try:
        return os.isatty(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


@contextmanager
def small_turns() -> Iterator[None]:
    """Shorten the switch interval of threads, and avoid full collections, within the context."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(*NO_FULL_COLLECTION)
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


class LongLived:
    """Excludes long-lived objects from garbage collection."""

    def __init__(self) -> None:
        self._objects = gc.get_freeze_count()
        self._number = 0

    def keep(self) -> None:
        """Freeze all objects after a collection, as frozen garbage is never freed.

        Snapshots are freed by reference counts; replaced modules are in cycles with their functions and need a
        collection. A full collection takes 20 ms for 70,000 objects, and is done rarely when there are more.
        """
        self._number += 1
        if self._objects <= FEW_OBJECTS or self._number % FULL_LOOK_EVERY == 0:
            gc.unfreeze()
            gc.collect()
        else:
            gc.collect(1)
        gc.freeze()
        self._objects = gc.get_freeze_count()
