"""How an exchange is carried: a coroutine that callbacks step, without a Task.

`forward()` runs until it must wait, and the callback that changes what it waits for calls `notify()`, which goes on
with it inside that very callback. Two rules keep this sound:

* State lives in the objects waited for (a connection, a Task). The coroutine looks at the state, and only when it is
  not there yet awaits `pause()`; then it looks again. So nothing is lost that happens while it runs, and waking it
  once too often does no harm.
* Only this class touches the coroutine. What must end an exchange (the client went away, a deadline passed) calls
  `fail()`: the error comes out of the `pause()` it stands at, or out of the next one.
"""

from __future__ import annotations

import logging
import types
from asyncio import CancelledError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from propylon.engine.errors import GatewayError

log = logging.getLogger("propylon.engine")


class Stepped:
    """The part of an exchange that is stepped. `Exchange` sets its attributes.

    Attributes:
        finished: whether it is over.
    """

    __slots__ = ("_failure", "_running", "_way", "finished")

    _failure: GatewayError | None
    _running: bool
    _way: Coroutine[None, None, None] | None
    finished: bool

    def start(self, way: Coroutine[None, None, None]) -> None:
        """Begin to carry the exchange along `way`, the coroutine of `forward()`."""
        self._way = way
        self._step()

    def notify(self) -> None:
        """Go on if `forward()` waits: something it may wait for has changed."""
        if not self._running and not self.finished:
            self._step()

    def wake(self, _: object) -> None:
        """Do what `notify` does, as the callback of a Task."""
        self.notify()

    def fail(self, error: GatewayError) -> None:
        """End the exchange with `error`, now or at its next `pause()`."""
        if self.finished or self._failure is not None:
            return
        self._failure = error
        if not self._running:
            self._step()

    @types.coroutine
    def pause(self) -> Generator[None, None, None]:
        """Wait for the next `notify()`. Raises what `fail()` was given, once."""
        if self._failure is None:
            yield
        failure = self._failure
        if failure is not None:
            self._failure = None
            raise failure

    def _step(self) -> None:
        assert self._way is not None
        self._running = True
        try:
            self._way.send(None)
        except StopIteration:
            self.finished = True
        except (Exception, CancelledError):
            # forward() answers every failure itself, so this is a defect of it: nothing may hang for it.
            self.finished = True
            log.exception("%r was lost by a defect of the gateway", self)
            self._lost()
        finally:
            self._running = False
        if self.finished:
            self._over()

    def _lost(self) -> None:
        """Let nobody wait for an exchange that a defect has ended."""
        raise NotImplementedError

    def _over(self) -> None:
        """Tell who wants to know that the exchange is over."""
        raise NotImplementedError
