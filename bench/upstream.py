"""What the gateways forward to, on the load's core: nginx for answers and downloads, programs of our own for the rest.

nginx is no sink: it discards a request body in reads of 4 KiB and may answer before the body has come, so it would
measure itself, and a gateway could stop sending. `sink.py` reads as fast as its socket gives, and counts.

nginx listens on 1,001 loopback addresses: 1,000 of them are the endpoints of a service.

Every path exists with and without `/service`, because fast-gateway strips its prefix and the others need not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import LOAD_CORE, Command, Running, answered, free_port, running
from bench.tools import LOAD, c_program, executable

SMALL = b"Hello World!"
LARGE_BYTES = 100_000
PREFIXES = ("", "/service")

# What a service of many endpoints is made of: loopback addresses of the one upstream.
ADDRESSES = tuple(f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(1000))

NGINX = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  sendfile on;
  default_type text/plain;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  open_file_cache max=10;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
{listens}
    location / {{ return 200 "{small}"; }}
{locations}
  }}
}}
"""
LOCATIONS = """
    location {prefix}/item/ {{ add_header x-serial $connection-$connection_requests; return 200 "{small}"; }}
    location = {prefix}/headers {{
      return 200 "$http_x_request_id|$http_x_forwarded_for|$http_x_forwarded_proto";
    }}
    location = {prefix}/large {{ alias {directory}/large; }}
    location = {prefix}/huge {{ alias {directory}/huge; }}
"""


@contextmanager
def upstream(directory: Path, huge_bytes: int) -> Iterator[Running]:
    """nginx with a 12-byte answer, a file of 100 kB, and a sparse file of `huge_bytes`."""
    directory.mkdir()
    (directory / "large").write_bytes(b"\0" * LARGE_BYTES)
    sparse(directory / "huge", huge_bytes)
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(
        NGINX.format(
            directory=directory,
            listens="\n".join(f"    listen {address}:{port} backlog=4096;" for address in ("127.0.0.1", *ADDRESSES)),
            small=SMALL.decode(),
            user=nginx_user(),
            locations="".join(
                LOCATIONS.format(prefix=prefix, directory=directory, small=SMALL.decode()) for prefix in PREFIXES
            ),
        )
    )
    command = Command([executable("nginx"), "-c", str(configuration), "-e", str(directory / "error.log")])
    with running(command, port, LOAD_CORE, directory / "output") as program:
        answered(program, "/service/get")
        yield program


@contextmanager
def sink(directory: Path) -> Iterator[Running]:
    """The program that swallows uploads and answers with their length."""
    port = free_port()
    command = Command([sys.executable, str(LOAD / "sink.py"), str(port)])
    with running(command, port, LOAD_CORE, directory / "sink.output") as program:
        answered(program, "/service/get")
        yield program


@contextmanager
def streams(directory: Path) -> Iterator[Running]:
    """The program that echoes WebSockets and publishes events."""
    port = free_port()
    with running(Command([c_program("streams"), str(port)]), port, LOAD_CORE, directory / "streams.output") as program:
        answered(program, "/service/get")
        yield program


@contextmanager
def delayed(directory: Path, slow: str, *quick: str) -> Iterator[Running]:
    """The program that answers at the address `slow` after 20 ms, and at 127.0.0.1 and the others after 2."""
    port = free_port()
    arguments = [sys.executable, str(LOAD / "delayed.py"), str(port), "20", "2", slow, "127.0.0.1", *quick]
    with running(Command(arguments), port, LOAD_CORE, directory / "delayed.output") as program:
        answered(program, "/service/get")
        yield program


def sparse(path: Path, size: int) -> None:
    """A file of zeros that takes no space: reading it reads no disk."""
    with path.open("wb") as file:
        file.truncate(size)


def nginx_user() -> str:
    """nginx run by root gives its rights away, and could no longer read the run's directory."""
    return "user root;" if os.geteuid() == 0 else ""
