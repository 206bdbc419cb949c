"""The report: Markdown tables for people, JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.bars import Verdict
from bench.peers import ALL
from bench.results import Row, Table
from bench.session import ADDED_HEADERS, Session

# figure -> heading with its unit, digits after the point; kB and MB are 1000 and 1000 000 bytes
COLUMNS = {
    "cpu_us": ("CPU us/request", 1),
    "rate": ("requests/s", 0),
    "p50": ("p50 ms", 2),
    "p99": ("p99 ms", 2),
    "rss": ("RSS MB", 1),
    "busy": ("core busy %", 0),
    "throughput": ("MB/s", 0),
    "cpu_ms": ("CPU ms/GB", 0),
    "growth": ("RSS growth MB", 1),
    "client": ("RSS kB/client", 1),
    "first": ("first answer ms", 0),
    "import": ("import ms", 0),
    "first_done": ("first on_done ns", 0),
    "on_done": ("each further ns", 0),
    "async_hook": ("async hook ns", 0),
    "message_us": ("CPU us/message", 1),
    "messages": ("messages/s", 0),
    "direct_p99": ("p99 ms directly", 2),
    "added": ("added to p99 ms", 2),
    "stream": ("RSS kB/stream", 1),
    "direct": ("ms directly", 1),
    "through": ("ms through it", 1),
    "times": ("times", 2),
    "handshake_us": ("CPU us/handshake", 0),
    "handshakes": ("handshakes/s", 0),
    "alone": ("p99 ms alone", 2),
}


def markdown(tables: Iterable[Table], verdicts: Sequence[Verdict], session: Session) -> str:
    """The whole report."""
    parts = [conditions(session), *(scenario(table) for table in tables), bars(verdicts), notes(session)]
    return "\n\n".join(part for part in parts if part) + "\n"


def scenario(table: Table) -> str:
    chosen = table.scenario
    base = table.rows[0]
    headings = [heading for heading, _ in (COLUMNS[name] for name in chosen.columns)]
    lines = [
        line("", *headings, f"to {base.peer}"),
        line("---", *("---:" for _ in headings), "---:"),
        *(line(row.peer, *cells(row, chosen.columns), ratio(row, base, chosen.ratio_of)) for row in table.rows),
    ]
    return f"### {chosen.title}\n\n" + "\n".join(lines)


def cells(row: Row, columns: Sequence[str]) -> list[str]:
    if row.skipped:
        return [row.skipped, *("" for _ in columns[1:])]
    median = row.median
    return [f"{median[name]:,.{COLUMNS[name][1]}f}" if name in median else "" for name in columns]


def ratio(row: Row, base: Row, figure: str) -> str:
    value, unit = row.median.get(figure), base.median.get(figure)
    return f"{value / unit:.2f}" if value is not None and unit else ""


def bars(verdicts: Sequence[Verdict]) -> str:
    lines = [line("bar", "limit", "measured", ""), line("---", "---:", "---:", "---")]
    for verdict in verdicts:
        figure = "" if verdict.measured is None else f"{verdict.measured:.2f} {verdict.bar.unit}"
        lines.append(line(verdict.bar.text, verdict.limit, figure, verdict.distance))
    return "### bars\n\n" + "\n".join(lines)


def conditions(session: Session) -> str:
    options = session.options
    return (
        f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}. "
        f"{options.seconds} s of load a run, {runs(options.runs)}; huge bodies of "
        f"{options.huge_bytes / 1e6:,.0f} MB, {options.idle_clients:,} idle clients, "
        f"{options.streams:,} idle streams."
    )


def runs(number: int) -> str:
    return "one run a row: a look, not a result" if number == 1 else f"median of {number} interleaved runs a row"


def notes(session: Session) -> str:
    """Versions, and which peers were seen to do less than the same job."""
    known = {peer.name for peer in ALL}
    versions = "; ".join(f"{peer}: {version}" for peer, version in session.versions.items() if peer in known)
    less = [
        f"{peer} does not add {', '.join(name for name in ADDED_HEADERS if name not in added)}"
        for peer, added in session.headers.items()
        if len(added) < len(ADDED_HEADERS)
    ]
    return "\n\n".join(part for part in (f"Versions: {versions}.", "; ".join(less) + "." if less else "") if part)


def document(tables: Iterable[Table], verdicts: Iterable[Verdict], session: Session) -> dict[str, object]:
    """Everything that was measured, every run of it, ready for JSON."""
    return {
        "conditions": conditions(session),
        "versions": session.versions,
        "headers": session.headers,
        "scenarios": {
            table.scenario.name: {
                row.peer: {"median": row.median, "runs": row.runs, "skipped": row.skipped} for row in table.rows
            }
            for table in tables
        },
        "bars": [
            {
                "bar": item.bar.text,
                "limit": item.limit,
                "measured": item.measured,
                "met": item.met,
                "load_bound": item.load_bound,
            }
            for item in verdicts
        ],
    }


def line(*values: str) -> str:
    return "| " + " | ".join(values) + " |"


def processor() -> str:
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.machine()
