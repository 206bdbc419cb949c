"""What hooks of policies cost in process, without a connection: prints nanoseconds for each kind, as JSON.

Each figure is the least of many runs. `first_done` is what an exchange pays for having an on_done hook at all: a call
and two looks at the clock, of which one is the time of its end. `on_done` is what each further one adds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import timeit
from collections.abc import Callable
from functools import partial

import uvloop

from propylon.engine.exchange import Exchange
from propylon.engine.hook_task import wait_for
from propylon.engine.pipeline import PolicyUse, compile_pipeline, run_done
from propylon.engine.subrequest import Subrequest

CALLS = 20_000
RUNS = 25
MORE = 10  # hooks beside the first
TURN = 50  # hooks begun in one turn of the loop, as with that many busy connections


class Nothing:
    """A policy that does nothing at the end."""

    def on_done(self, x: Exchange) -> None:
        """Do nothing."""


def nanoseconds(run: Callable[[], object]) -> float:
    return 1e9 * min(timeit.repeat(run, number=CALLS, repeat=RUNS)) / CALLS


def on_done(x: Exchange, hooks: int) -> float:
    """All on_done hooks of an exchange, if there are so many."""
    made = compile_pipeline([PolicyUse("nothing", Nothing()) for _ in range(hooks)]).on_done
    return nanoseconds(partial(run_done, x, made))


async def async_hook(x: Exchange) -> float:
    """An async hook that waits for nothing, begun in a callback of the loop as an exchange does; its Task included."""

    async def hook() -> None:
        pass

    def begin() -> None:
        for _ in range(TURN):
            try:
                wait_for(x, hook(), "hook").send(None)
            except StopIteration:
                continue

    loop = asyncio.get_running_loop()
    best = float("inf")
    for _ in range(RUNS * 10):
        started = timeit.default_timer()
        loop.call_soon(begin)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        best = min(best, timeit.default_timer() - started)
    return 1e9 * best / TURN


def main() -> None:
    x = Subrequest(b"GET", b"/").exchange
    first, many = on_done(x, 1), on_done(x, 1 + MORE)
    figures = {"first_done": first, "on_done": (many - first) / MORE, "async_hook": uvloop.run(async_hook(x))}
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
