"""Smooth weighted round robin: each endpoint gets its exact share, spread evenly.

    balance: round_robin

Endpoints of the same weight take turns in the order of the configuration. Groups of different weights are merged by
deadlines: the n-th turn of a group is due at (n - 1/2) / (the weight of the whole group), and the earliest comes next.
That is the divisor method of Webster and Sainte-Laguë: in every round (the sum of the weights) each endpoint is chosen
exactly as often as its weight, and none gets its turns in a burst. A pick is O(1) for equal weights, and O(log k) for k
different ones, whatever the number of endpoints.

When the list changes, endpoints that remain keep their positions. A new one waits for a whole turn of its group.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from math import lcm
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from propylon.services.balancing._sampling import TRIES, Sampler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Chance
    from propylon.services.endpoint import Endpoint


class Config(BaseModel):
    """It has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Group:
    """Endpoints of one weight.

    Attributes:
        members: in the order of their turns.
        next: index of the next member.
        weight: of each member.
        step: virtual time between two turns of the group.
    """

    __slots__ = ("members", "next", "step", "weight")

    def __init__(self, weight: int, members: list[Endpoint]) -> None:
        self.weight = weight
        self.members = members
        self.next = 0
        self.step = 0

    def take(self) -> Endpoint:
        """Return the next member, and advance."""
        members, at = self.members, self.next
        self.next = at + 1 if at + 1 < len(members) else 0
        return members[at]

    def in_turn(self) -> list[Endpoint]:
        """Return the members, beginning with the next one."""
        return self.members[self.next :] + self.members[: self.next]


class Balancer:
    """Smooth weighted round robin."""

    __slots__ = ("_due", "_endpoints", "_groups", "_random", "_single_group")

    def __init__(self, config: Config, chance: Chance) -> None:
        self._random = chance.random
        self._endpoints: Sequence[Endpoint] = ()
        self._groups: dict[int, Group] = {}  # by weight
        self._single_group: Group | None = None
        self._due: list[tuple[int, int, Group]] = []

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints; those that remain keep their positions."""
        self._endpoints = endpoints
        by_weight: dict[int, list[Endpoint]] = {}
        for endpoint in endpoints:
            by_weight.setdefault(endpoint.weight, []).append(endpoint)
        # Ties of deadlines go to the heavier group, which would wait the longest in proportion.
        groups = [
            Group(weight, _turn_order(by_weight[weight], self._groups.get(weight)))
            for weight in sorted(by_weight, reverse=True)
        ]
        # Deadlines are integers, so that shares stay exact; with the factor 2 half a step is an integer too.
        period = lcm(*(2 * group.weight * len(group.members) for group in groups))
        now = self._due[0][0] if self._due else 0
        waits = {group.weight: (due - now, group.step) for due, _, group in self._due}
        self._due = []
        for order, group in enumerate(groups):
            group.step = period // (group.weight * len(group.members))
            wait, step = waits.get(group.weight, (1, 2))
            self._due.append((group.step * wait // step, order, group))
        heapify(self._due)
        self._groups = {group.weight: group for group in groups}
        self._single_group = groups[0] if len(groups) == 1 else None

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return the next endpoint; those in `avoid` lose their turn."""
        if not avoid:
            return self._single_group.take() if self._single_group is not None else self._take()
        for _ in range(TRIES):
            endpoint = self._single_group.take() if self._single_group is not None else self._take()
            if endpoint not in avoid:
                return endpoint
        return Sampler(self._endpoints, self._random).without(avoid).one()

    def _take(self) -> Endpoint:
        due, order, group = self._due[0]
        heapreplace(self._due, (due + group.step, order, group))
        return group.take()


def _turn_order(members: list[Endpoint], before: Group | None) -> list[Endpoint]:
    """Return the members in the order of their turns: those of `before` in their order, then the new ones."""
    if before is None:
        return members
    current = dict.fromkeys(members)
    kept = [endpoint for endpoint in before.in_turn() if endpoint in current]
    known = set(kept)
    return [*kept, *(endpoint for endpoint in members if endpoint not in known)]
