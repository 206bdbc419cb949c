"""HAProxy in HTTP mode: one thread, connections to the upstream shared, the same headers added."""

from __future__ import annotations

import subprocess

from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import executable

CONFIGURATION = """
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend front
  bind 127.0.0.1:{port} backlog 4096 {tls}
  option forwardfor
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  http-request set-header X-Forwarded-Proto {scheme}
  use_backend events if {{ path_beg /service/events }}
  use_backend service if {{ path_beg /service/ }}
backend service
  http-reuse always
  server one 127.0.0.1:{upstream_port}
backend events
  # Otherwise it holds small chunks back for 200 ms.
  option http-no-delay
  server one 127.0.0.1:{upstream_port}
"""


def install() -> str:
    told = subprocess.run([executable("haproxy"), "-v"], check=True, capture_output=True, text=True).stdout
    return told.split()[2]


def command(place: Place) -> Command:
    text = CONFIGURATION.format(
        port=place.port,
        upstream_port=place.upstream_port,
        tls=f"ssl crt {place.identity.both} ssl-min-ver TLSv1.3" if place.identity else "",
        scheme="https" if place.identity else "http",
    )
    return Command([executable("haproxy"), "-db", "-f", place.write("haproxy.cfg", text)])


PEER = Peer("HAProxy", install, command)
