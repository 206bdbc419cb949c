"""What the gateway holds, from /proc: memory, file descriptors, connections."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

MAX_GROWTH = 0.10
MAX_GROWTH_BYTES = 8 * 1024 * 1024
_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Sample:
    """Attributes:
    rss: resident memory in bytes.
    fds: open file descriptors.
    clients: established connections of clients.
    endpoints: established connections to services.
    """

    rss: int
    fds: int
    clients: int
    endpoints: int


def take(pid: int, port: int, service_ports: set[int]) -> Sample:
    """Look at a process that listens on `port` and connects to `service_ports`."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    links = descriptors(pid)
    sockets = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}
    clients = endpoints = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_, inode = line.split()[:10]
        if state == _ESTABLISHED and inode in sockets:
            clients += int(local.rpartition(":")[2], 16) == port
            endpoints += int(remote.rpartition(":")[2], 16) in service_ports
    return Sample(pages * os.sysconf("SC_PAGE_SIZE"), len(links), clients, endpoints)


def descriptors(pid: int) -> list[str]:
    """List what the open file descriptors of a process lead to."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:  # closed meanwhile
            continue
    return sorted(found)


def growth(samples: list[Sample]) -> tuple[int, int]:
    """Return the memory behind the warm-up, a third of the time, and at the end: medians of a ninth each."""
    width = max(len(samples) // 9, 1)
    third = len(samples) // 3
    warm, end = samples[third : third + width], samples[-width:]
    return int(median(each.rss for each in warm)), int(median(each.rss for each in end))


def is_flat(warm: int, end: int) -> bool:
    """Say whether memory that grew from `warm` to `end` bytes is no leak."""
    return end - warm < MAX_GROWTH_BYTES or end < warm * (1 + MAX_GROWTH)
