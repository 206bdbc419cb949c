"""A clock for what takes its clock as an argument."""

from __future__ import annotations


class HeldClock:
    """Stands still until a test moves `now`, in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
