"""Which endpoints of a service may be chosen at the moment: tiers, health, zones and panic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from propylon.services.endpoint import Endpoint

LOCAL_SHARE: Final = 0.5
"""Share of a zone's endpoints that must be healthy for the zone to serve its own gateway alone."""

_ROUNDING: Final = 1e-9
"""29 % of 100 is a little less than 29, as floats have it."""


class Rules(NamedTuple):
    """Attributes:
    eject_share: how many endpoints passive health may put aside, as a share of all.
    panic: share of healthy endpoints below which all are used; 0 for only when none is healthy.
    zone: the zone that comes first, if any.
    """

    eject_share: float
    panic: float
    zone: str | None


def candidates(endpoints: Iterable[Endpoint], rules: Rules) -> tuple[Endpoint, ...]:
    """Return who may be chosen, in the order of the configuration; empty if nobody can serve.

    Endpoints of weight 0 drain: they get nothing new. Those whose circuit is open get nothing, whatever else holds.
    Of the others, the first tier serves whose healthy share is not below `panic`; if no tier is healthy enough,
    all endpoints of all tiers do, since the few that are left would fall under the load of all.
    """
    serving = [endpoint for endpoint in endpoints if endpoint.weight > 0]
    ill = _ill(serving, rules.eject_share)
    tiers: dict[int, list[Endpoint]] = {}
    for endpoint in serving:
        tiers.setdefault(endpoint.priority, []).append(endpoint)
    for _, tier in sorted(tiers.items()):
        healthy = [endpoint for endpoint in tier if endpoint not in ill and not _is_open(endpoint)]
        if healthy and len(healthy) >= rules.panic * len(tier) - _ROUNDING:
            return _near(healthy, tier, rules.zone)
    return tuple(endpoint for endpoint in serving if not _is_open(endpoint))


def _is_open(endpoint: Endpoint) -> bool:
    return endpoint.breaker is not None and endpoint.breaker.state != "closed"


def _ill(serving: Sequence[Endpoint], share: float) -> set[Endpoint]:
    """Return those that a check found ill, and of those that passive health has put aside as many as may be.

    The ones that were put aside for the longest time stay away.
    """
    ill = {endpoint for endpoint in serving if endpoint.vitals.complaints}
    ejected = [endpoint for endpoint in serving if endpoint.vitals.ejection.until]
    ejected.sort(key=lambda endpoint: endpoint.vitals.ejection.until, reverse=True)
    return ill.union(ejected[: int(share * len(serving) + _ROUNDING)])


def _near(healthy: list[Endpoint], tier: list[Endpoint], zone: str | None) -> tuple[Endpoint, ...]:
    """Keep to the gateway's own zone while enough of it is healthy."""
    if zone is not None:
        local = [endpoint for endpoint in healthy if endpoint.zone == zone]
        if local and len(local) >= LOCAL_SHARE * sum(endpoint.zone == zone for endpoint in tier):
            return tuple(local)
    return tuple(healthy)
