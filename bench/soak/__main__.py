"""`python -m bench.soak`: run, print how it goes, end with 0 if nothing was wrong."""

from __future__ import annotations

import argparse
import asyncio
import signal

import uvloop

from bench.soak.run import Verdict, soak
from bench.soak.settings import Settings


async def run(settings: Settings) -> Verdict:
    """Carry out a run that a signal ends early, with all it has started."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await soak(settings, stop)


def main() -> None:
    """Read the command line, run, judge."""
    usual = Settings()
    parser = argparse.ArgumentParser(prog="soak", description="Hours of a gateway's life in minutes, on loopback.")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help=f"of load (default {usual.seconds:g})")
    parser.add_argument("--rate", type=float, default=usual.rate, help=f"requests a second (default {usual.rate:g})")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the load's choices")
    given = parser.parse_args()
    verdict = uvloop.run(run(Settings(seconds=given.seconds, rate=given.rate, seed=given.seed)))
    print(verdict)
    raise SystemExit(1 if verdict.faults else 0)


main()
