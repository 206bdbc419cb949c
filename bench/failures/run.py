"""One run: three endpoints under constant load; each dies, hangs, slows down and fails in turn, and comes back."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from bench.failures.settings import RECOVERY_SECONDS, Settings, write_configuration
from bench.soak import programs
from bench.soak.programs import ROOT, Program
from bench.soak.run import Verdict, free_ports
from bench.soak.wire import Connection

MOST_FAILED = 0.0001
"""Share of idempotent requests that may fail."""


@dataclass(slots=True)
class Tally:
    """What clients saw.

    Attributes:
        answers: statuses of GETs; 0 for none.
        posts: statuses of POSTs.
        served: when each endpoint answered last, by its port.
        slowest: seconds of the slowest GET.
    """

    answers: Counter[int] = field(default_factory=Counter)
    posts: Counter[int] = field(default_factory=Counter)
    served: dict[str, float] = field(default_factory=dict)
    slowest: float = 0.0


class FailuresRun:
    """A run in a folder of its own."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        port, *ports = free_ports(4)
        self.settings = settings
        self.verdict = Verdict()
        self.tally = Tally()
        self._choose = random.Random(settings.seed)
        self._stopping = False
        self._numbers = 0
        self._recoveries: dict[str, list[float]] = {}
        self._gateway = programs.gateway(write_configuration(folder, port, tuple(ports)), port)
        self._journals = [folder / f"{each}.journal" for each in ports]
        self._endpoints = [
            Program(
                [sys.executable, "-m", "bench.failures.service", str(each), str(journal)], each, ROOT,
                folder / f"{each}.log",
            )
            for each, journal in zip(ports, self._journals, strict=True)
        ]  # fmt: skip

    async def carry_out(self, stop: asyncio.Event) -> Verdict:
        """Do all of it; an event ends it early."""
        async with AsyncExitStack() as stack:
            for program in (*self._endpoints, self._gateway):
                stack.push_async_callback(program.kill)
                await program.start()
            clients = [asyncio.create_task(self._ask_for_ever()) for _ in range(self.settings.clients)]
            try:
                await asyncio.sleep(1)
                for number in range(self.settings.rounds):
                    if stop.is_set():
                        break
                    await self._round(number)
            finally:
                self._stopping = True
                results = await asyncio.gather(*clients, return_exceptions=True)
            self.verdict.faults += [f"a client broke off: {each!r}" for each in results if isinstance(each, Exception)]
            code = await self._gateway.end()
        self._judge(code)
        return self.verdict

    async def _round(self, number: int) -> None:
        for endpoint in self._choose.sample(self._endpoints, len(self._endpoints)):
            for failure, healing in ((self._kill, self._revive), *SIGNALS):
                name = failure.__name__.strip("_")
                await failure(endpoint) if failure == self._kill else failure(endpoint)
                await asyncio.sleep(self.settings.ill)
                await healing(endpoint) if healing == self._revive else healing(endpoint)
                await self._recovers(endpoint, name)
                await asyncio.sleep(self.settings.well)
        asked, failed = self.tally.answers.total(), self._failed()
        print(f"round {number + 1}: {asked} GETs, {failed} failed, slowest {self.tally.slowest:.2f} s", flush=True)

    async def _kill(self, endpoint: Program) -> None:
        await endpoint.kill()

    async def _revive(self, endpoint: Program) -> None:
        await endpoint.start()

    async def _recovers(self, endpoint: Program, failure: str) -> None:
        """Wait until an endpoint that is well again answers a client."""
        began = monotonic()
        while self.tally.served.get(str(endpoint.port), 0.0) < began:
            if monotonic() - began > RECOVERY_SECONDS:
                self.verdict.faults.append(f"not asked again within {RECOVERY_SECONDS:g} s after '{failure}'")
                return
            await asyncio.sleep(0.02)
        self._recoveries.setdefault(failure, []).append(monotonic() - began)

    async def _ask_for_ever(self) -> None:
        connection: Connection | None = None
        try:
            while not self._stopping:
                if connection is None:
                    connection = await Connection.open(self._gateway.port)
                self._numbers += 1
                method = b"POST" if self._choose.random() < 0.05 else b"GET"
                if not await self._ask(connection, method, b"%d" % self._numbers):
                    connection.writer.close()
                    connection = None
                await asyncio.sleep(self.settings.pause * self._choose.uniform(0.5, 1.5))
        finally:
            if connection is not None:
                connection.writer.close()

    async def _ask(self, connection: Connection, method: bytes, token: bytes) -> bool:
        """Ask once; return whether the connection can be used again."""
        began = monotonic()
        length = b"content-length: 0\r\n" if method == b"POST" else b""
        await connection.send(b"%b /t/%b HTTP/1.1\r\nhost: a\r\n%b\r\n" % (method, token, length))
        reply = await connection.reply(method)
        counts = self.tally.posts if method == b"POST" else self.tally.answers
        if reply is None:
            counts[0] += 1
            return False
        counts[reply.status] += 1
        if method == b"GET":
            self.tally.slowest = max(self.tally.slowest, monotonic() - began)
        if reply.status == 200:
            what, _, port = reply.body.partition(b" by ")
            if what != b"/t/" + token:
                self.verdict.faults.append(f"asked for {token!r}, and got {what!r}")
            self.tally.served[port.decode()] = began
        return not reply.closes

    def _failed(self) -> int:
        return self.tally.answers.total() - self.tally.answers[200]

    def _judge(self, code: int) -> None:
        verdict, asked, failed = self.verdict, self.tally.answers.total(), self._failed()
        if code != 0:
            verdict.faults.append(f"the gateway ended with {code}")
        if failed > MOST_FAILED * asked:
            verdict.faults.append(f"{failed} of {asked} GETs failed: {dict(self.tally.answers)}")
        carried_out = Counter(line for journal in self._journals for line in journal.read_bytes().split())
        twice = [token for token, number in carried_out.items() if number > 1]
        if twice:
            verdict.faults.append(f"{len(twice)} POSTs were carried out twice")
        text = self._gateway.log.read_text(errors="replace")
        if "Traceback" in text:
            verdict.faults.append(f"the gateway logged a traceback:\n{text[-4000:]}")
        verdict.lines.append(f"{asked} GETs, {failed} failed; slowest {self.tally.slowest:.2f} s")
        verdict.lines.append(f"{self.tally.posts.total()} POSTs: {dict(self.tally.posts)}")
        for failure, seconds in self._recoveries.items():
            middle = sorted(seconds)[len(seconds) // 2]
            verdict.lines.append(f"asked again after '{failure}': median {middle:.2f} s, at most {max(seconds):.2f} s")


def hang(endpoint: Program) -> None:
    """Let it hang, with all its connections open."""
    os.kill(endpoint.pid, signal.SIGSTOP)


def unfreeze(endpoint: Program) -> None:
    """Let it go on."""
    os.kill(endpoint.pid, signal.SIGCONT)


def slow(endpoint: Program) -> None:
    """Let it take longer than a try may."""
    os.kill(endpoint.pid, signal.SIGUSR1)


def errors(endpoint: Program) -> None:
    """Let it answer 500."""
    os.kill(endpoint.pid, signal.SIGUSR2)


def heal(endpoint: Program) -> None:
    """Let it be well."""
    os.kill(endpoint.pid, signal.SIGHUP)


SIGNALS = ((hang, unfreeze), (slow, heal), (errors, heal))


async def failures(settings: Settings, stop: asyncio.Event | None = None) -> Verdict:
    """Carry out a run; every program it starts has ended when it returns."""
    with tempfile.TemporaryDirectory(prefix="propylon-failures-") as folder:
        return await FailuresRun(settings, Path(folder)).carry_out(stop or asyncio.Event())
