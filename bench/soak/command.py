"""The command line of a run."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from bench.soak.run import Verdict
from bench.soak.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)


def command(
    name: str,
    description: str,
    settings: type[SettingsT],
    carry_out: Callable[[SettingsT, asyncio.Event], Awaitable[Verdict]],
) -> None:
    """Read the command line, carry out a run that a signal ends early, and exit with 0 if nothing was wrong."""
    usual = settings()
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help=f"of load (default {usual.seconds:g})")
    parser.add_argument("--rate", type=float, default=usual.rate, help=f"begun in a second (default {usual.rate:g})")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the load's choices")
    given = parser.parse_args()

    async def run() -> Verdict:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await carry_out(settings(seconds=given.seconds, rate=given.rate, seed=given.seed), stop)

    verdict = uvloop.run(run())
    print(verdict)
    raise SystemExit(1 if verdict.faults else 0)
