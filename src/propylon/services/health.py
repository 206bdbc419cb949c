"""Active health: which addresses are checked, when, and what follows from it.

Rules of the file:

- An address that several services use is checked once for each set of settings (`CheckedAddress`). It is checked as
  long as anybody uses it, and what is known about it outlives configurations for as long.
- Before the first result an address counts as well, and from then on it takes some results in a row to change that.
- The worker's sweep starts what is due, at most `MAX_UNDER_WAY` at a time; there is no Task for an address that rests.
  Without a sweep nothing is checked: a configuration that is only looked at opens no connection.
- The log has every change once, with its reason.
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
from propylon.services.health_check import CheckedAddress, Checker

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
"""First checks are spread, or a thousand endpoints would all be asked in the same moment, and ever after."""
JITTER: Final = 0.1
"""Share of the interval by which each check comes earlier or later, so that gateways do not ask in step."""

log = logging.getLogger("propylon.health")


class HealthRecord:
    """An address that is checked.

    Attributes:
        users: who uses it: service and URL.
        good, bad: results of a kind in a row.
        ill: what follows from them.
    """

    __slots__ = ("bad", "checker", "good", "ill", "key", "task", "users", "vitals")

    def __init__(self, key: CheckedAddress, checker: Checker, vitals: Vitals) -> None:
        self.key = key
        self.checker = checker
        self.vitals = vitals
        self.users: set[User] = set()
        self.good = self.bad = 0
        self.ill = False
        self.task: asyncio.Task[str | None] | None = None

    @property
    def check(self) -> HealthCheck:
        """The settings."""
        return self.key.check

    def note(self, well: bool) -> bool:
        """Take a result; tell whether `ill` has changed."""
        self.good, self.bad = (self.good + 1, 0) if well else (0, self.bad + 1)
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
        """Make the list, which is empty.

        Args:
            opener: returns what makes connections to an address.
            complain: takes a reason why an address is ill, or `None` when it is well again.
            clock: monotonic seconds.
            random: returns a number from 0 to 1.
        """
        self._opener = opener
        self._complain = complain
        self._clock = clock
        self._random = random
        self._watched: dict[CheckedAddress, HealthRecord] = {}
        self._users: dict[User, HealthRecord] = {}
        self._fresh: set[HealthRecord] = set()
        self._due: list[tuple[float, int, HealthRecord]] = []
        self._count = 0
        self._line: deque[HealthRecord] = deque()
        self._under_way: set[HealthRecord] = set()

    def __len__(self) -> int:
        """Return how many addresses are checked, each as often as there are different settings for it."""
        return len(self._watched)

    def follow(self, service: str, endpoint: Endpoint, settings: ServiceSettings) -> None:
        """Check an endpoint of a service as its settings say now; nothing happens if that is done already."""
        user = (service, endpoint.url)
        known = self._users.get(user)
        key = None if settings.health is None else _key(endpoint, settings.health, settings)
        if known is not None:
            if known.key == key:
                return
            self.forget(*user)
        if key is not None:
            watched = self._watched.get(key) or self._begin(key, endpoint.vitals, settings.transport)
            watched.users.add(user)
            self._users[user] = watched

    def forget(self, service: str, url: str) -> None:
        """Learn that an endpoint of a service is gone. Who is used by nobody is checked no more, and complained of."""
        watched = self._users.pop((service, url), None)
        if watched is None:
            return
        watched.users.discard((service, url))
        if not watched.users:
            del self._watched[watched.key]
            self._fresh.discard(watched)
            self._stop(watched)
            if watched.ill:
                self._complain(watched.vitals, watched.key, None)

    def sweep(self, now: float) -> None:
        """Start what is due."""
        while self._due and self._due[0][0] <= now:
            self._line.append(heappop(self._due)[2])
        self._start()

    def close(self) -> None:
        """Stop everything that is under way."""
        for watched in self._watched.values():
            watched.users.clear()
            self._stop(watched)
        self._watched.clear()
        self._users.clear()
        self._fresh.clear()
        self._due.clear()
        self._line.clear()

    def _begin(self, key: CheckedAddress, vitals: Vitals, transport: Transport) -> HealthRecord:
        watched = self._watched[key] = HealthRecord(key, Checker(key, self._opener(key.address, transport)), vitals)
        self._fresh.add(watched)
        spread = min(key.check.interval, len(self._fresh) / FIRST_PER_SECOND)
        self._plan(watched, self._clock() + self._random() * spread)
        return watched

    def _plan(self, watched: HealthRecord, when: float) -> None:
        self._count += 1  # of two for the same moment the older one comes first
        heappush(self._due, (when, self._count, watched))

    def _start(self) -> None:
        while self._line and len(self._under_way) < MAX_UNDER_WAY:
            watched = self._line.popleft()
            if watched.users:
                began = self._clock()
                self._under_way.add(watched)
                watched.task = asyncio.get_running_loop().create_task(watched.checker.run(), name="propylon health")
                watched.task.add_done_callback(partial(self._end, watched, began))

    def _end(self, watched: HealthRecord, began: float, task: asyncio.Task[str | None]) -> None:
        watched.task = None
        self._under_way.discard(watched)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a health check of %s failed by a defect of the gateway", watched.key.url, exc_info=error)
        elif watched.users and not task.cancelled():
            self._take(watched, task.result())
        if watched.users:
            jitter = 1 + JITTER * (2 * self._random() - 1)
            self._plan(watched, began + watched.check.interval * jitter)
        self._start()

    def _stop(self, watched: HealthRecord) -> None:
        if watched.task is not None:
            watched.task.cancel()

    def _take(self, watched: HealthRecord, reason: str | None) -> None:
        self._fresh.discard(watched)
        if not watched.note(reason is None):
            return
        vitals = watched.vitals
        self._complain(vitals, watched.key, reason)
        if reason is not None:
            often = f", {watched.bad} times in a row" if watched.bad > 1 else ""
            log.warning("endpoint %s is ill: %s%s", vitals.url, reason, often)
        elif vitals.complaints:
            log.info("endpoint %s: %s works again, and another check still fails", vitals.url, watched.checker.what)
        else:
            log.info("endpoint %s is well again", vitals.url)


def _key(endpoint: Endpoint, check: HealthCheck, settings: ServiceSettings) -> CheckedAddress:
    transport = settings.transport
    host = None if settings.host == PRESERVE else settings.host  # no client has asked for a host
    return CheckedAddress(endpoint.vitals.url, check, transport.tls_digest, transport.server_name, host)
