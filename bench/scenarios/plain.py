"""Requests, bodies, idle clients and the start, without TLS."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial

from bench import drive, measure
from bench.drive import Shape
from bench.errors import Unavailable
from bench.peers import PEERS, envoy, nginx, propylon
from bench.peers.peer import Peer
from bench.processes import GATEWAY_CORE, Running
from bench.scenarios.scenario import MB, Figures, Scenario
from bench.session import Session, require_files
from bench.tools import PROJECT_PYTHON, REPOSITORY, executable
from bench.upstream import LARGE_BYTES, sink

IMPORTS = 10


def requests(shape: Shape, session: Session, peer: Peer) -> Figures:
    with session.gateway(peer, secure=shape.secure) as (program, _):
        directory = session.new_directory("wrk")
        drive.wrk(program, shape, drive.WARM_UP_SECONDS, directory)
        before = measure.cpu_seconds(program.pid)
        load = drive.wrk(program, shape, session.options.seconds, directory)
        used = measure.cpu_seconds(program.pid) - before
        return {
            "cpu_us": used * 1e6 / load.requests,
            "rate": load.requests / load.seconds,
            "p50": load.p50,
            "p99": load.p99,
            "throughput": load.requests * LARGE_BYTES / load.seconds / MB if shape == LARGE else 0.0,
            "rss": measure.rss(program.pid) / MB,
            "busy": 100 * used / load.seconds,
        }


def download(session: Session, peer: Peer, secure: bool = False) -> Figures:
    size = session.options.huge_bytes
    with session.gateway(peer, secure=secure) as (program, _):
        return transfer(program, size, lambda: drive.download(program, "/service/huge", size))


def upload(session: Session, peer: Peer) -> Figures:
    file = session.directory / "upstream" / "huge"
    with sink(session.new_directory("sink")) as swallows, session.gateway(peer, swallows.port) as (program, _):
        return transfer(program, session.options.huge_bytes, lambda: drive.upload(program, "/service/put", file))


def transfer(program: Running, size: int, go: Callable[[], measure.Transfer]) -> Figures:
    """One body through a gateway that has answered before, so that what it needs at all is resident already."""
    measure.start_peak(program.pid)
    start, before = measure.rss(program.pid), measure.cpu_seconds(program.pid)
    done = go()
    used = measure.cpu_seconds(program.pid) - before
    return {
        "throughput": size / done.seconds / MB,
        "cpu_ms": used * 1e3 / (size / 1e9),
        "growth": max(0.0, (measure.peak_rss(program.pid) - start) / MB),
        "busy": 100 * used / done.seconds,
    }


def idle(session: Session, peer: Peer) -> Figures:
    clients = session.options.idle_clients
    require_files(2 * clients)
    with session.gateway(peer) as (program, _):
        directory = session.new_directory("idle")
        drive.wrk(program, SMALL, drive.WARM_UP_SECONDS, directory)
        before = measure.rss(program.pid)
        with drive.idle_clients(program, "/service/get", clients, directory):
            after = measure.rss(program.pid)
        return {"client": (after - before) / clients / 1e3, "rss": after / MB}


def start(session: Session, peer: Peer) -> Figures:
    with session.gateway(peer) as (_, seconds):
        figures = {"first": seconds * 1e3}
    if peer is propylon.PEER:
        figures["import"] = import_milliseconds()
    return figures


def hooks(session: Session, peer: Peer) -> Figures:
    """What hooks cost in process, without a connection."""
    command = [executable("taskset"), "-c", str(GATEWAY_CORE), str(PROJECT_PYTHON), "-m", "bench.load.hooks"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=REPOSITORY)
    if done.returncode != 0:
        raise Unavailable("ended", done.stderr.strip().splitlines()[-1])
    figures: Figures = json.loads(done.stdout)
    return figures


def import_milliseconds() -> float:
    """What `import propylon` adds to the start of Python: difference of two medians, taken in turns."""
    bare, loaded = [], []
    for _ in range(IMPORTS):
        bare.append(python_seconds("pass"))
        loaded.append(python_seconds("import propylon"))
    return 1e3 * (statistics.median(loaded) - statistics.median(bare))


def python_seconds(code: str) -> float:
    command = [executable("taskset"), "-c", str(GATEWAY_CORE), str(PROJECT_PYTHON), "-c", code]
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise Unavailable("ended", done.stderr.strip().splitlines()[-1])
    return seconds


SMALL = Shape("/service/get", 50)
SPREAD = Shape("/service/get", 50, "spread.lua")
UNIQUE = Shape("/service/get", 50, "unique.lua")
LARGE = Shape("/service/large", 20)

LOAD_COLUMNS = ("cpu_us", "rate", "p50", "p99", "rss", "busy")
SCENARIOS = (
    Scenario("small", "Small GET, one route, 50 connections", PEERS, partial(requests, SMALL), LOAD_COLUMNS, "cpu_us"),
    Scenario(
        "unique",
        "Small GET, every path and header new, 50 connections",
        (nginx.PEER, propylon.PEER, envoy.PEER),
        partial(requests, UNIQUE),
        LOAD_COLUMNS,
        "cpu_us",
    ),
    Scenario(
        "routes",
        "Propylon: 5,000 routes beside one, over the same 5,000 paths",
        (propylon.ONE_ROUTE, propylon.MANY_ROUTES),
        partial(requests, SPREAD),
        LOAD_COLUMNS,
        "cpu_us",
    ),
    Scenario(
        "policies",
        "Propylon: policies beside none",
        (propylon.NO_POLICY, propylon.PLAIN_POLICIES, propylon.ASYNC_POLICY, propylon.READY_POLICY),
        partial(requests, SMALL),
        LOAD_COLUMNS,
        "cpu_us",
    ),
    Scenario(
        "large",
        "100 kB responses, 20 connections",
        PEERS,
        partial(requests, LARGE),
        ("throughput", "cpu_us", "p50", "p99", "rss", "busy"),
        "throughput",
    ),
    Scenario(
        "download",
        "Download of one huge body, one connection",
        PEERS,
        download,
        ("throughput", "cpu_ms", "growth", "busy"),
        "throughput",
    ),
    Scenario(
        "upload",
        "Upload of one huge body, one connection",
        PEERS,
        upload,
        ("throughput", "cpu_ms", "growth", "busy"),
        "throughput",
    ),
    Scenario("idle", "Idle keep-alive clients", PEERS, idle, ("client", "rss"), "client"),
    Scenario(
        "hooks",
        "Propylon: hooks of policies, in process",
        (propylon.PEER,),
        hooks,
        ("on_done", "first_done", "async_hook"),
        "on_done",
    ),
    Scenario("start", "From start to the first answer", PEERS, start, ("first", "import"), "first"),
)
