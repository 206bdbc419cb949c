"""What happened to every request, and whether it may happen."""

from __future__ import annotations

from collections import Counter
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from bench.soak.asks import Ask
    from bench.soak.wire import Reply

GRACE_SECONDS = 0.5  # behind an outage: what the gateway had begun with the service that died
KEPT_VIOLATIONS = 50


class Ledger:
    """Counts outcomes, and keeps what must not be.

    Attributes:
        outcomes: how often each outcome was seen.
        violations: the first of what must not be, as sentences.
        broken: how many there were in all.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.violations: list[str] = []
        self.broken = 0
        self._outages: list[list[float]] = []

    @property
    def asked(self) -> int:
        """Requests whose outcome is known."""
        return self.outcomes.total()

    def service_dies(self) -> None:
        """Note that the shaky service is about to be killed."""
        self._outages.append([monotonic(), inf])

    def service_lives(self) -> None:
        """Note that it answers again."""
        self._outages[-1][1] = monotonic() + GRACE_SECONDS

    def in_outage(self, since: float, until: float) -> bool:
        """Say whether the shaky service was dead at some time between two moments."""
        return any(begin <= until and since <= end for begin, end in self._outages)

    def violation(self, sentence: str) -> None:
        """Keep something that must not be."""
        self.broken += 1
        if len(self.violations) < KEPT_VIOLATIONS:
            self.violations.append(sentence)

    def count(self, outcome: str) -> None:
        """Count an outcome that may be."""
        self.outcomes[outcome] += 1

    def settle(self, ask: Ask, reply: Reply | None, since: float) -> None:
        """Judge what came back for a request that was sent whole at `since`, on a connection that we did not cut."""
        wrong = self._wrong(ask, reply)
        if wrong is None:
            self.count("answered")
        elif self._excused(ask, reply, since):
            self.count("5xx or cut in an outage")
        else:
            self.violation(f"{ask.service} {ask.method.decode()} {ask.token.decode()} {ask.options}: {wrong}")

    def _wrong(self, ask: Ask, reply: Reply | None) -> str | None:
        if reply is None:
            return "lost: the connection ended before its answer"
        if reply.status != ask.status:
            return f"status {reply.status} instead of {ask.status}: {reply.body[:200]!r}"
        if ask.status != 200:
            return None if is_problem(reply, ask.method) else f"{reply.status} is no problem+json: {reply.body[:200]!r}"
        if reply.fields.get("x-token") != ask.token.decode():
            return f"mixed: the answer of {reply.fields.get('x-token')}"
        if not reply.complete:
            return f"cut: {len(reply.body)} of {len(ask.answer)} bytes"
        if reply.body != ask.answer:
            return f"mixed: its body begins with {reply.body[:60]!r} and has {len(reply.body)} bytes"
        return None

    def _excused(self, ask: Ask, reply: Reply | None, since: float) -> bool:
        """Say whether the service was down meanwhile: then there is a 5xx, or an answer that breaks off."""
        if ask.service != "shaky" or not self.in_outage(since, monotonic()):
            return False
        if reply is None:
            return False
        if reply.status == 200:
            return not reply.complete and ask.answer.startswith(reply.body)
        return reply.status in (502, 503, 504) and is_problem(reply, ask.method)


def is_problem(reply: Reply, method: bytes) -> bool:
    """Say whether an answer is a whole problem document (RFC 9457) with its own status."""
    if not reply.complete or reply.fields.get("content-type") != "application/problem+json":
        return False
    if method == b"HEAD":
        return True
    try:
        return bool(orjson.loads(reply.body)["status"] == reply.status)
    except (ValueError, KeyError, TypeError):
        return False
