"""A response's body fed by a policy's async iterator, with backpressure from the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.hook_task import start_task
from propylon.engine.pipeline import failed
from propylon.engine.sides import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from propylon.engine.exchange import Exchange


class IteratorFeed:
    """The source of a body whose pieces come from an async iterator (`BodySource`).

    The iterator runs in a Task, from the first read of the body to its end, or that of the exchange. While the body is
    held, the next piece is not requested. `timeouts.idle` bounds the time between two pieces.

    Attributes:
        body: the body that it feeds.
    """

    __slots__ = ("_exchange", "_free", "_holders", "_name", "_pieces", "_task", "body")

    def __init__(self, x: Exchange, pieces: AsyncIterable[bytes], length: int = UNKNOWN) -> None:
        """Make the body of a response of the gateway's own to `x`.

        Args:
            length: of all pieces together, in bytes, or `UNKNOWN`; more or fewer bytes are a failure.
        """
        self._exchange = x
        self._pieces = pieces
        self._name = f"body {getattr(pieces, '__qualname__', type(pieces).__qualname__)}"
        self._holders: frozenset[object] = frozenset()
        self._free: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.body = Body(self, length)
        x.defer(self.cancel)

    def body_wanted(self) -> None:
        """Start the iterator."""
        self._task = start_task(self._run(), self._name, self._exchange)

    def hold(self, owner: object) -> None:
        """Request no piece until `owner` releases it."""
        self._holders = self._holders | {owner}
        self._exchange.disarm()

    def release(self, owner: object) -> None:
        """Resume the iterator, if no other owner holds it."""
        if owner not in self._holders:
            return
        self._holders = self._holders - {owner}
        if self._holders or self._task is None or self._task.done():
            return
        self._arm()
        if self._free is not None and not self._free.done():
            self._free.set_result(None)

    def cancel(self) -> None:
        """Cancel the iterator, and fail the taps of a body that has not ended."""
        if self._task is not None:
            self._task.cancel()
        self.body.free()

    async def _run(self) -> None:
        x, body = self._exchange, self.body
        try:
            await self._released()
            self._arm()
            pieces = aiter(self._pieces)
            try:
                async for piece in pieces:
                    if not isinstance(piece, bytes):
                        raise TypeError(f"a piece of a body is bytes, not {piece!r}")
                    if body.length != UNKNOWN and body.size + len(piece) > body.length:
                        raise ValueError(f"the body is longer than the {body.length} bytes that were announced")
                    if piece:
                        body.feed(piece)
                    await self._released()
                    self._arm()
            finally:
                if isinstance(pieces, AsyncGenerator):  # else it would stay open until it is collected
                    await pieces.aclose()
            if body.length not in (UNKNOWN, body.size):
                raise ValueError(f"the body has {body.size} bytes, and {body.length} were announced")
        except Exception as error:
            body.fail(
                error if isinstance(error, GatewayError) else failed(x, self._name, "response.policy_failed", error)
            )
        else:
            x.disarm()
            body.end([])

    async def _released(self) -> None:
        while self._holders:
            self._free = asyncio.get_running_loop().create_future()
            await self._free

    def _arm(self) -> None:
        timeouts = self._exchange.timeouts
        stream = self._exchange.lasting is not None
        self._exchange.arm(timeouts.event_stream if stream else timeouts.idle, "response.stalled")
