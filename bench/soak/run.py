"""One run: start, load, outages, samples, rest, end; and the verdict."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from bench.processes import free_port
from bench.soak import programs, samples
from bench.soak.ledger import Ledger
from bench.soak.load import Load, Role, forever
from bench.soak.programs import Program
from bench.soak.roles import ROLES
from bench.soak.settings import Settings, write_configuration
from bench.soak.wire import SECONDS

PROGRESS_SECONDS = 10.0


@dataclass(slots=True)
class Verdict:
    """What a run found.

    Attributes:
        faults: what must not be, as sentences; none for a good run.
        lines: the figures.
    """

    faults: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            [*self.lines, *(f"FAULT {each}" for each in self.faults), "FAILED" if self.faults else "passed"]
        )


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part in a run.

    Attributes:
        steady: the services that live through it.
        shaky: the one that is killed again and again.
        service_ports: where services listen.
        roles: how many clients play each role at a time.
    """

    gateway: Program
    steady: Program
    shaky: Program
    service_ports: set[int]
    load: Load
    roles: Mapping[Role, int]


class Run:
    """One run, whoever takes part."""

    def __init__(self, settings: Settings, cast: Cast) -> None:
        self.settings = settings
        self.gateway, self.steady, self.shaky = cast.gateway, cast.steady, cast.shaky
        self.service_ports = cast.service_ports
        self.load = cast.load
        self.ledger = cast.load.ledger
        self.roles = cast.roles
        self.samples: list[samples.Sample] = []
        self.began = monotonic()
        self.verdict = Verdict()

    async def carry_out(self, stop: asyncio.Event) -> Verdict:
        """Do all of it; an event ends the load early."""
        async with AsyncExitStack() as stack:
            for program in (self.steady, self.shaky, self.gateway):
                stack.push_async_callback(program.kill)
                await program.start()
            at_rest = samples.descriptors(self.gateway.pid)
            await self._load(stop)
            await self._settle(at_rest)
            await self.look_back()
            code = await self.gateway.end()
        self._judge(code)
        return self.verdict

    async def look_back(self) -> None:
        """Add what else is to be judged when the load has ended and the gateway is at rest."""

    async def _load(self, stop: asyncio.Event) -> None:
        """Let all clients play until the time is over."""
        self.began = monotonic()
        clients = [
            asyncio.create_task(forever(role, self.load), name=role.__name__)
            for role, number in self.roles.items()
            for _ in range(number)
        ]
        others = [asyncio.create_task(self._outages()), asyncio.create_task(self._sample())]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*others, stopped], timeout=self.settings.seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.load.stopping = True
            stopped.cancel()
            for other in others:
                other.cancel()
            results = await asyncio.gather(*others, return_exceptions=True)
        self.verdict.faults += [f"the run broke off: {each!r}" for each in results if isinstance(each, Exception)]
        _, late = await asyncio.wait(clients, timeout=SECONDS)
        for client in late:
            client.cancel()
        if late:
            names = ", ".join(sorted(client.get_name() for client in late))
            self.verdict.faults.append(f"still waiting {SECONDS:g} s behind the end: {names}")

    async def _outages(self) -> None:
        """Kill the shaky service and start it again, for ever."""
        while True:
            await asyncio.sleep(self.settings.outage_every)
            self.ledger.service_dies()
            await self.shaky.kill()
            await asyncio.sleep(self.settings.outage_seconds)
            await self.shaky.start()
            self.ledger.service_lives()

    async def _sample(self) -> None:
        """Look at the gateway each second, and tell how it goes each ten."""
        interval = min(1.0, self.settings.seconds / 30)
        told = monotonic()
        while True:
            await asyncio.sleep(interval)
            self.samples.append(self._look())
            if monotonic() - told >= PROGRESS_SECONDS:
                told += PROGRESS_SECONDS
                print(self._progress(), flush=True)

    def _look(self) -> samples.Sample:
        return samples.take(self.gateway.pid, self.gateway.port, self.service_ports)

    def _progress(self) -> str:
        last, seconds = self.samples[-1], monotonic() - self.began
        return (
            f"{seconds:5.0f} s  {self.ledger.asked:8} outcomes  {self.ledger.asked / seconds:5.0f}/s  "
            f"rss {last.rss / 1e6:6.1f} MB  fds {last.fds:4}  clients {last.clients:3}  endpoints {last.endpoints:3}  "
            f"violations {self.ledger.broken}"
        )

    async def _settle(self, at_rest: list[str]) -> None:
        """Wait until the gateway holds what it held before the load."""
        begun = monotonic()
        while len(found := samples.descriptors(self.gateway.pid)) > len(at_rest):
            if monotonic() - begun > self.settings.settle_seconds:
                last = self._look()
                self.verdict.faults.append(
                    f"{len(found)} file descriptors instead of {len(at_rest)} after {self.settings.settle_seconds:g} s "
                    f"of rest: {last.clients} clients, {last.endpoints} endpoints; {found}"
                )
                return
            await asyncio.sleep(0.1)
        self.verdict.lines.append(
            f"at rest after {monotonic() - begun:.1f} s with {len(found)} file descriptors, {len(at_rest)} before"
        )

    def _judge(self, code: int) -> None:
        faults, lines = self.verdict.faults, self.verdict.lines
        faults += self.ledger.violations
        if self.ledger.broken > len(self.ledger.violations):
            faults.append(f"... and {self.ledger.broken - len(self.ledger.violations)} further violations")
        if code != 0:
            faults.append(f"the gateway ended with {code}")
        for program in (self.gateway, self.steady, self.shaky):
            if text := program.log.read_text(errors="replace").strip():
                faults.append(f"{program.log.name} is not empty:\n{text[:4000]}")
        lines += [f"{number:8} {outcome}" for outcome, number in self.ledger.outcomes.most_common()]
        if len(self.samples) >= 9:
            warm, end = samples.growth(self.samples)
            lines.append(f"rss {warm / 1e6:.1f} MB behind the warm-up, {end / 1e6:.1f} MB at the end")
            lines.append(f"at most {max(each.fds for each in self.samples)} file descriptors")
            if not samples.is_flat(warm, end):
                faults.append(f"memory grew from {warm} to {end} bytes")
        if not self.ledger.outcomes["answered"]:
            faults.append("nothing was answered")


def soak_cast(settings: Settings, folder: Path) -> Cast:
    """Make those who take part in the soak run."""
    port, steady, shaky = free_ports(3)
    return Cast(
        programs.gateway(write_configuration(settings, folder, port, steady, shaky), port),
        programs.service("steady", steady, folder),
        programs.service("shaky", shaky, folder),
        {steady, shaky},
        Load(port, Ledger(), settings),
        ROLES,
    )


def free_ports(count: int) -> tuple[int, ...]:
    """Return so many different ports on which nobody listens."""
    ports = set[int]()
    while len(ports) < count:
        ports.add(free_port())
    return tuple(ports)


async def soak(settings: Settings, stop: asyncio.Event | None = None) -> Verdict:
    """Carry out a run in a folder of its own; every program it starts has ended when it returns."""
    with tempfile.TemporaryDirectory(prefix="propylon-soak-") as folder:
        return await Run(settings, soak_cast(settings, Path(folder))).carry_out(stop or asyncio.Event())
