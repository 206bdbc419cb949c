"""`python -m bench.failures`: run, print how it goes, end with 0 if no client noticed anything."""

from __future__ import annotations

import argparse
import asyncio
import signal

import uvloop

from bench.failures.run import failures
from bench.failures.settings import Settings
from bench.soak.run import Verdict


def main() -> None:
    """Read the command line and carry out a run that a signal ends early."""
    parser = argparse.ArgumentParser(prog="failures", description="Endpoints that fail in every way, on loopback.")
    parser.add_argument("--rounds", type=int, default=Settings().rounds, help="of every failure of every endpoint")
    parser.add_argument("--seed", type=int, default=Settings().seed, help="of the choices")
    given = parser.parse_args()

    async def run() -> Verdict:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await failures(Settings(rounds=given.rounds, seed=given.seed), stop)

    verdict = uvloop.run(run())
    print(verdict)
    raise SystemExit(1 if verdict.faults else 0)


if __name__ == "__main__":
    main()
