"""How long and how hard, and the gateway's configuration for it: short time-outs, so that a leak has no excuse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BODY_LIMIT = 20_000
POLICIES = """
import asyncio


async def waits(exchange):
    await asyncio.sleep(0.001)


class Passes:
    def on_request_chunk(self, exchange, data):
        return data

    async def on_response_chunk(self, exchange, data):
        await asyncio.sleep(0)
        return data


passes = Passes()
"""
GATEWAY = """
listen: 127.0.0.1:{port}
log: {{level: error}}
timeouts: {{header: 2s, keep_alive: {keep_alive}s, write: {write}s, body: 3s, linger: 1s}}
services:
  steady:
    endpoints: ["http://127.0.0.1:{steady}"]
    connections: {{idle_timeout: 1s}}
  shaky:
    endpoints: ["http://127.0.0.1:{shaky}"]
    connections: {{idle_timeout: 1s}}
routes:
  - {{path: /steady/*, service: steady}}
  - {{path: /shaky/*, service: shaky}}
  - {{path: /limited/*, service: steady, policies: [{{body_limit: {limit}}}]}}
  - path: /policed/*
    service: steady
    policies: [{{python: "soak_policies:waits"}}, {{python: "soak_policies:passes"}}]
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """Attributes:
    seconds: how long there is load.
    rate: requests a second at the most.
    outage_every: seconds between two deaths of the shaky service.
    outage_seconds: how long it stays dead.
    keep_alive_seconds: how long the gateway lets a client rest.
    write_seconds: how long it waits for a client that reads nothing.
    settle_seconds: how long the gateway may take to be at rest when the load has ended.
    seed: what the load's choices are drawn from.
    """

    seconds: float = 600.0
    rate: float = 600.0
    outage_every: float = 10.0
    outage_seconds: float = 1.0
    keep_alive_seconds: float = 4.0
    write_seconds: float = 3.0
    settle_seconds: float = 8.0
    seed: int = 1


def write_configuration(settings: Settings, folder: Path, port: int, steady: int, shaky: int) -> Path:
    """Write the gateway's file and its policies."""
    (folder / "soak_policies.py").write_text(POLICIES)
    file = folder / "gateway.yaml"
    text = GATEWAY.format(
        port=port,
        steady=steady,
        shaky=shaky,
        keep_alive=settings.keep_alive_seconds,
        write=settings.write_seconds,
        limit=BODY_LIMIT,
    )
    file.write_text(text)
    return file
