"""The faster of two random endpoints.

    balance: ewma

Endpoints are compared by the peak-sensitive average of the time to a response's head: it rises to a slow response at
once and decays slowly (10 s). Requests in flight do not count, which is right where a request costs an endpoint little
and the network path is what differs, as between zones; in all other cases `p2c` is better. Two are compared and not
all, as in ingress-nginx's `ewma`, since otherwise everything would go to the endpoint that happens to be the fastest.
An endpoint without a sample counts as equally fast. Weights determine how often an endpoint is drawn.

A pick is O(1), O(log n) with unequal weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from propylon.services.balancing._latency import latencies
from propylon.services.balancing._sampling import Sampler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint


class Config(BaseModel):
    """It has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Balancer:
    """Lowest peak EWMA of two choices."""

    __slots__ = ("_clock", "_only", "_random", "_sampler")

    _sampler: Sampler

    def __init__(self, config: Config, chance: Chance) -> None:
        self._clock = chance.clock
        self._random = chance.random
        self._only: Endpoint | None = None

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from. Their latencies are in their vitals."""
        self._sampler = Sampler(endpoints, self._random)
        self._only = endpoints[0] if len(endpoints) == 1 else None

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the faster of two."""
        if self._only is not None:
            return self._only
        first, second = self._sampler.two_but(avoid) if avoid else self._sampler.two()
        seconds, seconds_other = latencies(first.vitals, second.vitals, self._clock())
        return second if seconds_other < seconds else first
