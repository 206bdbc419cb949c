"""Processes that tests start: their output is read as it comes, and they are ended by their id."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import propylon

from .deadline import within

SOURCE = str(Path(propylon.__file__).parents[1])


class Process:
    """A process and what it has written so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self._process = process
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def output(self) -> str:
        return "".join(self.lines)

    async def said(self, pattern: str, seconds: float = 10) -> re.Match[str]:
        """Wait until a line of its log matches."""
        async with within(seconds, f"the process says {pattern!r}"):
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                assert not self._reading.done(), f"the process ended before it said {pattern!r}: {self.output}"
                await self._changed.wait()

    async def said_again(self, pattern: str, times: int, seconds: float = 10) -> None:
        """Wait until so many lines of its log match."""
        async with within(seconds, f"the process says {pattern!r} {times} times; so far: {self.output}"):
            while sum(1 for line in self.lines if re.search(pattern, line)) < times:
                assert not self._reading.done(), f"the process ended: {self.output}"
                await self._changed.wait()

    async def port(self) -> int:
        """The port of its first TCP listener, once it serves."""
        return int((await self.said(r"(?:listening|serving) on .*?127\.0\.0\.1:(\d+)"))[1])

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, seconds: float = 5) -> int:
        """Wait for its exit code."""
        async with within(seconds, f"the process ends; so far: {self.output}"):
            await asyncio.shield(self._reading)
            return await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode())
            self._tell()
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def kill(self) -> None:
        """End it, whatever it does."""
        if self._process.returncode is None:
            self._process.kill()
        await self._reading
        await self._process.wait()


@asynccontextmanager
async def started(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> AsyncIterator[Process]:
    """A process in `folder`; killed at the end if it still lives, and it must not have printed a traceback."""
    process = Process(
        await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
            env=os.environ | {"PYTHONPATH": SOURCE} | (environment or {}),
        )
    )  # fmt: skip
    try:
        yield process
    finally:
        await process.kill()
    assert "Traceback" not in process.output, process.output
    assert "never retrieved" not in process.output, process.output


def running(
    folder: Path, target: str = "", environment: dict[str, str] | None = None, options: tuple[str, ...] = ()
) -> AbstractAsyncContextManager[Process]:
    """`propylon run target` in `folder`; without a target it is the environment's."""
    arguments = (*([target] if target else ()), *options)
    return started(sys.executable, "-m", "propylon", "run", *arguments, folder=folder, environment=environment)
