"""The programs of a run: gateway and services, each started with a log of its own and ended by its process id."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from pathlib import Path
from time import monotonic

START_SECONDS = 20.0
END_SECONDS = 10.0
ROOT = Path(__file__).parents[2]


class Program:
    """A program that can be started more than once."""

    def __init__(self, arguments: list[str], port: int, folder: Path, log: Path) -> None:
        self._arguments = arguments
        self._folder = folder
        self._process: Process | None = None
        self.port = port
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id. Raises `RuntimeError` while it does not run."""
        if self._process is None or self._process.returncode is not None:
            raise RuntimeError(f"{self._arguments[0]} does not run; see {self.log}")
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it listens. Raises `RuntimeError` if it does not."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments, stdin=DEVNULL, stdout=log, stderr=STDOUT, cwd=self._folder, start_new_session=True
            )
        deadline = monotonic() + START_SECONDS
        while monotonic() < deadline and self._process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return
        raise RuntimeError(f"{' '.join(self._arguments)} does not listen: {self.log.read_text()[-2000:]}")

    async def kill(self) -> None:
        """End it as a crash does."""
        await self.end(signal.SIGKILL)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, then insist; return its exit code."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
            try:
                async with asyncio.timeout(END_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
        return await process.wait()


def gateway(file: Path, port: int) -> Program:
    """Make the gateway: `propylon run FILE`."""
    folder = file.parent
    return Program([sys.executable, "-m", "propylon", "run", file.name], port, folder, folder / "gateway.log")


def service(name: str, port: int, folder: Path) -> Program:
    """Make a service."""
    arguments = [sys.executable, "-m", "bench.soak.upstream", str(port)]
    return Program(arguments, port, ROOT, folder / f"{name}.log")
