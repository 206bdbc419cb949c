"""The endpoint with the fewest requests in flight, of a few random ones.

    balance: least_requests
    balance: {least_requests: {choices: 3}}

The number in flight is divided by the weight, and includes streams and WebSockets; in a tie the endpoint drawn first is
taken. Comparing a few endpoints instead of all costs O(choices), whatever the number of endpoints, keeps the highest
load close to the average, and avoids a herd that all goes to the least loaded one (M. Mitzenmacher, "The Power of Two
Choices in Randomized Load Balancing", 2001). Envoy's `LEAST_REQUEST` does the same. Latency is ignored: `p2c` is this
with latency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from propylon.config.types import Int
from propylon.services.balancing._sampling import Sampler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint


class Config(BaseModel):
    """How many endpoints are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: Annotated[Int, Field(ge=2, le=16)] = Field(default=2, description="Number of endpoints that are compared.")


class Balancer:
    """Least requests by the power of a few choices."""

    __slots__ = ("_extra_choices", "_only", "_random", "_sampler")

    _sampler: Sampler

    def __init__(self, config: Config, chance: Chance) -> None:
        self._extra_choices = config.choices - 2
        self._random = chance.random
        self._only: Endpoint | None = None

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        self._sampler = Sampler(endpoints, self._random)
        self._only = endpoints[0] if len(endpoints) == 1 else None

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the least loaded of those drawn."""
        if self._only is not None:
            return self._only
        sampler = self._sampler
        best, other = sampler.two_but(avoid) if avoid else sampler.two()
        if other.vitals.inflight / other.weight < best.vitals.inflight / best.weight:
            best = other
        for _ in range(self._extra_choices):
            other = sampler.one_but(avoid) if avoid else sampler.one()
            if other.vitals.inflight / other.weight < best.vitals.inflight / best.weight:
                best = other
        return best
