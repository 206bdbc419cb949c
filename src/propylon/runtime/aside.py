"""Work beside the event loop: in a thread of its own, without making what is served wait.

Rules of the file:

- Two threads take turns. The one that works beside gives way after `TURN_SECONDS`, and not after the 5 ms that are
  usual: a busy loop asks for its turn at every event.
- A full collection of garbage looks at every object there is, and everything waits. While much is made there is none,
  only the small ones, which look at what is new. What stays is then frozen: no collection looks at it again.
- A thread that does not come to an end does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

TURN_SECONDS: Final = 0.0005
FEW_OBJECTS: Final = 70_000
FULL_LOOK_EVERY: Final = 20
NO_FULL_COLLECTION: Final = (5_000, 4, 1_000_000)


async def aside(work: Callable[[], T], name: str) -> T:
    """Return what `work` returns, or raise what it raises; it runs in a thread with this name."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # nobody waits any more
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # what `work` returned, which may be None

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            send(None, error)
        else:
            send(result, None)

    def send(result: T | None, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


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
