"""The process of a gateway that has it to itself: signals, event loop, log, garbage collector.

Only `Gateway.run` comes here: a gateway that is started within another program leaves all of this to that program.
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

from propylon.runtime.changed_files import ChangedFiles

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from propylon.gateway import Gateway
    from propylon.runtime.reload import Reloader

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"

GC_THRESHOLDS: Final = (10_000, 10, 10)
"""Exchanges are freed by reference counts, only errors leave cycles: the defaults look for them 14 times as often."""
NO_FULL_COLLECTION: Final = (5_000, 4, 1_000_000)
FEW_OBJECTS: Final = 70_000
FULL_LOOK_EVERY: Final = 20

TURN_SECONDS: Final = 0.0005
"""How long one of two threads keeps the interpreter: with the usual 5 ms a reload would hold up a busy event loop."""

log = logging.getLogger("propylon")


class Process:
    """Runs one gateway until a signal ends it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._had_terminal = _is_terminal()

    def run(self, watch: bool) -> None:
        """Serve until SIGTERM, SIGINT or SIGUSR2, then finish what is under way.

        Args:
            watch: reload whenever a file of the configuration changes.

        Raises as `Gateway.run` does.
        """
        logging.basicConfig(level=_level(self._gateway), stream=sys.stderr, format=LOG_FORMAT)
        self._gateway.snapshot()  # before the loop runs: what is wrong is told before anything is opened
        run_loop(self.serve(watch))

    async def serve(self, watch: bool) -> None:
        """Serve in the running event loop until a signal ends it; its signal handlers stay until the loop is closed."""
        stopped = self._handle_signals()
        reloader = await self._started(stopped)
        if reloader is None:
            return
        watching = asyncio.create_task(_watch(reloader).run(), name="propylon watch") if watch else None
        restart = False
        try:
            log.info("listening on %s", ", ".join(self._gateway.addresses))
            gc.collect()
            gc.freeze()  # the configuration lives for long: collections need not look at it
            gc.set_threshold(*GC_THRESHOLDS)
            reloader.around = partial(self._around_reload, LongLived())
            restart = await stopped
            log.info("stopping: waiting for what is under way")
        finally:
            if watching is not None:
                watching.cancel()
            await self._gateway.stop(restart=restart)

    def _handle_signals(self) -> asyncio.Future[bool]:
        """Return what is done when a signal ends the gateway, with whether it comes back."""
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[bool] = loop.create_future()

        def stop(restart: bool) -> None:
            if not stopped.done():
                stopped.set_result(restart)

        def hang_up() -> None:
            if self._had_terminal and not _is_terminal():
                stop(False)  # the terminal is closed, and takes along what runs in it
            elif self._gateway.reloader is not None:
                self._gateway.reloader.request()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            loop.add_signal_handler(number, stop, number == signal.SIGUSR2)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        return stopped

    async def _started(self, stopped: asyncio.Future[bool]) -> Reloader | None:
        """Start the gateway; `None` if it is stopped while it still waits for the endpoints of its services."""
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
        """Let a reload disturb no exchange; once it has succeeded, log at its level and keep what it has made."""
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
    """Tell whether the log goes to a terminal that is still there."""
    try:
        return os.isatty(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


@contextmanager
def small_turns() -> Iterator[None]:
    """Let other threads have their turn often, and collect no garbage but the newest, as long as this lasts."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(*NO_FULL_COLLECTION)
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


class LongLived:
    """What stays for long: the collector need not look at it again."""

    def __init__(self) -> None:
        self._objects = gc.get_freeze_count()
        self._number = 0

    def keep(self) -> None:
        """Freeze all that is there, after a look for garbage: frozen, it would stay for ever.

        Snapshots are freed by reference counts. What needs a look are modules that were replaced, as a function and its
        module hold each other. A look at everything takes 20 ms for 70,000 objects, and is rare when there are more.
        """
        self._number += 1
        if self._objects <= FEW_OBJECTS or self._number % FULL_LOOK_EVERY == 0:
            gc.unfreeze()
            gc.collect()
        else:
            gc.collect(1)
        gc.freeze()
        self._objects = gc.get_freeze_count()
