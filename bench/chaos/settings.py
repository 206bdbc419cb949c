"""How long and how hard, and the gateway's configuration for it: short time-outs, so that no stream outlives it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.soak.settings import BODY_LIMIT, POLICIES
from bench.soak.settings import Settings as SoakSettings

MESSAGE_LIMIT = 2_000_000
CENSUS = '''

import gc

from propylon import Response

KINDS = ("Exchange", "Tunnel", "End", "EventStream", "Body")


def census(exchange):
    """Count what must not be left when the load has ended; the exchange that asks is none of it."""
    gc.collect()
    found = dict.fromkeys(KINDS, 0)
    for each in gc.get_objects():
        if each is not exchange and type(each).__module__.startswith("propylon.") and type(each).__name__ in found:
            found[type(each).__name__] += 1
    return Response(200, json=found)


class Sees:
    async def on_message(self, exchange, direction, message):
        pass


sees = Sees()
'''
GATEWAY = """
listen:
  - {{address: "127.0.0.1:{tls}", tls: {{certificate: chaos.pem, key: chaos.key}}}}
  - 127.0.0.1:{plain} # the last, as it is waited for
log: {{level: error}}
limits: {{write_buffer: 64KiB}}
timeouts: {{header: 2s, keep_alive: {keep_alive}s, write: {write}s, body: 3s, linger: 1s, drain: 2s}}
services:
  steady: {{endpoints: ["http://127.0.0.1:{steady}"], connections: {{idle_timeout: 1s}}}}
  shaky: {{endpoints: ["http://127.0.0.1:{shaky}"], connections: {{idle_timeout: 1s}}}}
  sockets-steady: {{endpoints: ["http://127.0.0.1:{steady_sockets}"]}}
  sockets-shaky: {{endpoints: ["http://127.0.0.1:{shaky_sockets}"]}}
  sockets-both: {{endpoints: ["http://127.0.0.1:{steady_sockets}", "http://127.0.0.1:{shaky_sockets}"]}}
routes:
  - {{path: /steady/*, service: steady}}
  - {{path: /shaky/*, service: shaky}}
  - {{path: /limited/*, service: steady, policies: [{{body_limit: {limit}}}]}}
  - path: /policed/*
    service: steady
    policies: [{{python: "chaos_policies:waits"}}, {{python: "chaos_policies:passes"}}]
  - {{path: /events/steady/*, service: steady, policies: [{events}]}}
  - {{path: /events/shaky/*, service: shaky, policies: [{events}]}}
  - {{path: /events/plain/*, service: steady}}
  - {{path: /events/aged/*, service: steady, policies: [{{sse: {{max_age: {age}s}}}}]}}
  - {{path: /sockets/steady/*, service: sockets-steady, policies: [{sockets}]}}
  - {{path: /sockets/shaky/*, service: sockets-shaky, policies: [{sockets}]}}
  - {{path: /sockets/seen/*, service: sockets-steady, policies: [{sockets}, {{python: "chaos_policies:sees"}}]}}
  - {{path: /sockets/aged/*, service: sockets-steady, policies: [{{websocket: {{max_age: {age}s}}}}]}}
  - {{path: /sockets/both/*, service: sockets-both, policies: [{{websocket: {{reconnect: {{interval: 200ms}}}}}}]}}
  - {{path: /census, policies: [{{python: "chaos_policies:census"}}], respond: 404}}
"""
EVENTS = "{sse: {heartbeat: 500ms, error_event: true}}"
SOCKETS = "{{websocket: {{ping: {ping}s, pong_timeout: {pong}s, max_message: {message}}}}}"


@dataclass(frozen=True, slots=True)
class Settings(SoakSettings):
    """Attributes beside those of the soak run; `rate` counts streams and requests.

    ping_seconds: how long a side of a WebSocket may be silent until the gateway pings it.
    pong_seconds: how long it may then go on being silent.
    age_seconds: `max_age` where there is one.
    """

    rate: float = 150.0
    settle_seconds: float = 12.0
    ping_seconds: float = 1.0
    pong_seconds: float = 3.0
    age_seconds: float = 1.5


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens."""

    plain: int
    tls: int
    steady: int
    steady_sockets: int
    shaky: int
    shaky_sockets: int

    @property
    def services(self) -> set[int]:
        """Those of services."""
        return {self.steady, self.steady_sockets, self.shaky, self.shaky_sockets}


def write_configuration(settings: Settings, folder: Path, ports: Ports) -> Path:
    """Write the gateway's file, its policies and its certificate."""
    (folder / "chaos_policies.py").write_text(POLICIES + CENSUS)
    make_certificate(folder)
    file = folder / "gateway.yaml"
    file.write_text(
        GATEWAY.format(
            plain=ports.plain,
            tls=ports.tls,
            steady=ports.steady,
            steady_sockets=ports.steady_sockets,
            shaky=ports.shaky,
            shaky_sockets=ports.shaky_sockets,
            keep_alive=settings.keep_alive_seconds,
            write=settings.write_seconds,
            limit=BODY_LIMIT,
            age=settings.age_seconds,
            events=EVENTS,
            sockets=SOCKETS.format(ping=settings.ping_seconds, pong=settings.pong_seconds, message=MESSAGE_LIMIT),
        )
    )
    return file


def make_certificate(folder: Path) -> None:
    """Make one that nobody vouches for, by the openssl command."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=chaos", "-keyout", str(folder / "chaos.key"), "-out", str(folder / "chaos.pem"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
