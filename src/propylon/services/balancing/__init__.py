"""How a service chooses among its endpoints: one file is one algorithm and one name in YAML.

An algorithm is a module with `Config`, a frozen pydantic model that refuses unknown keys, and `Balancer`, a class made
with one `Config` and a `Chance`. Modules here that are no algorithm begin with an underscore. Other packages add
theirs by entry points of the group `propylon.balancing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Chance:
    """Time and luck, as an algorithm gets them.

    Attributes:
        clock: seconds, never going back.
        random: a float of [0, 1).
    """

    clock: Callable[[], float]
    random: Callable[[], float]


class Balancer(Protocol):
    """One algorithm at work for one service. It decides and does no I/O.

    Attributes:
        decides_alone: true if its choice has a reason, which slow start must not overrule. Others leave it out.
    """

    decides_alone: bool

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Choose among `endpoints` from now on.

        Called when endpoints come and go, fall ill or recover, so what is known about those that stay should be kept.
        There is at least one, each with a weight of at least 1, in the order of the configuration.
        """

    def pick(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        """Choose an endpoint for an exchange: one of `avoid` only if there is no other.

        `avoid` is empty but for retries and endpoints that have no room.
        """

    def fields(self, x: Exchange, endpoint: Endpoint) -> bytes:
        """Return lines for the header section of the client's answer from `endpoint`, each with its CRLF.

        Algorithms that need none leave this method out.
        """
