"""How many exchanges of a service are under way at the same time; the others wait for their turn, or are refused."""

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
"""What a limit that moves begins with."""

OVERLOADED: Final = frozenset((429, 503, 504))
"""Answers by which a service says that it is too much."""


SOON: Final = {"retry-after": "1"}
"""Fields of the answer to who finds no place: nobody knows when there will be one, but it is not for long."""


class ConcurrencyGate:
    """The way into a service with a limit. Streams and tunnels count for as long as they last."""

    def __init__(self, name: str, settings: Concurrency, clock: Callable[[], float]) -> None:
        """Make the way into the service `name`.

        Args:
            clock: seconds, never going back.
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
        self._room = inf
        self._inside: dict[Exchange, float] = {}  # since when
        self._set_limit()

    def __repr__(self) -> str:
        return f"<ConcurrencyGate {self._limiter!r}>"

    def endpoints_changed(self, count: int) -> None:
        """Learn how many endpoints can serve: each takes only so many exchanges."""
        per_endpoint = self._settings.per_endpoint
        self._room = inf if per_endpoint is None else per_endpoint * max(1, count)
        self._set_limit()

    async def enter(self, x: Exchange) -> None:
        """Take a place for an exchange, until it leaves; wait for one if there is none.

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
        self._inside[x] = self._clock()

    def leave(self, x: Exchange, error: GatewayError | None = None) -> None:
        """Give back the place of an exchange.

        Args:
            error: why another service takes over; `None` if the exchange ends.
        """
        since = self._inside.pop(x)
        error = error or x.error
        adaptive = self._adaptive
        if adaptive is not None and not x.is_websocket and x.lasting is None and not _never_asked(error):
            now = self._clock()
            failed = x.status in OVERLOADED or (error is not None and error.failure.cause != "")
            adaptive.sample(now - since, self._limiter.inflight, failed, now)
            self._set_limit()
        _wake(self._limiter.leave())

    def _set_limit(self) -> None:
        limit = self._settings.max if self._adaptive is None else self._adaptive.limit
        self._limiter.max = int(min(self._room, limit if limit is not None else self._room, 2**31))
        while (claim := self._limiter.admit()) is not None:
            _wake(claim)


def _never_asked(error: GatewayError | None) -> bool:
    """Tell whether nobody was there to ask: that says nothing about what a service can take."""
    return error is not None and error.code in ("choose.broken", "choose.no_endpoint")


def _wake(claim: Claim | None) -> None:
    """Let an exchange go on, and not in the middle of what another one is doing."""
    if claim is not None:
        asyncio.get_running_loop().call_soon(claim.exchange.notify)
