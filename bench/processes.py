"""Programs under measurement: started on one core, waited for, and ended by the id they were started with.

Every program is the leader of its own session, so that its children belong to it wherever they hang: what is measured
and what is ended is that session. A run that is interrupted ends its programs on the way out.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from bench import measure
from bench.errors import Unavailable
from bench.identity import Identity
from bench.tools import executable

GATEWAY_CORE = 0
LOAD_CORE = 1
START_SECONDS = 30.0
END_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start: its arguments, what it needs beyond our environment, and where it runs."""

    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A started program: the id of its session, its port, the file with what it printed, its identity if it has TLS."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    started: float
    identity: Identity | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def url(self, path: str) -> str:
        return f"{'https' if self.identity else 'http'}://127.0.0.1:{self.port}{path}"

    def last_words(self) -> str:
        lines = self.output.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"


@contextmanager
def running(
    command: Command, port: int, core: int, output: Path, identity: Identity | None = None
) -> Iterator[Running]:
    """Start a program on a core; end its whole session when the block is left, however that happens."""
    arguments = [executable("taskset"), "-c", str(core), *command.arguments]
    with output.open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **command.environment},
            cwd=command.directory,
            start_new_session=True,
        )
    try:
        yield Running(process, port, output, started, identity)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the session to end, then insist. Returns when none of its processes is left."""
    deadline = time.monotonic() + END_SECONDS
    signal_all(process.pid, signal.SIGTERM)
    while measure.session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    signal_all(process.pid, signal.SIGKILL)
    process.wait()


def signal_all(leader: int, number: signal.Signals) -> None:
    for pid in measure.session(leader):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def answered(program: Running, path: str) -> float:
    """Wait for the program's first 200 for this path; seconds from its start to that answer.

    Raises Unavailable("ended") when it ends before, ("silent") when it never answers so.
    """
    last = "no connection"
    while time.monotonic() < program.started + START_SECONDS:
        if program.process.poll() is not None:
            raise Unavailable("ended", program.last_words())
        try:
            status, _ = get(program, path)
        except (OSError, HTTPException) as error:
            last = str(error) or type(error).__name__
        else:
            if status == 200:
                return time.monotonic() - program.started
            last = f"status {status}"
        time.sleep(0.001)
    raise Unavailable("silent", f"{last}; {program.last_words()}")


def get(program: Running, path: str) -> tuple[int, bytes]:
    if program.identity:
        connection: HTTPConnection = HTTPSConnection(
            "127.0.0.1", program.port, timeout=5, context=program.identity.client_context()
        )
    else:
        connection = HTTPConnection("127.0.0.1", program.port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def free_port() -> int:
    """A port nobody listens on, from below the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
