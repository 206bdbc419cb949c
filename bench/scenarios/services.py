"""Services of several endpoints: what choosing and watching them costs, and what it is good for."""

from __future__ import annotations

from functools import partial

from bench.drive import WARM_UP_SECONDS, Pace, paced_clients
from bench.peers import propylon
from bench.peers.peer import Peer
from bench.scenarios.plain import LOAD_COLUMNS, SMALL, requests
from bench.scenarios.scenario import Figures, Scenario
from bench.session import Session
from bench.upstream import delayed

# What goes on is 500 x (4/5 x 2 ms + 1/5 x 20 ms) = 2.8 requests at a time in turns: nobody waits for a connection.
PACE = Pace(SMALL.path, connections=50, rate=500)


def one_is_slow(session: Session, peer: Peer) -> Figures:
    """Requests on schedule to a service one of whose endpoints takes ten times as long as the others."""
    with (
        delayed(session.new_directory("delayed"), propylon.SLOW, *propylon.QUICK) as upstream,
        session.gateway(peer, upstream.port) as (program, _),
    ):
        paced_clients(program, PACE, WARM_UP_SECONDS)
        found = paced_clients(program, PACE, session.options.seconds)
        return {"p50": found.p50, "p99": found.p99}


SCENARIOS = (
    Scenario(
        "endpoints",
        "Propylon: several endpoints with all that watches them, beside one",
        (propylon.ONE_ENDPOINT, propylon.TWO_ENDPOINTS, propylon.MANY_ENDPOINTS, propylon.MANY_IN_TURNS),
        partial(requests, SMALL),
        LOAD_COLUMNS,
        "cpu_us",
    ),
    Scenario(
        "slow_endpoint",
        "Propylon: one of five endpoints takes 20 ms, the others 2 ms; 500 requests a second",
        (propylon.P2C, propylon.ROUND_ROBIN),
        one_is_slow,
        ("p50", "p99"),
        "p99",
    ),
)
