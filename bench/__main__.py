"""`python -m bench`: measure, print the report, keep it as JSON, and with --save as a table to commit."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from types import FrameType

from bench import report
from bench.bars import peers_of, verdicts
from bench.peers import ALL, propylon
from bench.peers.peer import Peer
from bench.results import medians, take
from bench.scenarios import GROUPS, SCENARIOS
from bench.scenarios.scenario import Scenario
from bench.session import Options, Session, session
from bench.tools import BENCH, require_system, say

QUICK = Options(seconds=2, runs=1, huge_bytes=128_000_000, idle_clients=1000, streams=1000, events=5)
RESULTS = BENCH / "results"


def main() -> None:
    arguments = parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    require_system()
    options = QUICK if arguments.quick else Options()
    if arguments.seconds:
        options = replace(options, seconds=arguments.seconds)
    try:
        with session(options) as current:
            text = measured(current, arguments.scenario, Rows(arguments.only, arguments.quick))
    except KeyboardInterrupt:
        raise SystemExit("interrupted; everything it started has been ended") from None
    print(text, end="")
    if arguments.save:
        path = RESULTS / f"{date.today().isoformat()}.md"
        path.write_text(text)
        say(f"saved {path.relative_to(BENCH.parent)}")


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows are measured: the peers asked for by name; else, for a look, those that a bar compares; else all."""

    only: Sequence[str] | None
    quick: bool

    def of(self, scenario: Scenario) -> list[Peer]:
        if self.only is not None:
            return [peer for peer in scenario.peers if self.name(peer) in self.only]
        compared = peers_of(scenario.name) if self.quick else set()
        return [peer for peer in scenario.peers if not compared or peer in {*compared, scenario.peers[0]}]

    @staticmethod
    def name(peer: Peer) -> str:
        """What a row is asked for by: Propylon's variants go with Propylon."""
        return peer.name if peer in ALL else propylon.PEER.name


def measured(current: Session, names: Sequence[str], rows: Rows) -> str:
    """Run the chosen scenarios, write `results/latest.json`, return the report."""
    chosen = [scenario for scenario in SCENARIOS if scenario.name in names]
    tables = [take(scenario, current, peers) for scenario in chosen if (peers := rows.of(scenario))]
    found = verdicts(medians(tables))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(report.document(tables, found, current), indent=2)
    (RESULTS / "latest.json").write_text(text + "\n")
    return report.markdown(tables, found, current)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="bench", description="Propylon beside its peers.")
    made.add_argument("--quick", action="store_true", help="one short run a row, and only the rows a bar compares")
    made.add_argument("--seconds", type=seconds, help="seconds of load a run (default 5, quick 2)")
    made.add_argument(
        "--only",
        type=peer_names,
        help="peers, separated by commas: " + ", ".join(peer.name for peer in ALL),
    )
    made.add_argument(
        "--scenario",
        type=scenario_names,
        default=[scenario.name for scenario in SCENARIOS],
        help="scenarios and groups of them, separated by commas: "
        + "; ".join(f"{group}: {', '.join(item.name for item in items)}" for group, items in GROUPS.items()),
    )
    made.add_argument("--save", action="store_true", help="write the report to bench/results, to be committed")
    return made


def seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 600:
        raise argparse.ArgumentTypeError("a whole number from 1 to 600")
    return int(text)


def peer_names(text: str) -> list[str]:
    return names(text, [peer.name for peer in ALL])


def scenario_names(text: str) -> list[str]:
    """The scenarios of a list in which a group stands for its own."""
    asked = names(text, [*GROUPS, *(scenario.name for scenario in SCENARIOS)])
    return [item for name in asked for item in ([found.name for found in GROUPS[name]] if name in GROUPS else [name])]


def names(text: str, known: Sequence[str]) -> list[str]:
    """The known names in a comma-separated list, whatever their case."""
    spelled = {name.lower(): name for name in known}
    asked = [part.strip().lower() for part in text.split(",")]
    unknown = [part for part in asked if part not in spelled]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)} (known: {', '.join(known)})")
    return [spelled[part] for part in asked]


def interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that what was started is ended too."""
    raise KeyboardInterrupt


main()
