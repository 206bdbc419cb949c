"""Work beside the loop: results and errors come back, and the loop goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from propylon.runtime.aside import aside


async def test_what_is_returned_comes_back_from_another_thread() -> None:
    assert await aside(threading.current_thread, "beside") is not threading.current_thread()
    assert await aside(lambda: None, "beside") is None


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), KeyboardInterrupt("no")])
async def test_what_is_raised_comes_back(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error), match="no"):
        await aside(fail, "beside")


async def test_the_loop_goes_on_and_nobody_has_to_wait() -> None:
    gate = threading.Event()
    waiting = asyncio.ensure_future(aside(lambda: gate.wait(10), "beside"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    gate = threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await aside(lambda: gate.wait(10), "beside for ever")

    asyncio.run(give_up())
    (thread,) = [each for each in threading.enumerate() if each.name == "beside for ever"]
    assert thread.daemon
    gate.set()  # its loop is closed by now, which it bears
    thread.join(5)
    assert not thread.is_alive()
