"""The endpoints of a service that may be chosen: tiers, health, zones and panic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from propylon.services.endpoint import Endpoint

LOCAL_SHARE: Final = 0.5
"""Share of a zone's endpoints that must be healthy for the zone to serve its own gateway alone."""

_ROUNDING: Final = 1e-9
"""As a float, 29 % of 100 is slightly less than 29."""


class Rules(NamedTuple):
    """Attributes:
    eject_share: maximum share of endpoints ejected by passive health.
    panic: share of healthy endpoints below which all are used; 0 for only when none is healthy.
    zone: the preferred zone, if any.
    """

    eject_share: float
    panic: float
    zone: str | None


def candidates(endpoints: Iterable[Endpoint], rules: Rules) -> tuple[Endpoint, ...]:
    """Return the endpoints that may be chosen, in the order of the configuration.

    Endpoints of weight 0 drain: they get no new requests. Those with an open circuit never get requests. Of the
    others, the first tier with a healthy share not below `panic` serves; if there is none, all endpoints of all tiers
    serve, since the few healthy ones would be overloaded.
    """
    serving = [endpoint for endpoint in endpoints if endpoint.weight > 0]
    unhealthy = _unhealthy(serving, rules.eject_share)
    tiers: dict[int, list[Endpoint]] = {}
    for endpoint in serving:
        tiers.setdefault(endpoint.priority, []).append(endpoint)
    for _, tier in sorted(tiers.items()):
        healthy = [endpoint for endpoint in tier if endpoint not in unhealthy and not _is_open(endpoint)]
        if healthy and len(healthy) >= rules.panic * len(tier) - _ROUNDING:
            return _prefer_zone(healthy, tier, rules.zone)
    return tuple(endpoint for endpoint in serving if not _is_open(endpoint))


def _is_open(endpoint: Endpoint) -> bool:
    return endpoint.breaker is not None and endpoint.breaker.state != "closed"


def _unhealthy(serving: Sequence[Endpoint], share: float) -> set[Endpoint]:
    """Return the endpoints that fail a check, and the ejected ones up to `share`.

    Those ejected for the longest time remain ejected.
    """
    failing = {endpoint for endpoint in serving if endpoint.vitals.complaints}
    ejected = [endpoint for endpoint in serving if endpoint.vitals.ejection.until]
    ejected.sort(key=lambda endpoint: endpoint.vitals.ejection.until, reverse=True)
    return failing.union(ejected[: int(share * len(serving) + _ROUNDING)])


def _prefer_zone(healthy: list[Endpoint], tier: list[Endpoint], zone: str | None) -> tuple[Endpoint, ...]:
    """Return only endpoints of the gateway's own zone while enough of them are healthy."""
    if zone is not None:
        local = [endpoint for endpoint in healthy if endpoint.zone == zone]
        if local and len(local) >= LOCAL_SHARE * sum(endpoint.zone == zone for endpoint in tier):
            return tuple(local)
    return tuple(healthy)
