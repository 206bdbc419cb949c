"""What a scenario is: a table, its rows, and the function that measures one row once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.peers.peer import Peer
from bench.session import Session

Figures = dict[str, float]
MB = 1e6


@dataclass(frozen=True, slots=True)
class Scenario:
    """A table: its name on the command line, its title, its rows, how a row is measured, its columns.

    The ratio column compares `ratio_of` with the row of the first peer.
    """

    name: str
    title: str
    peers: tuple[Peer, ...]
    measure: Callable[[Session, Peer], Figures]
    columns: tuple[str, ...]
    ratio_of: str
