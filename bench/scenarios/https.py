"""TLS towards clients: requests, one huge body, and new handshakes."""

from __future__ import annotations

from functools import partial

from bench import measure
from bench.drive import WARM_UP_SECONDS, Shape
from bench.drive_handshakes import SLACK_SECONDS, handshakes, kept_client
from bench.peers import caddy, envoy, haproxy, nginx, propylon, traefik
from bench.peers.peer import Peer
from bench.scenarios.plain import LOAD_COLUMNS, download, requests
from bench.scenarios.scenario import Figures, Scenario
from bench.session import Session

SMALL = Shape("/service/get", 50, secure=True)


def greeted(session: Session, peer: Peer) -> Figures:
    """Handshakes one after the other over several connections, and a kept client whose requests go on meanwhile."""
    seconds = session.options.seconds
    identity = session.identity
    with session.gateway(peer, secure=True) as (program, _):
        alone = kept_client(program, identity, SMALL.path, WARM_UP_SECONDS)
        before = measure.cpu_seconds(program.pid)
        with handshakes(program, identity, seconds + SLACK_SECONDS) as found:
            kept = kept_client(program, identity, SMALL.path, seconds)
        used = measure.cpu_seconds(program.pid) - before
        return {
            "handshake_us": used * 1e6 / found[0].count,
            "handshakes": found[0].count / found[0].seconds,
            "alone": alone.p99,
            "p50": kept.p50,
            "p99": kept.p99,
            "busy": 100 * used / found[0].seconds,
        }


GATEWAYS = (nginx.PEER, propylon.PEER, haproxy.PEER, envoy.PEER, traefik.PEER, caddy.PEER)
SCENARIOS = (
    Scenario(
        "tls", "Small GET over TLS, 50 kept connections", GATEWAYS, partial(requests, SMALL), LOAD_COLUMNS, "cpu_us"
    ),
    Scenario(
        "tls_download",
        "Download of one huge body over TLS, one connection",
        GATEWAYS,
        partial(download, secure=True),
        ("throughput", "cpu_ms", "growth", "busy"),
        "throughput",
    ),
    Scenario(
        "tls_handshakes",
        "New TLS handshakes, and the latency of one kept client meanwhile",
        GATEWAYS,
        greeted,
        ("handshake_us", "handshakes", "alone", "p50", "p99", "busy"),
        "handshake_us",
    ),
)
