"""What a plain hook returns when its answer is not there yet: the exchange waits for it without a Task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.engine.exchange import Exchange
    from propylon.engine.message import Response


class Pending:
    """A result that somebody else provides: another exchange, or whoever gives a place.

        def on_request(self, x):
            if self.free:
                return None
            pending = Pending(x)
            self.waiting.append(pending)
            return pending                    # later: pending.finish()

    `timeouts.policy` bounds the wait, as that of an async hook.

    Attributes:
        done: whether there is a result, or nobody waits for one any more.
    """

    __slots__ = ("_cancel", "_error", "_exchange", "_value", "done")

    def __init__(self, x: Exchange, cancel: Callable[[], object] | None = None) -> None:
        """Make a result that exchange `x` waits for; `cancel` is called if the exchange ends before it is there."""
        self._exchange = x
        self._cancel = cancel
        self._value: Response | None = None
        self._error: Exception | None = None
        self.done = False

    def finish(self, value: Response | None = None) -> None:
        """Let the exchange go on in the next turn of the event loop, and not inside of what calls this.

        Args:
            value: what the hook returns.
        """
        if not self.done:
            self._value = value
            self._end()

    def fail(self, error: Exception) -> None:
        """Let the exchange go on as if the hook had raised `error`."""
        if not self.done:
            self._error = error
            self._end()

    def _end(self) -> None:
        self.done = True
        asyncio.get_running_loop().call_soon(self._exchange.notify)

    async def wait(self) -> Response | None:
        """Wait for the result, and return it. For the engine: it waits as an exchange does.

        Raises what `fail` was given, or what ended the exchange.
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
