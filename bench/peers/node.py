"""The gateways of Node.js, fast-gateway, @fastify/http-proxy, http-proxy: one process each, started as documented.

http-proxy is measured as a relay of WebSockets alone, which is what it is known for.
"""

from __future__ import annotations

from functools import partial

from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import PROGRAMS, executable, node_packages, node_version


def install(package: str) -> str:
    executable("node")
    node_packages()
    return node_version(package)


def command(program: str, place: Place) -> Command:
    # Node.js looks for packages beside the program, so it runs where they are.
    copy = node_packages() / program
    copy.write_text((PROGRAMS / program).read_text())
    return Command([executable("node"), str(copy), str(place.port), place.upstream])


FAST_GATEWAY = Peer("fast-gateway", partial(install, "fast-gateway"), partial(command, "fast_gateway.js"))
FASTIFY = Peer("@fastify/http-proxy", partial(install, "@fastify/http-proxy"), partial(command, "fastify.js"))
HTTP_PROXY = Peer("http-proxy", partial(install, "http-proxy"), partial(command, "http_proxy.js"))
