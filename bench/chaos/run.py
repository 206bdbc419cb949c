"""One chaos run: the soak run's course with other services, other clients, and the ledger of endings."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

from bench.chaos import journal
from bench.chaos.body_roles import BODY_ROLES
from bench.chaos.hostile_roles import HOSTILE_ROLES
from bench.chaos.journal import Entry
from bench.chaos.load import ChaosLoad
from bench.chaos.settings import Ports, Settings, write_configuration
from bench.chaos.socket_roles import SOCKET_ROLES
from bench.chaos.stream_roles import STREAM_ROLES
from bench.soak import programs
from bench.soak.ledger import Ledger
from bench.soak.load import Role
from bench.soak.programs import ROOT, Program
from bench.soak.roles import early_answers, keep_alive, slow_reader, uploading
from bench.soak.run import Cast, Run, Verdict, free_ports

PLAIN_ROLES: Mapping[Role, int] = {keep_alive: 3, uploading: 3, slow_reader: 2, early_answers: 1}


class ChaosRun(Run):
    """A run at whose end both sides of every stream are compared."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        ports = Ports(*free_ports(6))
        self._journals = {name: folder / f"{name}.journal" for name in ("steady", "shaky")}
        load = ChaosLoad(ports.plain, ports.tls, Ledger(), settings)
        gateway = programs.gateway(write_configuration(settings, folder, ports), ports.plain)
        steady = self._service("steady", ports.steady_sockets, ports.steady, folder)
        shaky = self._service("shaky", ports.shaky_sockets, ports.shaky, folder)
        roles = dict[Role, int]()
        for more in (PLAIN_ROLES, BODY_ROLES, SOCKET_ROLES, STREAM_ROLES, HOSTILE_ROLES):
            roles.update(more)
        super().__init__(settings, Cast(gateway, steady, shaky, ports.services, load, roles))
        self._endings = load.endings

    def _service(self, name: str, sockets_port: int, port: int, folder: Path) -> Program:
        words = [str(sockets_port), str(port), str(self._journals[name])]
        arguments = [sys.executable, "-m", "bench.chaos.service", *words]
        return Program(arguments, sockets_port, ROOT, folder / f"{name}.log")

    async def look_back(self) -> None:
        """Compare what clients and services saw; count what the gateway still holds."""
        for _ in range(int(self.settings.settle_seconds)):
            if not self._endings.missing(self._entries()):
                break
            await asyncio.sleep(1)
        self._endings.reconcile(self._entries())
        left = await asyncio.to_thread(self._census)
        self.verdict.lines.append(f"left in the gateway: {left}")
        if any(left.values()):
            self.verdict.faults.append(f"the gateway still holds {left}")

    def _entries(self) -> list[Entry]:
        return [entry for path in self._journals.values() for entry in journal.read(path)]

    def _census(self) -> dict[str, int]:
        with urlopen(f"http://127.0.0.1:{self.gateway.port}/census", timeout=10) as answer:
            counted: dict[str, int] = json.load(answer)
        return counted


async def chaos(settings: Settings, stop: asyncio.Event | None = None) -> Verdict:
    """Carry out a run in a folder of its own; every program it starts has ended when it returns."""
    with tempfile.TemporaryDirectory(prefix="propylon-chaos-") as folder:
        return await ChaosRun(settings, Path(folder)).carry_out(stop or asyncio.Event())
