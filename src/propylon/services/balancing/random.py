"""Random, in proportion to the weights.

    balance: random

It keeps no state, so gateways in front of the same endpoints do not synchronize. A pick is O(1), and O(log n) with
unequal weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

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
    """Weighted random choice."""

    __slots__ = ("_random", "_sampler")

    _sampler: Sampler

    def __init__(self, config: Config, chance: Chance) -> None:
        self._random = chance.random

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from."""
        self._sampler = Sampler(endpoints, self._random)

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return a random endpoint."""
        return self._sampler.one_but(avoid) if avoid else self._sampler.one()
