"""The bars: what Propylon's figures must keep to, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.peers import envoy, nginx, node, propylon, traefik
from bench.peers.peer import Peer

# A gateway that used less of its core than this, in percent, waited for the load.
SATURATED = 90

# scenario -> peer -> figure -> median
Medians = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for one figure of one row; a ratio when `against` names another row of the same scenario."""

    text: str
    scenario: str
    figure: str
    limit: float
    against: Peer | None = None
    peer: Peer = propylon.PEER
    at_least: bool = False
    unit: str = "x"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bar measured: None when one of its rows was not measured.

    `load_bound` says that a throughput was the load's: a gateway in it had time to spare.
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
        return told + (", but the load was the slower side" if self.load_bound else "")


BARS = (
    Bar("small GET, CPU beside nginx", "small", "cpu_us", 1.5, nginx.PEER),
    Bar("small GET, CPU beside Envoy", "small", "cpu_us", 0.85, envoy.PEER),
    Bar("small GET, CPU beside Traefik", "small", "cpu_us", 0.55, traefik.PEER),
    Bar("small GET, CPU beside fast-gateway", "small", "cpu_us", 0.5, node.FAST_GATEWAY),
    Bar("5,000 routes beside one, CPU", "routes", "cpu_us", 1.1, propylon.ONE_ROUTE, propylon.MANY_ROUTES),
    Bar("five plain policies beside none, CPU", "policies", "cpu_us", 1.1, propylon.NO_POLICY, propylon.PLAIN_POLICIES),
    Bar("one async policy beside none, CPU", "policies", "cpu_us", 1.25, propylon.NO_POLICY, propylon.ASYNC_POLICY),
    Bar("100 kB, throughput beside nginx", "large", "throughput", 0.8, nginx.PEER, at_least=True),
    Bar("download, throughput beside nginx", "download", "throughput", 0.6, nginx.PEER, at_least=True),
    Bar("upload, throughput beside nginx", "upload", "throughput", 0.6, nginx.PEER, at_least=True),
    Bar("download, memory grows", "download", "growth", 20, unit="MB"),
    Bar("upload, memory grows", "upload", "growth", 20, unit="MB"),
    Bar("an idle client", "idle", "client", 6, unit="kB"),
    Bar("import propylon", "start", "import", 150, unit="ms"),
    Bar("start to first answer", "start", "first", 500, unit="ms"),
)


def verdicts(medians: Medians) -> list[Verdict]:
    """Hold every bar against the medians of a run."""
    return [Verdict(bar, measured(bar, medians), load_bound(bar, medians)) for bar in BARS]


def measured(bar: Bar, medians: Medians) -> float | None:
    rows = medians.get(bar.scenario, {})
    value = rows.get(bar.peer.name, {}).get(bar.figure)
    if bar.against is None or value is None:
        return value
    base = rows.get(bar.against.name, {}).get(bar.figure)
    return value / base if base else None


def load_bound(bar: Bar, medians: Medians) -> bool:
    if bar.figure != "throughput":
        return False
    rows = medians.get(bar.scenario, {})
    names = [peer.name for peer in (bar.peer, bar.against) if peer is not None]
    return any(rows.get(name, {}).get("busy", 100.0) < SATURATED for name in names)
