"""Thirty reloads of a busy gateway: nothing lost, nothing left open. `scripts/reloads` does two hundred of them."""

from __future__ import annotations

import uvloop
from bench.reloads.run import Settings, reloads


def test_a_few_reloads_find_nothing() -> None:
    verdict = uvloop.run(reloads(Settings(reloads=30, routes=50, clients=6)))
    assert not verdict.faults, str(verdict)
