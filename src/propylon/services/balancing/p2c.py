"""Two endpoints drawn by chance, and of them the less loaded and faster one. The default.

    balance: p2c

The load of an endpoint is what is under way there in proportion to its weight, and the request that would come on top,
times its peak-sensitive average latency. So a slow or failing endpoint gets next to nothing while it is slow, and every
gateway and worker finds that out by itself, without the herd that always runs to the single best one. Where neither
load nor latency speaks for the other endpoint, the one drawn first is taken, and those are drawn by their weights.

An endpoint without a measurement is compared by its load alone: it is asked at once, and gets no more than others have.

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
"""Latencies that differ by no more than this factor count as the same: it may be luck, and weights are a wish."""


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
        """Choose among `endpoints` from now on. What is known about them is in their vitals."""
        self._sampler = Sampler(endpoints, self._random)
        self._two = self._sampler.two
        self._only = endpoints[0] if len(endpoints) == 1 else None
        self._idle = len(endpoints) / self._sampler.total

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Choose the better one of two."""
        if self._only is not None:
            return self._only
        first, second = self._sampler.two_but(avoid) if avoid else self._two()
        one, other = first.vitals, second.vitals
        # A request on top counts the same for everybody, so that idle endpoints are equal whatever their weights.
        load = one.inflight / first.weight + self._idle
        load_other = other.inflight / second.weight + self._idle
        seconds, seconds_other = latencies(one, other, self._clock())
        if seconds > seconds_other * ALIKE or seconds_other > seconds * ALIKE:
            load *= seconds
            load_other *= seconds_other
        return second if load_other < load else first
