"""The deadlines of an exchange. They are numbers, checked by one timer of the worker (`check`).

The client's side keeps the time of the next check, `due`. Setting a deadline lowers it (`check_by`), and `check` raises
it again to the nearest remaining deadline.
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
    """The base of `Exchange` that has its deadlines. `Exchange` sets its attributes.

    Attributes:
        client: the client's side.
        timeouts: of its endpoint and its policies; replace them with `set_timeouts`.
        started: when the head of the request was read (`time.monotonic`).
        ended: when it ended; `inf` before, and if no policy has an on_done hook.
        deadline: when it fails with `expiry`, unless it is armed again before.
        expiry: the code of the failure at `deadline`.
        total_deadline: when it fails in any case, until the response's head has arrived.
        lasting: the long-lived response: an event stream without content coding, or the tunnel after a 101.
        ending: how a long-lived response is ended when the gateway stops.
        policy_deadlines: of the async policies that run now.
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
        """The upstream of the current attempt, if there is one."""
        raise NotImplementedError

    @property
    def elapsed(self) -> float:
        """Seconds from the request's head to the end of the exchange, or to now."""
        return (monotonic() if self.ended == inf else self.ended) - self.started

    def set_timeouts(self, **seconds: float | None) -> None:
        """Change timeouts of this exchange: any of the fields of `Timeouts`, in seconds.

        `idle` applies to event streams too, unless `event_stream` is given as well.
        """
        if "idle" in seconds:
            seconds.setdefault("event_stream", seconds["idle"])
        self.timeouts = replace(self.timeouts, **seconds)
        if "total" in seconds and self.upstream is None:
            total = self.timeouts.total
            self.total_deadline = inf if total is None else self.started + total
            self.disarm()

    def arm(self, seconds: float | None, code: str) -> None:
        """Set the deadline: fail with `code` after `seconds`, unless it is armed again before."""
        self.deadline = monotonic() + seconds if seconds is not None else inf
        self.expiry = code
        if self.total_deadline < self.deadline:
            self.deadline = self.total_deadline
            self.expiry = "attempt.total_timeout"
        if self.deadline < self.client.due:
            self.client.due = self.deadline

    def arm_relay(self, upstream: Upstream) -> None:
        """Set the deadline for the response's next bytes by `timeouts.idle`.

        Only once the whole request was sent, and while nothing holds the response back.
        """
        if upstream.request_sent and not upstream.complete and not upstream.held:
            seconds = self.timeouts.idle
            if upstream.head is not None and upstream.head.event_stream:
                seconds = self.timeouts.event_stream
                if seconds is None and self.deadline == inf:
                    return  # the common case for event streams, called for each piece
            self.arm(seconds, "relay.idle_timeout")

    def arm_policy(self, owner: object) -> None:
        """Set the deadline of the async policy that `owner` stands for, by `timeouts.policy`."""
        if self.timeouts.policy is not None:
            if self.policy_deadlines is None:
                self.policy_deadlines = {}
            self.policy_deadlines[owner] = deadline = monotonic() + self.timeouts.policy
            self.check_by(deadline)

    def disarm_policy(self, owner: object) -> None:
        """Remove the deadline of `owner`: it is done."""
        if self.policy_deadlines is not None:
            self.policy_deadlines.pop(owner, None)

    def disarm(self) -> None:
        """Remove the deadline; that of the total time stays."""
        self.deadline = self.total_deadline
        self.expiry = "attempt.total_timeout"
        self.check_by(self.deadline)

    def set_lasting(self, lasting: Lasting) -> None:
        """Make `lasting` the long-lived response of the exchange."""
        self.lasting = lasting
        if self.ending is not None:
            lasting.end_by(self.ending)

    def end_by(self, ending: Ending) -> None:
        """End a long-lived response by `ending`, now or once the exchange has one."""
        self.ending = ending
        if self.lasting is not None:
            self.lasting.end_by(ending)

    def check_by(self, when: float) -> None:
        """Have the exchange checked at `when` (`time.monotonic`) or before: an early check does nothing."""
        if when < self.client.due:
            self.client.due = when

    def check(self, now: float) -> None:
        """Fail if a deadline has passed; otherwise set the time of the next check."""
        if self.deadline <= now:
            if self.expiry == "attempt.stalled" and self.upstream is not None and self.upstream.progressed():
                self.arm(self.timeouts.idle, "attempt.stalled")  # slow, but it reads
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
