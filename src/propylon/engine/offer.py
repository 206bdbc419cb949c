"""A request body that is offered to the service before it is asked of the client: Expect: 100-continue, passed on.

Rules of the file (RFC 9110 10.1.1):

- A client that waits for 100 (Continue) is asked for its body once the service has sent a 100, or nothing for
  `timeouts.expect`. A final response ends the offer: the body is neither asked for nor sent.
- Nothing is offered if the body is wanted already, as by a policy that reads it, or if the client has begun to send it.
- An endpoint that lets the time pass, or speaks HTTP/1.0, is taken for one without 1xx responses, and is offered
  nothing for `SILENT_S`.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.backend import Endpoint
    from propylon.engine.body import Body
    from propylon.engine.exchange import Exchange
    from propylon.engine.sides import Upstream

EXPECT: Final = b"expect: 100-continue\r\n"
SILENT_S: Final = 600.0


def may_offer(x: Exchange, body: Body, endpoint: Endpoint) -> bool:
    """Return whether the body is offered to `endpoint`."""
    if not x.timeouts.expect or body.wanted or body.size or not x.client.expects_continue:
        return False
    return monotonic() >= endpoint.silent_until


class Offer:
    """One offer to one upstream; `body.offer` is the current one."""

    __slots__ = ("_body", "_endpoint", "_pipe", "_timer", "_upstream")

    def __init__(
        self, x: Exchange, body: Body, endpoint: Endpoint, upstream: Upstream, pipe: Callable[[], None]
    ) -> None:
        """Offer a body: `pipe` starts to send it. The offer ends with the exchange at the latest."""
        self._body = body
        self._endpoint = endpoint
        self._upstream = upstream
        self._pipe: Callable[[], None] | None = pipe
        assert x.timeouts.expect is not None
        self._timer = asyncio.get_running_loop().call_later(x.timeouts.expect, self._expire)
        if body.offer is not None:
            body.offer.withdraw()  # that of an earlier attempt
        body.offer = self
        x.defer(self.withdraw)

    def accept(self) -> None:
        """Send the body: the service has asked for it, or has had its time. Further calls do nothing."""
        pipe = self._pipe
        self.withdraw()
        if pipe is not None:
            pipe()

    def decline(self, minor: int) -> None:
        """End the offer: a final response of HTTP/1.`minor` has arrived."""
        self.withdraw()
        if not minor:
            self._endpoint.silent_until = monotonic() + SILENT_S

    def withdraw(self) -> None:
        """End the offer without sending the body."""
        self._pipe = None
        self._timer.cancel()
        if self._body.offer is self:
            self._body.offer = None

    def _expire(self) -> None:
        if self._upstream.error is None and self._upstream.head is None:
            self._endpoint.silent_until = monotonic() + SILENT_S
            self.accept()
