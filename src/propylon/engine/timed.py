"""The deadlines of an exchange. They are numbers: one timer of the worker looks at them (`check`).

The client's side has the moment of the next check, `due`. Whatever sets a deadline lowers it by `check_by`, and `check`
raises it again to the nearest deadline that is left.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from propylon.engine.errors import GatewayError
from propylon.engine.stepped import Stepped

if TYPE_CHECKING:
    from propylon.engine.sides import Client, Upstream
    from propylon.engine.timing import Ending, Lasting, Timeouts


class Timed(Stepped):
    """The part of an exchange that is bounded in time. `Exchange` sets its attributes.

    Attributes:
        client: where the request came from.
        timeouts: how long its endpoint may take; replace it with `set_timeouts`.
        started: when the head of the request was read (`time.monotonic`).
        ended: when it was over; `inf` before, and where no policy asks for its end.
        deadline: when it fails with `expiry`, unless it is armed anew before.
        total_deadline: when it fails whatever it does, before the head of a response is there.
        lasting: what carries it for long: an event stream in plain text, or the tunnel behind a 101.
        ending: how it is to be ended if it goes on for long, as the gateway stops.
    """

    __slots__ = (
        "client", "deadline", "ended", "ending", "expiry", "lasting", "policy_deadlines", "started", "timeouts",
        "total_deadline",
    )  # fmt: skip

    client: Client
    deadline: float
    ended: float
    ending: Ending | None
    expiry: str
    lasting: Lasting | None
    policy_deadlines: dict[object, float] | None
    started: float
    timeouts: Timeouts
    total_deadline: float

    @property
    def upstream(self) -> Upstream | None:
        """What carries the attempt under way, if there is one."""
        raise NotImplementedError

    @property
    def elapsed(self) -> float:
        """Seconds since the request's head was read, until the exchange was over."""
        return (monotonic() if self.ended == inf else self.ended) - self.started

    def set_timeouts(self, **seconds: float | None) -> None:
        """Change how long this exchange may take: any of the fields of `Timeouts`, in seconds.

        `idle` counts for event streams too, unless `event_stream` is set along.
        """
        if "idle" in seconds:
            seconds.setdefault("event_stream", seconds["idle"])
        self.timeouts = replace(self.timeouts, **seconds)
        if "total" in seconds and self.upstream is None:
            total = self.timeouts.total
            self.total_deadline = inf if total is None else self.started + total
            self.disarm()

    def arm(self, seconds: float | None, code: str) -> None:
        """Let the exchange fail with `code` after `seconds`, unless it is armed anew before."""
        self.deadline = monotonic() + seconds if seconds is not None else inf
        self.expiry = code
        if self.total_deadline < self.deadline:
            self.deadline = self.total_deadline
            self.expiry = "attempt.total_timeout"
        if self.deadline < self.client.due:
            self.client.due = self.deadline

    def arm_relay(self, upstream: Upstream) -> None:
        """Let the response's next bytes arrive in `timeouts.idle`, once the request is out and nobody holds them."""
        if upstream.request_sent and not upstream.complete and not upstream.held:
            seconds = self.timeouts.idle
            if upstream.head is not None and upstream.head.event_stream:
                seconds = self.timeouts.event_stream
                if seconds is None and self.deadline == inf:
                    return  # the common case of events, of which there are many
            self.arm(seconds, "relay.idle_timeout")

    def arm_policy(self, owner: object) -> None:
        """Let what `owner` stands for take at most `timeouts.policy`."""
        if self.timeouts.policy is not None:
            if self.policy_deadlines is None:
                self.policy_deadlines = {}
            self.policy_deadlines[owner] = deadline = monotonic() + self.timeouts.policy
            self.check_by(deadline)

    def disarm_policy(self, owner: object) -> None:
        """Learn that `owner` is done."""
        if self.policy_deadlines is not None:
            self.policy_deadlines.pop(owner, None)

    def disarm(self) -> None:
        """Let no deadline end the exchange but that of its total time."""
        self.deadline = self.total_deadline
        self.expiry = "attempt.total_timeout"
        self.check_by(self.deadline)

    def last(self, lasting: Lasting) -> None:
        """Let `lasting` carry the exchange from now on, for as long as it takes."""
        self.lasting = lasting
        if self.ending is not None:
            lasting.end_by(self.ending)

    def end_by(self, ending: Ending) -> None:
        """End what would go on for long, if the exchange is that or becomes it."""
        self.ending = ending
        if self.lasting is not None:
            self.lasting.end_by(ending)

    def check_by(self, when: float) -> None:
        """Be checked at `when` (`time.monotonic`), or before: a check that comes too early does nothing."""
        if when < self.client.due:
            self.client.due = when

    def check(self, now: float) -> None:
        """Fail if a deadline has passed; otherwise tell the client's side when to check again."""
        if self.deadline <= now:
            if self.expiry == "attempt.stalled" and self.upstream is not None and self.upstream.progressed():
                self.arm(self.timeouts.idle, "attempt.stalled")  # slow, but it moves
            else:
                self.deadline = inf
                self.fail(GatewayError(self.expiry))
        elif self.policy_deadlines and min(self.policy_deadlines.values()) <= now:
            self.policy_deadlines = None
            self.fail(GatewayError("request.policy_timeout"))
        if self.lasting is not None and self.lasting.deadline <= now:
            self.lasting.check(now)
        if not self.finished:
            self._check_again()

    def _check_again(self) -> None:
        self.check_by(self.deadline)
        if self.policy_deadlines:
            self.check_by(min(self.policy_deadlines.values()))
        if self.lasting is not None:
            self.check_by(self.lasting.deadline)
