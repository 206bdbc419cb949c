"""One run: start everybody, reload again and again, and judge."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter

from websockets.asyncio.server import serve

from bench.reloads import clients, services, site
from bench.soak import samples
from bench.soak.run import Verdict, free_ports

RELOAD_SECONDS = 60.0
QUIET_SECONDS = 3.0
LISTENERS = 5
TALKERS = 5
TAKEN, REFUSED = "took up the", "the configuration stays as it was"


@dataclass(frozen=True, slots=True)
class Settings:
    """Attributes:
    reloads: how many there are.
    routes: in the file, besides those that are asked for.
    clients: who ask, all the time.
    """

    reloads: int = 200
    routes: int = 200
    clients: int = 16


@dataclass(slots=True)
class Gateway:
    """The process, what it has logged, and how often it has reloaded or refused to."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Take its log."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode())
            self.changed.set()

    def count(self, text: str) -> int:
        """Return how many lines have a text."""
        return sum(text in line for line in self.lines)

    async def said(self, text: str, times: int) -> None:
        """Wait until so many lines have a text."""
        async with asyncio.timeout(RELOAD_SECONDS):
            while self.count(text) < times:
                self.changed.clear()
                await self.changed.wait()


class Run:
    """One run."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        gateway, second, one, two, three, events, sockets = free_ports(7)
        self.ports = site.Ports(gateway, second, (one, two, three), events, sockets)
        self.ledger = clients.Ledger()
        self.samples: list[samples.Sample] = []
        self.verdict = Verdict()
        self.took: list[float] = []
        self.began = 0.0

    async def carry_out(self) -> Verdict:
        """Do all of it."""
        async with AsyncExitStack() as stack:
            for port in self.ports.answers:
                await stack.enter_async_context(await asyncio.start_server(services.answers, "127.0.0.1", port))
            server = await asyncio.start_server(services.events, "127.0.0.1", self.ports.events)
            stack.callback(server.close)
            await stack.enter_async_context(serve(services.echo, "127.0.0.1", self.ports.sockets))
            gateway = await self._start(stack)
            try:
                await self._load(gateway)
            finally:
                gateway.process.terminate()
            await self._judge(gateway)
        return self.verdict

    async def _start(self, stack: AsyncExitStack) -> Gateway:
        site.write(self.folder, self.ports, 0, self.settings.routes)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "propylon", "run", "gateway.yaml",
            cwd=self.folder, stderr=asyncio.subprocess.PIPE, limit=2**20,
        )  # fmt: skip
        gateway = Gateway(process)
        reading = asyncio.create_task(gateway.read())
        stack.callback(reading.cancel)
        stack.callback(lambda: process.kill() if process.returncode is None else None)
        await gateway.said("listening on", 1)
        return gateway

    async def _load(self, gateway: Gateway) -> None:
        port, ledger = self.ports.gateway, self.ledger
        everybody = [clients.asks(ledger, port, f"c{number}") for number in range(self.settings.clients)]
        everybody += [clients.listens(ledger, port, f"stream {number}") for number in range(LISTENERS)]
        everybody += [clients.talks(ledger, port, f"socket {number}") for number in range(TALKERS)]
        tasks = [asyncio.create_task(each) for each in everybody]
        await asyncio.sleep(QUIET_SECONDS)
        self.began = perf_counter()
        for number in range(1, self.settings.reloads + 1):
            await self._reload(gateway, number)
            self.samples.append(samples.take(gateway.process.pid, port, set(self.ports.answers)))
        ledger.stopping = True
        _, late = await asyncio.wait(tasks, timeout=10)
        if late:
            self.verdict.faults.append(f"{len(late)} clients did not come to an end")

    async def _reload(self, gateway: Gateway, number: int) -> None:
        site.write(self.folder, self.ports, number, self.settings.routes)
        awaited = REFUSED if site.is_broken(number) else TAKEN
        before, begun = gateway.count(awaited), perf_counter()
        gateway.process.send_signal(signal.SIGHUP)
        try:
            await gateway.said(awaited, before + 1)
        except TimeoutError:
            self.verdict.faults.append(f"reload {number}: nothing of the kind {awaited!r} in the log")
            return
        if not site.is_broken(number):
            self.took.append(perf_counter() - begun)
        last = number - 1 if site.is_broken(number) else number
        if (version := await self._version(self.ports.gateway)) != last:
            self.verdict.faults.append(f"reload {number}: version {version} answers in place of {last}")
        open_now = await self._is_open(self.ports.second)
        if open_now != site.has_second_listener(last):
            self.verdict.faults.append(f"reload {number}: the second listener is {'open' if open_now else 'closed'}")

    async def _version(self, port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return int(answer.rpartition(b"\r\n\r\n")[2])

    async def _is_open(self, port: int) -> bool:
        try:
            return await self._version(port) >= 0
        except ConnectionRefusedError:
            return False

    async def _judge(self, gateway: Gateway) -> None:
        faults, lines, ledger = self.verdict.faults, self.verdict.lines, self.ledger
        async with asyncio.timeout(20):
            code = await gateway.process.wait()
        faults += ledger.faults
        if code != 0:
            faults.append(f"the gateway ended with {code}")
        if "Traceback" in (said := "".join(gateway.lines)):
            faults.append(said[said.index("Traceback") :][:2000])
        lines.append(", ".join(f"{number} {what}" for what, number in ledger.counts.items()))
        lines.append(f"{len(self.took)} taken up, {self.settings.reloads - len(self.took)} refused")
        before = sorted(1000 * seconds for begun, seconds in ledger.seconds if begun < self.began)
        _figures(lines, before, "before the first reload requests took")
        after = sorted(1000 * seconds for begun, seconds in ledger.seconds if begun >= self.began)
        _figures(lines, after, "then requests took")
        _figures(lines, sorted(1000 * seconds for seconds in self.took), "reloads took")
        warm, end = samples.growth(self.samples)
        lines.append(f"rss {warm / 1e6:.1f} MB behind the warm-up, {end / 1e6:.1f} MB at the end")
        if not samples.is_flat(warm, end):
            faults.append(f"memory grew from {warm} to {end} bytes")
        third = len(self.samples) // 3
        early, late = (max(each.fds for each in part) for part in (self.samples[:third], self.samples[-third:]))
        lines.append(f"at most {early} file descriptors in the first third, {late} in the last")
        if late > early + self.settings.clients:
            faults.append(f"descriptors grew from {early} to {late}")


def _figures(lines: list[str], values: list[float], what: str) -> None:
    if values:
        half, most = values[len(values) // 2], values[int(len(values) * 0.99)]
        lines.append(f"{what} {half:.1f} ms (p50), {most:.1f} ms (p99), {values[-1]:.1f} ms at most")


async def reloads(settings: Settings) -> Verdict:
    """Carry out a run in a folder of its own; everything it starts has ended when it returns."""
    with tempfile.TemporaryDirectory(prefix="propylon-reloads-") as folder:
        begun = monotonic()
        verdict = await Run(settings, Path(folder)).carry_out()
        verdict.lines.insert(0, f"{monotonic() - begun:.0f} s, {os.cpu_count()} processors")
        return verdict
