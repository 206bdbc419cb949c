"""Balancing algorithms of services: one file is one algorithm and one name in YAML.

An algorithm is a module with `Config`, a frozen pydantic model that refuses unknown keys, and `Balancer`, a class made
with a `Config` and a `Chance`. Names of other modules here begin with an underscore. Other packages add algorithms
by entry points of the group `propylon.balancing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead
    from propylon.services.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Chance:
    """Clock and randomness of an algorithm.

    Attributes:
        clock: monotonic seconds.
        random: a float of [0, 1).
    """

    clock: Callable[[], float]
    random: Callable[[], float]


class Balancer(Protocol):
    """The algorithm of one service. It decides and does no I/O.

    Attributes:
        decides_alone: true if slow start must not overrule its choice, as with affinity. Others omit it.
    """

    decides_alone: bool

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the endpoints to choose from.

        Called when endpoints are added, removed, ejected or recover; keep the state of those that remain.
        There is at least one, each with a weight of at least 1, in the order of the configuration.
        """

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Return an endpoint for an exchange: one of `avoid` only if there is no other.

        `avoid` is empty except for retries and endpoints at their concurrency limit.
        """

    def fields(self, x: Exchange, endpoint: Endpoint) -> bytes:
        """Return field lines to add to the response from `endpoint`, each with its CRLF.

        Not called for the response to a probe, as its endpoint was not chosen here. Algorithms without such fields
        omit this method.
        """

    def learn(self, x: Exchange, endpoint: Endpoint, head: ResponseHead) -> None:
        """Take notice of a response from `endpoint` that is passed on; algorithms that learn nothing omit this method.

        Called before `fields`, and not for responses that are given up for a retry.
        """

    def holds(self, x: Exchange) -> bool:
        """Return whether an exchange belongs to one of the endpoints, so that it must not probe another one.

        Algorithms that know of no such exchanges omit this method.
        """
