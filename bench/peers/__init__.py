"""The gateways that are measured, in the order of the table."""

from __future__ import annotations

from bench.peers import caddy, envoy, haproxy, nginx, node, propylon, python, traefik

PEERS = (
    nginx.PEER,
    propylon.PEER,
    haproxy.PEER,
    envoy.PEER,
    traefik.PEER,
    caddy.PEER,
    node.FAST_GATEWAY,
    node.FASTIFY,
    python.AIOHTTP_PROXY,
    python.HTTPX_PROXY,
)
# Those that some tables have and others have not.
ALL = (*PEERS, node.HTTP_PROXY)
