"""How every stream ended for its client and for its service, and whether it may.

An ending is a short text: the code and reason of a Close frame ("1011 upstream_error"), "cut" for a connection that
ended between two frames or events without a word, "cut inside" for one that ended in the middle of one, "whole" for a
body that came to its end, a status for an answer that is no stream ("503"). Where several are allowed, `*` in a pattern
stands for anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.chaos.journal import Entry
    from bench.soak.ledger import Ledger

CUT = "cut"
INSIDE = "cut inside"
WHOLE = "whole"
LOST = ("502", "503", "504", "1011 upstream_error", INSIDE)
"""What a client may see of a service that was killed: a status before the head, the right code between two frames."""


@dataclass(slots=True)
class Awaited:
    """What a service has to write down of a stream.

    Attributes:
        service: which one.
        allowed: patterns of its ending there.
        since: when the stream began (`time.monotonic`).
        ended: when it ended for the client.
        within: seconds after that in which the service has to know; `None` for any time.
        optional: it may never have come to the service.
    """

    service: str
    allowed: tuple[str, ...]
    since: float
    ended: float
    within: float | None = None
    optional: bool = False


def fits(how: str, allowed: Iterable[str]) -> bool:
    """Say whether an ending is among those allowed."""
    return any(fnmatchcase(how, pattern) for pattern in allowed)


class Endings:
    """Judges the clients' side at once, and the services' side when all has ended."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._awaited: dict[str, Awaited] = {}

    def client(self, token: str, how: str, *allowed: str, since: float, service: str = "steady") -> None:
        """Judge how a stream ended for its client."""
        kind = token.rstrip("0123456789")
        if fits(how, allowed):
            self._ledger.count(f"{kind}: {how}")
        elif service == "shaky" and how in LOST and self._ledger.in_outage(since, monotonic()):
            self._ledger.count(f"{kind}: {how}, in an outage")
        else:
            self._ledger.violation(f"{token} at {service} ended with {how!r} for its client instead of {allowed}")

    def service(
        self,
        token: str,
        *allowed: str,
        since: float,
        service: str = "steady",
        within: float | None = None,
        optional: bool = False,
    ) -> None:
        """Note, when a stream has ended for its client, how it must end for its service."""
        self._awaited[token] = Awaited(service, allowed, since, monotonic(), within, optional)

    def missing(self, entries: Iterable[Entry]) -> bool:
        """Say whether a service that lives has still to write something down."""
        written = {entry.token for entry in entries}
        return any(
            token not in written and not awaited.optional and awaited.service == "steady"
            for token, awaited in self._awaited.items()
        )

    def reconcile(self, entries: Iterable[Entry]) -> None:
        """Hold what the services wrote down against what they had to."""
        written: dict[str, list[Entry]] = {}
        for entry in entries:
            written.setdefault(entry.token, []).append(entry)
        for token in written.keys() - self._awaited.keys():
            self._ledger.violation(f"{token} reached a service, and no client had it")
        for token, awaited in self._awaited.items():
            self._judge(token, awaited, written.get(token, []))

    def _judge(self, token: str, awaited: Awaited, entries: list[Entry]) -> None:
        killed = awaited.service == "shaky" and self._ledger.in_outage(awaited.since, awaited.ended)
        if not entries:
            if not awaited.optional and not killed:
                self._ledger.violation(f"{token} at {awaited.service}: the service never learnt that it has ended")
            return
        for entry in entries:
            if not fits(entry.how, awaited.allowed) and not killed:
                self._ledger.violation(
                    f"{token} ended with {entry.how!r} for {awaited.service} instead of {awaited.allowed}"
                )
            elif awaited.within is not None and (late := entry.at - awaited.ended - awaited.within) > 0:
                self._ledger.violation(f"{token}: {awaited.service} learnt {late:.1f} s too late that it has ended")
