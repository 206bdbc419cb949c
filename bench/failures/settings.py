"""How many rounds and how hard, and the gateway's configuration for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEALTH_SECONDS = 0.2
EJECT_SECONDS = 1.0
MAX_EJECT_SECONDS = 2.0
OPEN_SECONDS = 1.0

RECOVERY_SECONDS = MAX_EJECT_SECONDS + 2 * OPEN_SECONDS + 3 * HEALTH_SECONDS + 1.0
"""Within this an endpoint that is well again must answer: ejection, a failed probe or two, checks, the sweep."""

GATEWAY = """
listen: 127.0.0.1:{port}
log: {{level: error}}
services:
  three:
    endpoints: [{endpoints}]
    retry:
      attempts: 3
      on: [connect, busy, reset, timeout]
      statuses: 5xx
      per_try: 300ms
      budget: {{ratio: 20%, per_second: 10}}
    health:
      path: /healthz
      interval: {health}s
      timeout: 300ms
      healthy: 2
      unhealthy: 2
      passive: {{consecutive: 3, statuses: 5xx, eject: {eject}s, max_eject: {max_eject}s}}
    breaker: {{consecutive: 3, open: {open}s, max_open: {max_open}s}}
routes:
  - {{path: /*, service: three}}
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """Attributes:
    rounds: how often each endpoint suffers each failure in turn.
    clients: connections that ask all the time.
    pause: seconds between an answer and a client's next request.
    ill: seconds that a failure lasts.
    well: seconds between two failures.
    seed: what the choices are drawn from.
    """

    rounds: int = 20
    clients: int = 20
    pause: float = 0.05
    ill: float = 2.0
    well: float = 0.5
    seed: int = 1


def write_configuration(folder: Path, port: int, ports: tuple[int, ...]) -> Path:
    """Write the gateway's file."""
    file = folder / "gateway.yaml"
    text = GATEWAY.format(
        port=port,
        endpoints=", ".join(f'"http://127.0.0.1:{each}"' for each in ports),
        health=HEALTH_SECONDS,
        eject=EJECT_SECONDS,
        max_eject=MAX_EJECT_SECONDS,
        open=OPEN_SECONDS,
        max_open=2 * OPEN_SECONDS,
    )
    file.write_text(text)
    return file
