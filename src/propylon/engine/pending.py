"""The result of a plain hook that is not there yet: the exchange waits for it without a Task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.exchange import Exchange
    from propylon.engine.response import Response


class Pending:
    """A result that is set later: by another exchange, or by a limiter.

        def on_request(self, x):
            if self.free:
                return None
            pending = Pending(x)
            self.waiting.append(pending)
            return pending                    # later: pending.finish()

    `timeouts.policy` bounds the wait, as that of an async hook.

    Attributes:
        done: whether there is a result, or the exchange does not wait for one any more.
    """

    __slots__ = ("_cancel", "_error", "_exchange", "_value", "done")

    def __init__(self, x: Exchange, cancel: Callable[[], object] | None = None) -> None:
        """Make a result for exchange `x`; `cancel` is called if the exchange ends before it is set."""
        self._exchange = x
        self._cancel = cancel
        self._value: Response | None = None
        self._error: Exception | None = None
        self.done = False

    def finish(self, value: Response | None = None) -> None:
        """Set the result; the exchange continues in the next turn of the event loop, not within this call.

        Args:
            value: the result of the hook.
        """
        if not self.done:
            self._value = value
            self._end()

    def fail(self, error: Exception) -> None:
        """Continue the exchange as if the hook had raised `error`."""
        if not self.done:
            self._error = error
            self._end()

    def _end(self) -> None:
        self.done = True
        asyncio.get_running_loop().call_soon(self._exchange.notify)

    async def wait(self) -> Response | None:
        """Wait for the result, and return it. For the engine: it waits by `Exchange.pause`.

        Raises the error given to `fail`, or the failure that ended the exchange.
        """
        x = self._exchange
        x.arm_policy(self)
        try:
            while not self.done:
                await x.pause()
        except BaseException:
            self.done = True
            if self._cancel is not None:
                self._cancel()
            raise
        finally:
            x.disarm_policy(self)
        if self._error is not None:
            raise self._error
        return self._value
