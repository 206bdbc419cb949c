"""One call of the benchmark: its options, its directory, its upstream, and how a gateway is started for one run.

A gateway is started anew for every run, alone on its core, warmed up, measured, and ended.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench.errors import Unavailable
from bench.identity import Identity, make_identity
from bench.peers.peer import Peer, Place
from bench.processes import GATEWAY_CORE, LOAD_CORE, Running, answered, free_port, get, running
from bench.upstream import SMALL, upstream

FILES = 20000
ADDED_HEADERS = ("request id", "forwarded for", "forwarded proto")


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often: seconds of load a run, runs a row, bytes of a huge body, idle clients, streams."""

    seconds: int = 5
    runs: int = 3
    huge_bytes: int = 10**9
    idle_clients: int = 5000
    # WebSockets and event streams that are held, and the events that are published to them.
    streams: int = 4000
    events: int = 20


@dataclass(slots=True)
class Session:
    options: Options
    directory: Path
    upstream: Running
    identity: Identity
    # Peer -> the headers it was seen to add to a request: not all peers do the same job.
    headers: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def gateway(
        self, peer: Peer, upstream_port: int | None = None, secure: bool = False
    ) -> Iterator[tuple[Running, float]]:
        """A started gateway that has answered, and the seconds from its start to that answer.

        Parameters:
            upstream_port: what it forwards to, the session's own upstream when None.
            secure: listen with TLS.

        Raises Unavailable when it cannot be installed, ends, or does not answer.
        """
        self.versions[peer.name] = peer.install()
        directory = self.new_directory(peer.name)
        identity = self.identity if secure else None
        place = Place(directory, free_port(), upstream_port or self.upstream.port, identity)
        with running(peer.command(place), place.port, GATEWAY_CORE, directory / "output", identity) as program:
            seconds = answered(program, "/service/get")
            if upstream_port is None:
                self.look_at(peer, program)
            yield program, seconds

    def new_directory(self, name: str) -> Path:
        slug = "".join(letter if letter.isalnum() else "-" for letter in name)
        directory = self.directory / f"{next(self.numbers):03d}-{slug}"
        directory.mkdir()
        return directory

    def look_at(self, peer: Peer, program: Running) -> None:
        """See once that the answer is the upstream's, and which headers reach the upstream."""
        if peer.name in self.headers:
            return
        status, body = get(program, "/service/get")
        if (status, body) != (200, SMALL):
            raise Unavailable("errors", f"answered {status} {body[:80]!r}")
        _, seen = get(program, "/service/headers")
        values = seen.decode("latin-1").split("|")
        self.headers[peer.name] = [name for name, value in zip(ADDED_HEADERS, values, strict=False) if value]


@contextmanager
def session(options: Options) -> Iterator[Session]:
    """Pin this process to the load's core, start the upstream; end it and remove every file at the end."""
    require_cores()
    os.sched_setaffinity(0, {LOAD_CORE})
    raise_file_limit()
    shared = Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="propylon-bench-", dir=place) as name:
        directory = Path(name)
        with upstream(directory / "upstream", options.huge_bytes) as program:
            yield Session(options, directory, program, make_identity(directory))


def require_cores() -> None:
    if not {GATEWAY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("the benchmark needs two cores, 0 and 1: one for the gateway, one for everything else")


def raise_file_limit() -> None:
    """Allow this process and all it starts as many files as the idle clients need, as far as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, FILES), max(hard, FILES)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def require_files(number: int) -> None:
    """Unavailable("limit") when this process, and so what it starts, may not hold as many open files."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < number:
        raise Unavailable("limit", f"{number} open files are needed, and this machine allows fewer")
