"""Propylon, with TLS or without, and its variants: many routes, policies, services of several endpoints.

Routes and endpoints are measured from a YAML file, in which 5,000 routes share one service; policies from a Python
program, in which they are what a user writes. Each variant stands beside a twin that differs in nothing else.
"""

from __future__ import annotations

from functools import partial

from bench.errors import Unavailable
from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import PROJECT_PYTHON
from bench.upstream import ADDRESSES

ROUTES = 5000
PROGRAM = """
import asyncio

from propylon import Gateway


def one(exchange): return None
def two(exchange): return None
def three(exchange): return None
def four(exchange): return None
def five(exchange): return None


async def waits(exchange):
    await asyncio.sleep(0)


async def ready(exchange): return None


gateway = Gateway(listen="127.0.0.1:{port}")
gateway.route("/service/*", target="{upstream}", policies=[{policies}])
"""
FILE = """
listen: {listen}
services:
  service:
    endpoints: ["{upstream}"]
routes:
{routes}
"""
SERVICE = """
listen: {listen}
services:
  service:
    endpoints: [{endpoints}]
    {settings}
routes:
  - {{path: "/service/*", service: service}}
"""
EVERYTHING = """
    balance: p2c
    breaker: {failure_rate: 50%, consecutive: 5}
    health: {path: /service/get, interval: 30s, passive: {consecutive: 5, failure_rate: 50%}}
    retry: {attempts: 3}
    slow_start: 10s
"""
NOTHING = """
    balance: round_robin
    health: {passive: {enabled: false}}
    retry: {attempts: 1}
"""


def install() -> str:
    if not PROJECT_PYTHON.with_name("propylon").exists():
        raise Unavailable("absent", "the project is not installed into .venv")
    return "this tree"


def from_file(paths: tuple[str, ...], place: Place) -> Command:
    routes = "\n".join(f'  - {{path: "{path}", service: service}}' for path in paths)
    text = FILE.format(listen=listener(place), upstream=place.upstream, routes=routes)
    return run(place.write("propylon.yaml", text), place)


def from_service(addresses: tuple[str, ...], settings: str, place: Place) -> Command:
    endpoints = ", ".join(f'"http://{address}:{place.upstream_port}"' for address in addresses)
    text = SERVICE.format(listen=listener(place), endpoints=endpoints, settings=settings)
    return run(place.write("propylon.yaml", text), place)


def listener(place: Place) -> str:
    address = f"127.0.0.1:{place.port}"
    if place.identity is None:
        return address
    return f"{{address: {address}, tls: {{certificate: {place.identity.certificate}, key: {place.identity.key}}}}}"


def from_program(policies: str, place: Place) -> Command:
    text = PROGRAM.format(port=place.port, upstream=place.upstream, policies=policies)
    place.write("bench_gateway.py", text)
    return run("bench_gateway:gateway", place)


def run(what: str, place: Place) -> Command:
    program = str(PROJECT_PYTHON.with_name("propylon"))
    return Command([program, "run", what], {"PYTHONPATH": str(place.directory)}, place.directory)


# Half the routes are exact and half are prefixes; the last one answers the probe before a run.
MANY = (
    *(f"/service/r{number:04d}/" + ("get" if number % 2 else "*") for number in range(ROUTES - 1)),
    "/service/*",
)

*QUICK, SLOW = ADDRESSES[:5]

PEER = Peer("Propylon", install, partial(from_file, ("/service/*",)))
ONE_ROUTE = Peer("one route", install, partial(from_file, ("/service/*",)))
MANY_ROUTES = Peer("5,000 routes", install, partial(from_file, MANY))
NO_POLICY = Peer("no policy", install, partial(from_program, ""))
PLAIN_POLICIES = Peer("five plain policies", install, partial(from_program, "one, two, three, four, five"))
ASYNC_POLICY = Peer("one async policy", install, partial(from_program, "waits"))
READY_POLICY = Peer("one async policy that never waits", install, partial(from_program, "ready"))
ONE_ENDPOINT = Peer("one endpoint", install, partial(from_service, ADDRESSES[:1], ""))
TWO_ENDPOINTS = Peer("two endpoints, all on", install, partial(from_service, ADDRESSES[:2], EVERYTHING))
MANY_ENDPOINTS = Peer("1,000 endpoints, all on", install, partial(from_service, ADDRESSES, EVERYTHING))
MANY_IN_TURNS = Peer("1,000 endpoints in turns", install, partial(from_service, ADDRESSES, NOTHING))
P2C = Peer("p2c", install, partial(from_service, ADDRESSES[:5], "balance: p2c"))
ROUND_ROBIN = Peer("round_robin", install, partial(from_service, ADDRESSES[:5], "balance: round_robin"))
