"""How an exchange runs: as a coroutine stepped by callbacks, without a Task.

`forward()` runs until it must wait; the callback that changes the state it waits for calls `notify()`, which resumes it
within that callback. Two rules keep this correct:

* State is kept in the objects waited for (a connection, a Task). The coroutine checks the state, awaits `pause()` only
  if it must wait, and then checks again. So no event is lost that happens while it runs, and a spurious wake-up does no
  harm.
* Only this class touches the coroutine. To end an exchange (the client disconnected, a deadline passed), call `fail()`:
  the current `pause()` raises the error, or the next one.
"""

from __future__ import annotations

import types
from asyncio import CancelledError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from propylon.engine.errors import GatewayError


class Stepped:
    """The base of `Exchange` that steps its coroutine. `Exchange` sets its attributes.

    Attributes:
        finished: whether it is over.
    """

    __slots__ = ("_coroutine", "_failure", "_running", "finished")

    _failure: GatewayError | None
    _running: bool
    _coroutine: Coroutine[None, None, None] | None
    finished: bool

    def start(self, coroutine: Coroutine[None, None, None]) -> None:
        """Start `coroutine`, which carries the exchange: that of `forward()`."""
        self._coroutine = coroutine
        self._step()

    def notify(self) -> None:
        """Resume the coroutine if it waits: state that it may wait for has changed."""
        if not self._running and not self.finished:
            self._step()

    def wake(self, task: object) -> None:
        """Call `notify`, as the callback of a Task."""
        del task  # a traceback of its exception may keep this frame: a cycle that only the collector would free
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
        """Wait for the next `notify()`. Raises the error of `fail()`, once."""
        if self._failure is None:
            yield
        failure = self._failure
        if failure is not None:
            self._failure = None
            raise failure

    def _step(self) -> None:
        assert self._coroutine is not None
        self._running = True
        try:
            self._coroutine.send(None)
        except StopIteration:
            self.finished = True
        except (Exception, CancelledError):
            # forward() handles every failure itself, so this is a defect of it; the client must not hang.
            self.finished = True
            self._crashed()
        finally:
            self._running = False
        if self.finished:
            self._finish()

    def _crashed(self) -> None:
        """Handle a defect, whose exception is being handled: log it, and abort the client's side."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Report the end of the exchange to the client's side, and drop references."""
        raise NotImplementedError
