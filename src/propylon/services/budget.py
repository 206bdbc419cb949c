"""A retry budget: limits retries and hedges to a share of the requests, so that they cannot overload a failing service.

Retries beyond it are not sent. A reserve independent of the requests lets services with little traffic retry too.
Seconds, ratio and reserve have the meaning of Finagle and Linkerd, with defaults of 10 s, 20 % and 10 retries a second;
the reserve is smaller here, since each worker has its own budget.

Source: https://finagle.github.io/blog/2016/02/08/retry-budgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.services.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

_SLICES: Final = 10


class Budget:
    """The retry budget of one service. `now` is always of `time.monotonic`.

    Exact bounds, with w = 1.1 x `seconds` (a retry counts until its slice of time is over):

    - in any span of `seconds`, retries <= ratio x first tries in the w before the last of them + per_second x seconds;
    - in any span of t seconds, retries <= ratio x first tries in the span and the w before it + per_second x
      (t + seconds).

    So in the long run a service that fails all requests gets at most (1 + ratio) x requests + per_second x time.

    Attributes:
        deposit: called with the time of the first try of a request.
    """

    __slots__ = ("_ratio", "_reserve", "_window", "deposit")

    def __init__(self, ratio: float = 0.2, per_second: float = 3.0, seconds: float = 10.0) -> None:
        """Create a budget with a full reserve.

        Args:
            ratio: retries per first try; 0.2 is one for five.
            per_second: retries a second, independent of the number of first tries.
            seconds: how long a first try counts, and for how long a reserve accumulates.
        """
        self._ratio = ratio
        self._reserve = per_second * seconds
        # The failures of this window are the retries. One slice more than `seconds`: retries dropped too early would
        # allow further ones.
        self._window = Window(seconds * (_SLICES + 1) / _SLICES, _SLICES + 1)
        self.deposit: Callable[[float], None] = self._window.add

    def __repr__(self) -> str:
        return f"<Budget {self._window!r}>"

    def withdraw(self, now: float) -> bool:
        """Request one retry or hedge. Returns True if it may be sent, and counts it."""
        window = self._window
        retries = window.failures(now)
        if retries + 1 > self._ratio * (window.total(now) - retries) + self._reserve:
            return False
        window.add_failure(now)
        return True
