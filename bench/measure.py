"""Figures read from outside: what the kernel counted for a process, and what the programs of the load report.

CPU time is utime + stime of every process of a session, with that of the children they have waited for (proc(5),
/proc/pid/stat fields 14 to 17): the kernel's work for the gateway's sockets counts, as it does on the bill.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK = 1 / os.sysconf("SC_CLK_TCK")
# Fields of /proc/pid/stat, counted from the one after the command name.
STATE, SESSION, CPU = 0, 3, slice(11, 15)


@dataclass(frozen=True, slots=True)
class Load:
    """One run of wrk. Latencies in milliseconds."""

    requests: int
    bytes: int
    seconds: float
    p50: float
    p99: float
    failures: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer by curl."""

    status: int
    seconds: float
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class Echoes:
    """Messages that came back over WebSockets. Latencies in milliseconds."""

    messages: int
    seconds: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Handshakes:
    """TLS handshakes by all clients together."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of requests on schedule, in milliseconds."""

    p50: float
    p99: float


def session(leader: int) -> list[int]:
    """The living processes of a session (setsid(2)), which keep its id even when their parent has gone."""
    members = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        fields = stat(int(entry.name))
        if fields and fields[SESSION] == str(leader) and fields[STATE] != "Z":
            members.append(int(entry.name))
    return members


def cpu_seconds(leader: int) -> float:
    """CPU time used so far by a session, user and system, in seconds; its resolution is a clock tick (10 ms)."""
    return TICK * sum(int(ticks) for pid in session(leader) for ticks in stat(pid)[CPU])


def rss(leader: int) -> int:
    """Resident memory of a session now, in bytes; pages shared by its processes count once for each."""
    return sum(memory(pid, "VmRSS") for pid in session(leader))


def start_peak(leader: int) -> None:
    """Let the peak of resident memory start again from now (proc(5), clear_refs)."""
    for pid in session(leader):
        (PROC / str(pid) / "clear_refs").write_text("5")


def peak_rss(leader: int) -> int:
    """The most resident memory of a session since `start_peak`, in bytes."""
    return sum(memory(pid, "VmHWM") for pid in session(leader))


def memory(pid: int, name: str) -> int:
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


def stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat after the command name; none when the process has gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()


def parse_wrk(output: str) -> Load:
    """Read the line that `load/summary.lua` makes wrk print; ValueError without it."""
    for line in output.splitlines():
        if line.startswith("SUMMARY "):
            figures = json.loads(line.removeprefix("SUMMARY "))
            return Load(
                requests=figures["requests"],
                bytes=figures["bytes"],
                seconds=figures["microseconds"] / 1e6,
                p50=figures["p50"] / 1e3,
                p99=figures["p99"] / 1e3,
                failures=figures["status"] + figures["socket"] + figures["timeout"],
            )
    raise ValueError(f"wrk printed no summary: {output.strip()[-200:]}")


CURL_FORMAT = "%{http_code} %{time_total} %{size_upload} %{size_download}"


def parse_curl(output: str) -> Transfer:
    """Read what curl printed for `CURL_FORMAT`."""
    status, seconds, sent, received = output.split()
    return Transfer(int(status), float(seconds), int(sent), int(received))


def parse_echoes(output: str) -> Echoes:
    """Read what `load/sockets.c` prints; ValueError when that is no JSON, because it gave up."""
    figures = json.loads(output)
    return Echoes(figures["messages"], figures["seconds"], figures["p50"] / 1e3, figures["p99"] / 1e3)


def parse_fan_out(output: str) -> float:
    """Read the median that `load/readers.c` prints, in milliseconds; ValueError when that is no JSON."""
    return float(json.loads(output)["p50"])


def parse_latencies(output: str) -> Latencies:
    """Read what `load/kept_client.py` and `load/paced_clients.py` print; ValueError when that is no JSON."""
    figures = json.loads(output)
    return Latencies(figures["p50"], figures["p99"])


def parse_s_time(output: str) -> int:
    """The handshakes that one `openssl s_time` tells; ValueError when it tells none."""
    for line in output.splitlines():
        count, _, rest = line.partition(" connections in ")
        if rest.endswith("bytes read per connection") and int(count):
            return int(count)
    raise ValueError(f"openssl s_time made no handshake: {output.strip()[-200:]}")
