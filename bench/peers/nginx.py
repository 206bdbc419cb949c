"""nginx: one worker, connections to the upstream kept, the same headers added as Propylon adds.

WebSockets and event streams have locations of their own, as nginx wants it, and the others are none the slower.
"""

from __future__ import annotations

import subprocess

from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import executable
from bench.upstream import nginx_user

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream service {{
    server 127.0.0.1:{upstream_port};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096{tls};
    location /service/ {{
      proxy_set_header Connection "";
{forward}
    }}
    location /service/echo {{
      proxy_set_header Connection upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_read_timeout 600s;
{forward}
    }}
    location /service/events {{
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
{forward}
    }}
  }}
}}
"""
FORWARD = """
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_set_header Host $host;
      proxy_set_header X-Request-ID $request_id;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
"""
TLS = """ ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate {certificate};
    ssl_certificate_key {key}"""


def install() -> str:
    told = subprocess.run([executable("nginx"), "-v"], check=True, capture_output=True, text=True).stderr
    return told.strip().rpartition("/")[2]


def command(place: Place) -> Command:
    identity = place.identity
    text = CONFIGURATION.format(
        directory=place.directory,
        port=place.port,
        upstream_port=place.upstream_port,
        user=nginx_user(),
        forward=FORWARD.strip("\n"),
        tls=TLS.format(certificate=identity.certificate, key=identity.key) if identity else "",
    )
    errors = str(place.directory / "error.log")
    return Command([executable("nginx"), "-c", place.write("nginx.conf", text), "-e", errors])


PEER = Peer("nginx", install, command)
