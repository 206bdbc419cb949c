"""The concurrency limit of a service: exchanges beyond it wait in a queue, or are refused."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.services.limit_aimd import AimdLimit, AimdSettings
from propylon.services.limit_gradient import GradientLimit, GradientSettings
from propylon.services.limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.exchange import Exchange
    from propylon.services.limiter import Claim
    from propylon.services.settings import Concurrency


START: Final = 20
"""Initial value of an adaptive limit."""

OVERLOADED: Final = frozenset((429, 503, 504))
"""Statuses by which a service signals overload."""


SOON: Final = {"retry-after": "1"}
"""Fields of the response to a refused exchange; the wait is unknown, but usually short."""


class ConcurrencyGate:
    """Admits exchanges to a service up to its limit. Streams and tunnels count until they end."""

    def __init__(self, name: str, settings: Concurrency, clock: Callable[[], float]) -> None:
        """Create the gate of the service `name`.

        Args:
            clock: monotonic seconds.
        """
        self._name = name
        self._settings = settings
        self._clock = clock
        self._limiter = Limiter(settings.max or 0, settings.queue)
        self._adaptive: AimdLimit | GradientLimit | None = None
        if settings.adaptive is not None and settings.max is not None:
            start = min(max(START, settings.min), settings.max)
            if settings.adaptive == "aimd":
                self._adaptive = AimdLimit(AimdSettings(start=start, min=settings.min, max=settings.max))
            else:
                self._adaptive = GradientLimit(GradientSettings(start=start, min=settings.min, max=settings.max))
        self._capacity = inf
        self._entered: dict[Exchange, float] = {}  # time of entry
        self._set_limit()

    def __repr__(self) -> str:
        return f"<ConcurrencyGate {self._limiter!r}>"

    def endpoints_changed(self, count: int) -> None:
        """Set the number of available endpoints, for the limit `per_endpoint`."""
        per_endpoint = self._settings.per_endpoint
        self._capacity = inf if per_endpoint is None else per_endpoint * max(1, count)
        self._set_limit()

    async def enter(self, x: Exchange) -> None:
        """Admit an exchange; wait in the queue while the limit is reached.

        Raises:
            GatewayError: choose.queue_full, choose.queue_timeout.
        """
        if not self._limiter.enter():
            claim = self._limiter.wait(x)
            if claim is None:
                raise GatewayError("choose.queue_full", log=f"service {self._name}: {self._limiter}", headers=SOON)
            x.arm(self._settings.queue_timeout, "choose.queue_timeout")
            try:
                while not claim.granted:
                    await x.pause()
            except BaseException:
                _wake(self._limiter.withdraw(claim))
                raise
            x.disarm()
        self._entered[x] = self._clock()

    def leave(self, x: Exchange, error: GatewayError | None = None) -> None:
        """Release an exchange, and admit the next one.

        Args:
            error: the failure that led to the fallback service; `None` if the exchange ends.
        """
        since = self._entered.pop(x)
        error = error or x.error
        adaptive = self._adaptive
        if adaptive is not None and not x.is_websocket and x.lasting is None and not _had_no_attempt(error):
            now = self._clock()
            failed = x.status in OVERLOADED or (error is not None and error.failure.cause != "")
            adaptive.sample(now - since, self._limiter.inflight, failed, now)
            self._set_limit()
        _wake(self._limiter.leave())

    def _set_limit(self) -> None:
        limit = self._settings.max if self._adaptive is None else self._adaptive.limit
        self._limiter.max = int(min(self._capacity, limit if limit is not None else self._capacity, 2**31))
        while (claim := self._limiter.admit()) is not None:
            _wake(claim)


def _had_no_attempt(error: GatewayError | None) -> bool:
    """Return whether no endpoint was available: that is no sample of the capacity of a service."""
    return error is not None and error.code in ("choose.broken", "choose.no_endpoint")


def _wake(claim: Claim | None) -> None:
    """Resume an exchange in the next turn of the event loop, not inside another exchange."""
    if claim is not None:
        asyncio.get_running_loop().call_soon(claim.exchange.notify)
