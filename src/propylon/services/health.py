"""Active health: schedules health checks of addresses, and applies their results.

Rules of the file:

- An address used by several services is checked once for each set of settings (`CheckedAddress`), for as long as any
  service uses it; its state outlives configurations for as long.
- Before the first result an address counts as healthy; from then on several consecutive results change its state.
- The worker's sweep starts due checks, at most `MAX_UNDER_WAY` at a time; there is no Task between two checks. Without
  a sweep nothing is checked: commands that only read a configuration open no connections.
- Each change is logged once, with its reason.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections import deque
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from propylon.engine.request_out import PRESERVE
from propylon.services import events
from propylon.services.health_check import CheckedAddress, Checker
from propylon.services.recent import Recent, named, remembered

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.address import EndpointAddress
    from propylon.outbound.pool import Opener
    from propylon.services.endpoint import Endpoint
    from propylon.services.settings import HealthCheck, ServiceSettings, Transport
    from propylon.services.vitals import Vitals

    User = tuple[str, str]

MAX_UNDER_WAY: Final = 50
FIRST_PER_SECOND: Final = 100
"""First checks are spread, or a thousand endpoints would always be checked at the same time."""
JITTER: Final = 0.1
"""Share of the interval by which each check is moved at random, so that gateways do not synchronize."""

log = logging.getLogger("propylon.health")


class HealthRecord:
    """The check state of one address.

    Attributes:
        users: the endpoints that use it, as service and URL.
        good, bad: consecutive successes and failures.
        reasons: of the last consecutive failures.
        ill: whether the address is unhealthy.
    """

    __slots__ = ("bad", "checker", "good", "ill", "key", "reasons", "task", "users", "vitals")

    def __init__(self, key: CheckedAddress, checker: Checker, vitals: Vitals) -> None:
        self.key = key
        self.checker = checker
        self.vitals = vitals
        self.users: set[User] = set()
        self.good = self.bad = 0
        self.ill = False
        self.reasons: Recent = ()
        self.task: asyncio.Task[str | None] | None = None

    @property
    def check(self) -> HealthCheck:
        """The settings."""
        return self.key.check

    def note(self, reason: str | None) -> bool:
        """Record a result, `None` or why it is bad; return whether `ill` has changed."""
        passed = reason is None
        self.good, self.bad = (self.good + 1, 0) if passed else (0, self.bad + 1)
        self.reasons = () if reason is None else remembered(self.reasons, reason)
        changed = self.good >= self.check.healthy if self.ill else self.bad >= self.check.unhealthy
        self.ill ^= changed
        return changed


class HealthChecks:
    """All active health checks of a worker."""

    def __init__(
        self,
        opener: Callable[[EndpointAddress, Transport], Opener],
        complain: Callable[[Vitals, object, str | None], None],
        clock: Callable[[], float],
        random: Callable[[], float] = randomness.random,
    ) -> None:
        """Create an empty list of checks.

        Args:
            opener: returns the function that connects to an address.
            complain: called with the reason why an address is unhealthy, or `None` when it has recovered.
            clock: monotonic seconds.
            random: returns a number from 0 to 1.
        """
        self._opener = opener
        self._complain = complain
        self._clock = clock
        self._random = random
        self._records: dict[CheckedAddress, HealthRecord] = {}
        self._users: dict[User, HealthRecord] = {}
        self._unchecked: set[HealthRecord] = set()
        self._schedule: list[tuple[float, int, HealthRecord]] = []
        self._count = 0
        self._queue: deque[HealthRecord] = deque()
        self._running: set[HealthRecord] = set()

    def __len__(self) -> int:
        """Return the number of checks: one for each address and set of settings."""
        return len(self._records)

    def follow(self, service: str, endpoint: Endpoint, settings: ServiceSettings) -> None:
        """Check an endpoint of a service with the given settings; no effect if they are unchanged."""
        user = (service, endpoint.url)
        known = self._users.get(user)
        key = None if settings.health is None else _key(endpoint, settings.health, settings)
        if known is not None:
            if known.key == key:
                return
            self.forget(*user)
        if key is not None:
            record = self._records.get(key) or self._begin(key, endpoint.vitals, settings.transport)
            record.users.add(user)
            self._users[user] = record

    def forget(self, service: str, url: str) -> None:
        """Remove an endpoint of a service. Checks without users end, and their complaints are withdrawn."""
        record = self._users.pop((service, url), None)
        if record is None:
            return
        record.users.discard((service, url))
        if not record.users:
            del self._records[record.key]
            self._unchecked.discard(record)
            self._stop(record)
            if record.ill:
                self._complain(record.vitals, record.key, None)

    def sweep(self, now: float) -> None:
        """Start the checks that are due."""
        while self._schedule and self._schedule[0][0] <= now:
            self._queue.append(heappop(self._schedule)[2])
        self._start()

    def close(self) -> None:
        """Stop all checks."""
        for record in self._records.values():
            record.users.clear()
            self._stop(record)
        self._records.clear()
        self._users.clear()
        self._unchecked.clear()
        self._schedule.clear()
        self._queue.clear()

    def _begin(self, key: CheckedAddress, vitals: Vitals, transport: Transport) -> HealthRecord:
        record = self._records[key] = HealthRecord(key, Checker(key, self._opener(key.address, transport)), vitals)
        self._unchecked.add(record)
        spread = min(key.check.interval, len(self._unchecked) / FIRST_PER_SECOND)
        self._schedule_at(record, self._clock() + self._random() * spread)
        return record

    def _schedule_at(self, record: HealthRecord, when: float) -> None:
        self._count += 1  # of two due at the same time the older one comes first
        heappush(self._schedule, (when, self._count, record))

    def _start(self) -> None:
        while self._queue and len(self._running) < MAX_UNDER_WAY:
            record = self._queue.popleft()
            if record.users:
                started = self._clock()
                self._running.add(record)
                record.task = asyncio.get_running_loop().create_task(record.checker.run(), name="propylon health")
                record.task.add_done_callback(partial(self._end, record, started))

    def _end(self, record: HealthRecord, started: float, task: asyncio.Task[str | None]) -> None:
        record.task = None
        self._running.discard(record)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a health check of %s failed by a defect of the gateway", record.key.url, exc_info=error)
        elif record.users and not task.cancelled():
            self._apply(record, task.result())
        if record.users:
            jitter = 1 + JITTER * (2 * self._random() - 1)
            self._schedule_at(record, started + record.check.interval * jitter)
        self._start()

    def _stop(self, record: HealthRecord) -> None:
        if record.task is not None:
            record.task.cancel()

    def _apply(self, record: HealthRecord, reason: str | None) -> None:
        self._unchecked.discard(record)
        if not record.note(reason):
            return
        vitals = record.vitals
        self._complain(vitals, record.key, reason)
        if reason is not None:
            often = f", {record.bad} times in a row" if record.bad > 1 else ""
            if len(set(record.reasons)) > 1:
                reason, often = f"{record.bad} failed checks in a row", named(record.reasons, record.bad)
            events.ill(vitals.url, f"{reason}{often}")
        else:
            events.well(vitals.url, record.checker.what, ill=bool(vitals.complaints))


def _key(endpoint: Endpoint, check: HealthCheck, settings: ServiceSettings) -> CheckedAddress:
    transport = settings.transport
    host = None if settings.host == PRESERVE else settings.host  # a check has no client's Host to preserve
    return CheckedAddress(endpoint.vitals.url, check, transport.tls, transport.server_name, host)
