"""The bars: what Propylon's figures must keep to, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.peers import envoy, nginx, node, propylon, traefik
from bench.peers.peer import Peer

# A gateway that used less of its core than this, in percent, waited for the load.
SATURATED = 90

Figures = Mapping[str, float]
# peer -> figure -> median
Rows = Mapping[str, Figures]
# scenario -> rows
Medians = Mapping[str, Rows]


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for one figure of one row; a ratio when `against` names another row of the same scenario.

    `cost` names the CPU time a unit takes, for a figure that counts units in a time: when the load was the slower side,
    that count is the load's, and what the gateways could do is told by their CPU time.
    """

    text: str
    scenario: str
    figure: str
    limit: float
    against: Peer | None = None
    peer: Peer = propylon.PEER
    at_least: bool = False
    unit: str = "x"
    cost: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bar measured: None when one of its rows was not measured.

    `load_bound` says that the load was the slower side, and CPU time was compared instead.
    """

    bar: Bar
    measured: float | None
    load_bound: bool = False

    @property
    def limit(self) -> str:
        return f"{'>=' if self.bar.at_least else '<='} {self.bar.limit:g} {self.bar.unit}"

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.bar.limit if self.bar.at_least else self.measured <= self.bar.limit

    @property
    def distance(self) -> str:
        """Met or missed, and by how many percent of the limit."""
        if self.measured is None:
            return "not measured"
        percent = 100 * abs(self.measured - self.bar.limit) / self.bar.limit
        told = f"met, {percent:.0f} % to spare" if self.met else f"**missed by {percent:.0f} %**"
        return told + (", by CPU time: the load was the slower side" if self.load_bound else "")


# A scenario whose first figure is a count in a time -> that figure, and the CPU time that stands behind it.
RATES = {
    "large": ("throughput", "cpu_us"),
    "download": ("throughput", "cpu_ms"),
    "upload": ("throughput", "cpu_ms"),
    "websocket": ("messages", "message_us"),
    "websocket_large": ("messages", "message_us"),
    "tls_download": ("throughput", "cpu_ms"),
    "tls_handshakes": ("handshakes", "handshake_us"),
}


def rate(text: str, scenario: str, limit: float, against: Peer) -> Bar:
    """At least so many times what another does in the same time."""
    figure, cost = RATES[scenario]
    return Bar(text, scenario, figure, limit, against, at_least=True, cost=cost)


BARS = (
    Bar("small GET, CPU beside nginx", "small", "cpu_us", 1.5, nginx.PEER),
    Bar("small GET, CPU beside Envoy", "small", "cpu_us", 0.85, envoy.PEER),
    Bar("small GET, CPU beside Traefik", "small", "cpu_us", 0.55, traefik.PEER),
    Bar("small GET, CPU beside fast-gateway", "small", "cpu_us", 0.5, node.FAST_GATEWAY),
    Bar("5,000 routes beside one, CPU", "routes", "cpu_us", 1.1, propylon.ONE_ROUTE, propylon.MANY_ROUTES),
    Bar("five plain policies beside none, CPU", "policies", "cpu_us", 1.1, propylon.NO_POLICY, propylon.PLAIN_POLICIES),
    Bar("one async policy beside none, CPU", "policies", "cpu_us", 1.25, propylon.NO_POLICY, propylon.ASYNC_POLICY),
    Bar("the same that never waits, CPU", "policies", "cpu_us", 1.25, propylon.NO_POLICY, propylon.READY_POLICY),
    Bar("two endpoints beside one, CPU", "endpoints", "cpu_us", 1.1, propylon.ONE_ENDPOINT, propylon.TWO_ENDPOINTS),
    Bar("1,000 endpoints beside one, CPU", "endpoints", "cpu_us", 1.1, propylon.ONE_ENDPOINT, propylon.MANY_ENDPOINTS),
    Bar(
        "one of five endpoints slow, p99 of round_robin beside p2c",
        "slow_endpoint",
        "p99",
        3,
        propylon.P2C,
        propylon.ROUND_ROBIN,
        at_least=True,
    ),
    rate("100 kB, throughput beside nginx", "large", 0.8, nginx.PEER),
    rate("download, throughput beside nginx", "download", 0.6, nginx.PEER),
    rate("upload, throughput beside nginx", "upload", 0.6, nginx.PEER),
    Bar("download, memory grows", "download", "growth", 20, unit="MB"),
    Bar("upload, memory grows", "upload", "growth", 20, unit="MB"),
    Bar("an idle client", "idle", "client", 6, unit="kB"),
    Bar("an empty on_done, in process", "hooks", "on_done", 100, unit="ns"),
    Bar("import propylon", "start", "import", 150, unit="ms"),
    Bar("start to first answer", "start", "first", 500, unit="ms"),
    rate("WebSocket messages beside nginx", "websocket", 0.7, nginx.PEER),
    rate("WebSocket messages beside http-proxy", "websocket", 2, node.HTTP_PROXY),
    rate("WebSocket messages beside @fastify/http-proxy", "websocket", 2, node.FASTIFY),
    rate("16 KiB WebSocket messages beside nginx", "websocket_large", 0.7, nginx.PEER),
    rate("16 KiB WebSocket messages beside http-proxy", "websocket_large", 2, node.HTTP_PROXY),
    rate("16 KiB WebSocket messages beside @fastify/http-proxy", "websocket_large", 2, node.FASTIFY),
    Bar("paced WebSocket messages, added to p99", "websocket_paced", "added", 1, unit="ms"),
    Bar("an idle WebSocket", "idle_websockets", "stream", 12, unit="kB"),
    Bar("a quiet event stream", "idle_sse", "stream", 12, unit="kB"),
    Bar("an event to all readers, beside directly", "fan_out", "times", 1.5),
    Bar("small GET over TLS, CPU beside nginx", "tls", "cpu_us", 1.6, nginx.PEER),
    rate("download over TLS, throughput beside nginx", "tls_download", 0.5, nginx.PEER),
    rate("TLS handshakes beside nginx", "tls_handshakes", 0.5, nginx.PEER),
    Bar("p99 of a kept client during TLS handshakes", "tls_handshakes", "p99", 5, unit="ms"),
)


def peers_of(scenario: str) -> set[Peer]:
    """The rows of a scenario that its bars compare."""
    pairs = [(bar.peer, bar.against) for bar in BARS if bar.scenario == scenario]
    return {peer for pair in pairs for peer in pair if peer is not None}


def verdicts(medians: Medians) -> list[Verdict]:
    """Hold every bar against the medians of a run."""
    return [verdict(bar, medians.get(bar.scenario, {})) for bar in BARS]


def verdict(bar: Bar, rows: Rows) -> Verdict:
    mine = rows.get(bar.peer.name, {})
    if bar.against is None:
        return Verdict(bar, mine.get(bar.figure))
    other = rows.get(bar.against.name, {})
    if bar.cost and min(row.get("busy", 100.0) for row in (mine, other)) < SATURATED:
        return Verdict(bar, ratio(other, mine, bar.cost), load_bound=True)
    return Verdict(bar, ratio(mine, other, bar.figure))


def ratio(one: Figures, other: Figures, figure: str) -> float | None:
    value, unit = one.get(figure), other.get(figure)
    return None if value is None or not unit else value / unit
