"""Long-lived streams: WebSockets and server-sent events, in front of an upstream and a load of our own, in C."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench import measure
from bench.drive import WARM_UP_SECONDS
from bench.drive_streams import Talk, fan_out, idle_readers, idle_sockets, talk
from bench.peers import caddy, envoy, haproxy, nginx, node, propylon, traefik
from bench.peers.peer import Peer
from bench.processes import Running
from bench.scenarios.scenario import MB, Figures, Scenario
from bench.session import Session, require_files
from bench.upstream import streams

SMALL = Talk(100, 64)
LARGE = Talk(100, 16 * 1024)
PACED = Talk(100, 64, rate=5000)
# Few, because a gateway may hold the streams of readers that have gone for a while.
WARM_UP_READERS = 50
# A stream takes two of a gateway's files; the rest is for what it opens beside them.
FILES_BESIDE = 1000


def echoed(shape: Talk, session: Session, peer: Peer) -> Figures:
    with between(session, peer) as (_, program):
        talk(program, shape, WARM_UP_SECONDS)
        before = measure.cpu_seconds(program.pid)
        echoes = talk(program, shape, session.options.seconds)
        used = measure.cpu_seconds(program.pid) - before
        return {
            "message_us": used * 1e6 / echoes.messages,
            "messages": echoes.messages / echoes.seconds,
            "p50": echoes.p50,
            "p99": echoes.p99,
            "rss": measure.rss(program.pid) / MB,
            "busy": 100 * used / echoes.seconds,
        }


def paced(session: Session, peer: Peer) -> Figures:
    """The same messages on the same schedule, to the upstream itself and then through the gateway."""
    seconds = session.options.seconds
    with between(session, peer) as (upstream, program):
        direct = talk(upstream, PACED, seconds)
        talk(program, PACED, WARM_UP_SECONDS)
        before = measure.cpu_seconds(program.pid)
        through = talk(program, PACED, seconds)
        used = measure.cpu_seconds(program.pid) - before
        return {
            "direct_p99": direct.p99,
            "p50": through.p50,
            "p99": through.p99,
            "added": through.p99 - direct.p99,
            "busy": 100 * used / through.seconds,
        }


def held_sockets(session: Session, peer: Peer) -> Figures:
    count = session.options.streams
    require_files(2 * count + FILES_BESIDE)
    with between(session, peer) as (_, program):
        talk(program, SMALL, WARM_UP_SECONDS)
        before = measure.rss(program.pid)
        with idle_sockets(program, count, SMALL.size, session.new_directory("sockets")):
            return grown(program, before, count)


def held_readers(session: Session, peer: Peer) -> Figures:
    count = session.options.streams
    require_files(2 * count + FILES_BESIDE)
    with between(session, peer) as (upstream, program):
        fan_out(program, upstream, WARM_UP_READERS, session.options.events)
        before = measure.rss(program.pid)
        with idle_readers(program, count, session.new_directory("readers")):
            return grown(program, before, count)


def grown(program: Running, before: int, count: int) -> Figures:
    after = measure.rss(program.pid)
    return {"stream": (after - before) / count / 1e3, "rss": after / MB}


def fanned_out(session: Session, peer: Peer) -> Figures:
    count, events = session.options.streams, session.options.events
    require_files(2 * count + FILES_BESIDE)
    with between(session, peer) as (upstream, program):
        direct = fan_out(upstream, upstream, count, events)
        through = fan_out(program, upstream, count, events)
        return {"direct": direct, "through": through, "times": through / direct}


@contextmanager
def between(session: Session, peer: Peer) -> Iterator[tuple[Running, Running]]:
    """The upstream of the streams, and the gateway in front of it."""
    with streams(session.new_directory("streams")) as upstream, session.gateway(peer, upstream.port) as (program, _):
        yield upstream, program


RELAYS = (nginx.PEER, propylon.PEER, haproxy.PEER, envoy.PEER, traefik.PEER, node.HTTP_PROXY, node.FASTIFY)
GATEWAYS = (nginx.PEER, propylon.PEER, haproxy.PEER, envoy.PEER, traefik.PEER, caddy.PEER)
ECHO_COLUMNS = ("message_us", "messages", "p50", "p99", "rss", "busy")
SCENARIOS = (
    Scenario(
        "websocket",
        "WebSockets, 64 bytes there and back, 100 connections",
        RELAYS,
        partial(echoed, SMALL),
        ECHO_COLUMNS,
        "message_us",
    ),
    Scenario(
        "websocket_large",
        "WebSockets, 16 KiB there and back, 100 connections",
        RELAYS,
        partial(echoed, LARGE),
        ECHO_COLUMNS,
        "message_us",
    ),
    Scenario(
        "websocket_paced",
        "WebSockets, 5,000 messages a second over 100 connections",
        RELAYS,
        paced,
        ("direct_p99", "p50", "p99", "added", "busy"),
        "p99",
    ),
    Scenario("idle_websockets", "Idle WebSockets", RELAYS, held_sockets, ("stream", "rss"), "stream"),
    Scenario("idle_sse", "Quiet event streams", GATEWAYS, held_readers, ("stream", "rss"), "stream"),
    Scenario(
        "fan_out",
        "One event to all readers of an event stream",
        GATEWAYS,
        fanned_out,
        ("direct", "through", "times"),
        "times",
    ),
)
