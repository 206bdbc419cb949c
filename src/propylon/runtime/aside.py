"""Running blocking work in a daemon thread, which cannot delay the exit of the process."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def aside(work: Callable[[], T], name: str) -> T:
    """Return the result of `work`, or raise its exception; it runs in a thread with this name."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def complete(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # the caller was cancelled
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # what `work` returned, which may be None

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            post(None, error)
        else:
            post(result, None)

    def post(result: T | None, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(complete, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
