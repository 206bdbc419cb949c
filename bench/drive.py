"""The load of requests: wrk, curl for huge bodies, our own clients for idle connections; all on the load's core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import measure
from bench.errors import Unavailable
from bench.identity import Identity
from bench.processes import LOAD_CORE, Command, Running, running
from bench.tools import LOAD, executable

WARM_UP_SECONDS = 1
TRANSFER_SECONDS = 120
READY_SECONDS = 60
# Beyond the seconds of load: what the clients themselves wait for the last answers, and more.
PACED_PATIENCE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Shape:
    """What wrk sends: the path, over how many connections, the script that makes each request, if one does, and TLS."""

    path: str
    connections: int
    script: str | None = None
    secure: bool = False


def wrk(program: Running, shape: Shape, seconds: int, directory: Path) -> measure.Load:
    """Load a gateway; Unavailable("errors") when any answer was wrong or missing, ("slow") when wrk does not end."""
    parts = ["summary.lua", *([shape.script] if shape.script else [])]
    script = directory / "wrk.lua"
    script.write_text("\n".join((LOAD / part).read_text() for part in parts))
    options = ["-t1", f"-c{shape.connections}", f"-d{seconds}s", "-s", str(script)]
    output = pinned([executable("wrk"), *options, program.url(shape.path)], seconds + 15, program.identity)
    load = measure.parse_wrk(output)
    if load.failures or not load.requests:
        raise Unavailable("errors", f"{load.failures} failures in {load.requests} requests; {program.last_words()}")
    return load


def download(program: Running, path: str, size: int) -> measure.Transfer:
    """Fetch a body of `size` bytes; Unavailable("short") when it does not come whole."""
    output = curl(program, ["--output", "/dev/null", "--write-out", measure.CURL_FORMAT, program.url(path)])
    transfer = measure.parse_curl(output)
    if (transfer.status, transfer.received) != (200, size):
        raise Unavailable("short", f"{transfer}; {program.last_words()}")
    return transfer


def upload(program: Running, path: str, file: Path) -> measure.Transfer:
    """Send a file; Unavailable("short") when the sink did not get it whole."""
    size = file.stat().st_size
    # Without waiting for `100 Continue`: a gateway that does not send it would cost curl a second.
    options = ["--header", "Expect:", "--upload-file", str(file), "--write-out", "\n" + measure.CURL_FORMAT]
    told, _, figures = curl(program, [*options, program.url(path)]).rpartition("\n")
    transfer = measure.parse_curl(figures)
    # A chunked body is counted with its framing.
    if transfer.status != 200 or not told.isdigit() or int(told) < size:
        raise Unavailable("short", f"the sink tells {told[:80]!r}; {transfer}; {program.last_words()}")
    return transfer


def curl(program: Running, arguments: list[str]) -> str:
    trusted = ["--cacert", str(program.identity.certificate)] if program.identity else []
    command = [executable("curl"), "--silent", "--http1.1", *trusted, *arguments]
    return pinned(command, TRANSFER_SECONDS, program.identity)


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests on schedule: the path, over how many connections, how many a second."""

    path: str
    connections: int
    rate: int


def paced_clients(program: Running, pace: Pace, seconds: int) -> measure.Latencies:
    """Send requests on schedule, whatever comes back; Unavailable("errors") when one is not answered."""
    numbers = (pace.connections, pace.rate, seconds)
    command = [sys.executable, str(LOAD / "paced_clients.py"), str(program.port), pace.path, *map(str, numbers)]
    output = pinned(command, seconds + PACED_PATIENCE_SECONDS)
    try:
        return measure.parse_latencies(output)
    except ValueError as error:
        raise Unavailable("errors", f"the clients: {output.strip()[-200:]}; {program.last_words()}") from error


@contextmanager
def idle_clients(program: Running, path: str, count: int, directory: Path) -> Iterator[None]:
    """Hold `count` connections that have done one request each."""
    arguments = [sys.executable, str(LOAD / "idle.py"), str(program.port), path, str(count)]
    with held(program, Command(arguments), directory):
        yield


@contextmanager
def held(program: Running, command: Command, directory: Path) -> Iterator[None]:
    """Run clients that print `ready` when all of them are served, and then hold what they have."""
    with running(command, program.port, LOAD_CORE, directory / "clients.output") as clients:
        while clients.output.read_text() != "ready\n":
            if clients.process.poll() is not None:
                raise Unavailable("errors", f"{clients.last_words()}; {program.last_words()}")
            if time.monotonic() > clients.started + READY_SECONDS:
                raise Unavailable("slow", f"the clients were not all served in {READY_SECONDS} s")
            time.sleep(0.02)
        yield


def pinned(command: list[str], seconds: float, identity: Identity | None = None) -> str:
    """What a program prints, run on the load's core; it may fail, its output tells."""
    arguments = [executable("taskset"), "-c", str(LOAD_CORE), *command]
    environment = {**os.environ, **(identity.environment if identity else {})}
    try:
        done = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired as error:
        raise Unavailable("slow", f"{command[0]} did not end in {seconds} s") from error
    return done.stdout
