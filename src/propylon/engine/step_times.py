"""Durations of an exchange's steps, from the times of its attempts: for logs, metrics and spans."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


class StepTimes(NamedTuple):
    """Seconds of the steps of `forward.py`; their sum is `Exchange.elapsed`.

    Attributes:
        request: steps 1 to 3, until the first endpoint was chosen; the whole exchange if it had no attempt.
        tries: earlier attempts, with the pauses between them.
        attempt: the last attempt, until its request was sent: connecting, and on_attempt policies.
        head: from there to the response's head, or to the failure.
        relay: from there to the end.
    """

    request: float
    tries: float
    attempt: float
    head: float
    relay: float


def step_times(x: Exchange) -> StepTimes:
    """Return the step times of an exchange, up to now if it has not ended."""
    ended = monotonic() if x.ended == inf else x.ended
    last = x.attempt
    if last is None:
        return StepTimes(ended - x.started, 0.0, 0.0, 0.0, 0.0)
    first = x.tries[0]
    head_at = last.head_at or ended
    return StepTimes(
        first.since - x.started,
        last.since - first.since,
        last.began - last.since,
        head_at - last.began,
        ended - head_at,
    )
