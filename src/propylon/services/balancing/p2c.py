"""Power of two choices: the less loaded and faster of two random endpoints. The default.

    balance: p2c

The load of an endpoint is the number of requests in flight divided by its weight, plus the new request, times its
peak-sensitive average latency. So a slow or failing endpoint gets very few requests while it is slow, in every gateway
and worker on its own, and without a herd that all goes to the single best one. In a tie the endpoint drawn first is
taken, and endpoints are drawn by their weights.

An endpoint without a sample is compared by its load alone: it gets requests at once, and no more than the others.

Sources: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (IEEE TPDS 12(10), 2001); "peak EWMA"
of Finagle (`com.twitter.finagle.loadbalancer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from propylon.services.balancing._latency import latencies
from propylon.services.balancing._sampling import Sampler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint

ALIKE: Final = 1.5
"""Latencies that differ by no more than this factor count as equal: noise must not override weights."""


class Config(BaseModel):
    """It has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Balancer:
    """Power of two choices with peak EWMA. A pick is O(1), O(log n) with unequal weights."""

    __slots__ = ("_clock", "_idle", "_only", "_random", "_sampler", "_two")

    _sampler: Sampler

    def __init__(self, config: Config, chance: Chance) -> None:
        self._clock = chance.clock
        self._random = chance.random
        self._only: Endpoint | None = None
        self._idle = 1.0

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from. Their loads and latencies are in their vitals."""
        self._sampler = Sampler(endpoints, self._random)
        self._two = self._sampler.two
        self._only = endpoints[0] if len(endpoints) == 1 else None
        self._idle = len(endpoints) / self._sampler.total

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the better of two."""
        if self._only is not None:
            return self._only
        first, second = self._sampler.two_but(avoid) if avoid else self._two()
        one, other = first.vitals, second.vitals
        # The new request counts the same for all, so that idle endpoints are equal whatever their weights.
        load = one.inflight / first.weight + self._idle
        load_other = other.inflight / second.weight + self._idle
        seconds, seconds_other = latencies(one, other, self._clock())
        if seconds > seconds_other * ALIKE or seconds_other > seconds * ALIKE:
            load *= seconds
            load_other *= seconds_other
        return second if load_other < load else first
