"""Results: the runs of every row, interleaved over the peers, and their medians."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.errors import Unavailable
from bench.peers.peer import Peer
from bench.scenarios.scenario import Figures, Scenario
from bench.session import Session
from bench.tools import say


@dataclass(slots=True)
class Row:
    """One peer in one scenario: the figures of its runs, or the word that says why there are none."""

    peer: str
    runs: list[Figures] = field(default_factory=list)
    skipped: str | None = None

    @property
    def median(self) -> Figures:
        """The median of each figure; nothing when a run failed, because what is left would flatter."""
        if self.skipped or not self.runs:
            return {}
        return {name: statistics.median(run[name] for run in self.runs) for name in self.runs[0]}


@dataclass(frozen=True, slots=True)
class Table:
    scenario: Scenario
    rows: list[Row]


def take(scenario: Scenario, session: Session, peers: Iterable[Peer]) -> Table:
    """Run a scenario: every peer once, then every peer again, so that the machine's noise falls on all of them."""
    rows = {peer: Row(peer.name) for peer in peers}
    for number in range(1, session.options.runs + 1):
        for peer, row in rows.items():
            if row.skipped:
                continue
            say(f"{scenario.name} {number}/{session.options.runs} {peer.name}")
            try:
                row.runs.append(scenario.measure(session, peer))
            except Unavailable as error:
                row.skipped = error.word
                say(f"  skipped, {error}")
    return Table(scenario, list(rows.values()))


def medians(tables: Iterable[Table]) -> dict[str, dict[str, Figures]]:
    return {table.scenario.name: {row.peer: row.median for row in table.rows} for table in tables}
