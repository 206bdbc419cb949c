"""A retry budget: retries and hedges are a share of the requests, so that they cannot bury a service that is down.

Retries beyond it are not made. A reserve that does not depend on requests lets quiet services retry too. Seconds, ratio
and reserve mean what they mean in Finagle and Linkerd, whose defaults are 10 s, 20 % and 10 retries a second; here are
fewer, for every worker has a budget of its own.

Source: https://finagle.github.io/blog/2016/02/08/retry-budgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from propylon.services.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

_SLICES: Final = 10


class Budget:
    """What the retries of one service may cost. `now` is always of `time.monotonic`.

    What holds exactly, with w = `seconds` and a tenth (a retry is remembered until its slice of time is over):

    - in any span of `seconds`, retries <= ratio x first tries in the w before the last of them + per_second x seconds;
    - in any span of t seconds, retries <= ratio x first tries in the span and the w before it + per_second x
      (t + seconds).

    So in the long run a service that fails everything gets at most (1 + ratio) x requests + per_second x time.

    Attributes:
        deposit: to be called with the time when a request is sent for the first time.
    """

    __slots__ = ("_ratio", "_reserve", "_window", "deposit")

    def __init__(self, ratio: float = 0.2, per_second: float = 3.0, seconds: float = 10.0) -> None:
        """Make a budget with its reserve full.

        Args:
            ratio: retries for each first try; 0.2 is one for five.
            per_second: retries a second whatever the number of first tries.
            seconds: how long a first try counts, and for how long a reserve can be saved.
        """
        self._ratio = ratio
        self._reserve = per_second * seconds
        # The failures of this window are the retries. One slice more than `seconds` has: forgotten too early, they
        # could be made again.
        self._window = Window(seconds * (_SLICES + 1) / _SLICES, _SLICES + 1)
        self.deposit: Callable[[float], None] = self._window.add

    def __repr__(self) -> str:
        return f"<Budget {self._window!r}>"

    def withdraw(self, now: float) -> bool:
        """Ask for one retry or hedge. Returns True if it may be sent; it counts then."""
        window = self._window
        retries = window.failures(now)
        if retries + 1 > self._ratio * (window.total(now) - retries) + self._reserve:
            return False
        window.add_failure(now)
        return True
