"""The endpoint with the lowest load, computed as in the Real-Time API Gateway.

    balance: least_load

The load is the number in flight (requests, event streams and WebSockets) times 1000, plus the average milliseconds to
a response's head; no sample counts as 0 ms. So one more request weighs as much as a second of latency. The lowest load
of all is chosen, and ties take turns. Weights are ignored.

A pick compares all endpoints, so it is O(n), and all gateways choose the best one at the same time: with more than some
dozens of endpoints use `p2c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint


class Config(BaseModel):
    """It has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Balancer:
    """Lowest score of all."""

    __slots__ = ("_endpoints", "_turn")

    def __init__(self, config: Config, chance: Chance) -> None:
        self._endpoints: Sequence[Endpoint] = ()
        self._turn = 0

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        self._endpoints = tuple(endpoints)

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the endpoint with the least load; ties take turns."""
        endpoints = self._endpoints
        if avoid:
            endpoints = [endpoint for endpoint in endpoints if endpoint not in avoid] or endpoints
        if len(endpoints) == 1:
            return endpoints[0]
        # Seconds instead of the score's milliseconds: the order is the same.
        loads = [(vitals := endpoint.vitals).inflight + (vitals.ewma or 0.0) for endpoint in endpoints]
        lowest = min(loads)
        turn = self._turn
        self._turn = turn + 1
        count = loads.count(lowest)
        if count == 1:
            return endpoints[loads.index(lowest)]
        at = -1
        for _ in range(turn % count + 1):
            at = loads.index(lowest, at + 1)
        return endpoints[at]
