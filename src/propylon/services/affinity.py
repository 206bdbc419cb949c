"""The part of a balancing algorithm that keeps clients on their endpoints: the optional methods of a `Balancer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.http.response_head import ResponseHead
    from propylon.services.endpoint import Endpoint


class Affinity:
    """The methods `fields`, `learn` and `holds` of one balancer, of which each may be missing."""

    __slots__ = ("_fields", "_holds", "_learn")

    def __init__(self, balancer: Any) -> None:
        self._fields = getattr(balancer, "fields", None)
        self._learn = getattr(balancer, "learn", None)
        self._holds = getattr(balancer, "holds", None)

    @classmethod
    def of(cls, balancer: object) -> Self | None:
        """Return the affinity of a balancer; `None` if it has none of the methods."""
        made = cls(balancer)
        return made if made._fields or made._learn or made._holds else None

    def holds(self, x: Exchange) -> bool:
        """Return whether a request belongs to an endpoint that can serve it, so that no other may be probed with it."""
        return self._holds is not None and bool(self._holds(x))

    def responded(self, x: Exchange, endpoint: Endpoint, head: ResponseHead, is_probe: bool) -> None:
        """Take notice of a response that is passed on, and add the balancer's fields to it.

        Args:
            is_probe: whether the endpoint was not the balancer's choice.
        """
        if self._learn is not None:
            self._learn(x, endpoint, head)
        if self._fields is not None and not is_probe:
            x.extra_fields += self._fields(x, endpoint)
