"""What a service writes down of the streams it had: one line each, kept when the service is killed."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import NamedTuple

import orjson


class Entry(NamedTuple):
    """How a stream ended for the service.

    Attributes:
        token: which stream.
        how: for a WebSocket the code and reason of the Close frame that came, "1006 " for none; for an event stream
            "done" if all was sent, "gone" if the gateway closed before.
        at: when, by the clock that all processes of a machine share.
    """

    token: str
    how: str
    at: float


class Journal:
    """Appends to a file; each line is one write, so that a process that is killed leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, token: str, how: str) -> None:
        """Write down how a stream ended."""
        with self._path.open("ab", buffering=0) as file:
            file.write(orjson.dumps([token, how, monotonic()]) + b"\n")


def read(path: Path) -> list[Entry]:
    """Read what was written."""
    return [Entry(*orjson.loads(line)) for line in path.read_bytes().splitlines()] if path.exists() else []
