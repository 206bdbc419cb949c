"""A gateway in service mode: environment variables in, a running gateway with one scripted service out."""

from __future__ import annotations

import json

from propylon import Gateway
from propylon.config.load import validate
from propylon.service_mode.load import load

from .client import RawClient
from .front import Fronts
from .upstream import Script, ScriptedUpstream


class Mode:
    """A gateway in service mode with one scripted service `users`, and a client of it."""

    def __init__(self, upstream: ScriptedUpstream, client: RawClient, gateway: Gateway) -> None:
        self.upstream = upstream
        self.client = client
        self.gateway = gateway


def gateway_of(upstreams: dict[str, list[str]], **environment: str) -> Gateway:
    """The gateway of an environment, on a free port of 127.0.0.1."""
    config = load({"UPSTREAMS": json.dumps(upstreams), **environment})
    here = validate({"listen": "127.0.0.1:0", "timeouts": {"drain": "200ms"}})
    return Gateway.from_config(config.model_copy(update={"listen": here.listen, "timeouts": here.timeouts}))


async def serve(front: Fronts, script: Script | None = None, base: str = "", **environment: str) -> Mode:
    """Run the gateway of an environment in front of a scripted `users`, whose URL ends in `base`."""
    upstream = await front.upstream(script)
    gateway = await front.start(gateway_of({"users": [upstream.url + base]}, **environment))
    return Mode(upstream, await front.client(gateway), gateway)
