"""The lines of the log about endpoints and circuits: all of them are built here.

As those about exchanges (`engine/lines.py`), each has its facts as fields: `event`, `facts` and `code` of the record.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from propylon.engine.lines import Facts, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from propylon.services.breaker import Breaker
    from propylon.services.ejection import Ejection

_SERVICES: Final = logging.getLogger("propylon.services")
_HEALTH: Final = logging.getLogger("propylon.health")


def ejected(url: str, ejection: Ejection, now: float) -> None:
    """Tell that passive health has put an endpoint aside, and after which failures."""
    seconds = ejection.until - now
    event = f"endpoint {url} is put aside for {seconds:.0f} s: {ejection.reason}"
    _write(_SERVICES, logging.WARNING, event, "endpoint.ejected", Facts(endpoint=url, seconds=round(seconds, 3)))


def back(url: str) -> None:
    """Tell that an endpoint is not put aside any longer."""
    _write(_SERVICES, logging.INFO, f"endpoint {url} is back", "endpoint.back", Facts(endpoint=url))


def moved(url: str, addresses: Iterable[str], left: int) -> None:
    """Tell that an endpoint's name has other addresses, and how many connections to old ones are left."""
    found = ", ".join(addresses)
    event = f"endpoint {url} has moved to {found}; left connections: {left}"
    _write(_SERVICES, logging.INFO, event, "endpoint.moved", Facts(endpoint=url))


def circuit(service: str, url: str | None, breaker: Breaker, now: float) -> None:
    """Tell that a circuit has opened, and after which failures, or closed; `url` is `None` for that of the service."""
    what = f"service {service}" if url is None else f"endpoint {url} of {service}"
    facts = Facts(service=service, endpoint=url)
    if breaker.state == "open":
        facts["seconds"] = round(breaker.retry_at - now, 3)
        event = f"the circuit of {what} is open for {breaker.retry_at - now:.0f} s: {breaker.reason}"
        _write(_SERVICES, logging.WARNING, event, "circuit.open", facts)
    elif breaker.state == "closed":
        event = f"the circuit of {what} is closed: a probe succeeded"
        _write(_SERVICES, logging.INFO, event, "circuit.closed", facts)


def ill(url: str, reason: str) -> None:
    """Tell that an active check finds an endpoint ill, and why."""
    event = f"endpoint {url} is ill: {printable(reason)}"
    _write(_HEALTH, logging.WARNING, event, "endpoint.ill", Facts(endpoint=url))


def well(url: str, what: str, *, ill: bool) -> None:
    """Tell that the check `what` succeeds again; `ill` if another one still fails."""
    told = f": {what} works again, and another check still fails" if ill else " is well again"
    _write(_HEALTH, logging.INFO, f"endpoint {url}{told}", "endpoint.well", Facts(endpoint=url))


def _write(log: logging.Logger, level: int, event: str, code: str, facts: Facts) -> None:
    log.log(level, "%s", event, extra={"event": event, "facts": facts, "code": code})
