"""How long the steps of an exchange took, from what its attempts have noted: for logs, metrics and spans."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange


class StepTimes(NamedTuple):
    """Seconds for the steps of `forward.py`; together they are `Exchange.elapsed`.

    Attributes:
        request: steps 1 to 3, until the first endpoint was chosen; all of it where the gateway answered itself.
        tries: earlier attempts, with the pauses between them.
        attempt: the last attempt, until its request was sent: a connection, and policies of the attempt.
        head: from there to the head of its answer, or to its failure.
        relay: from there to the end.
    """

    request: float
    tries: float
    attempt: float
    head: float
    relay: float


def step_times(x: Exchange) -> StepTimes:
    """Return the times of an exchange, of one under way up to now."""
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
