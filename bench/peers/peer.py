"""What a peer is: a name, and how to start it in front of an upstream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.identity import Identity
from bench.processes import Command


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer is started: an empty directory for its files, the port to listen on, the port to forward to.

    With an identity it listens with TLS; peers that are not measured so need not look at it.
    """

    directory: Path
    port: int
    upstream_port: int
    identity: Identity | None = None

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"

    def write(self, name: str, text: str) -> str:
        """Put a file into the directory; its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway to measure.

    `install` makes sure that it is here and returns its version; `command` writes its configuration into the place
    and says how to start it. Both raise Unavailable.
    """

    name: str
    install: Callable[[], str]
    command: Callable[[Place], Command]
