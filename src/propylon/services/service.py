"""A service: a named group of endpoints, how one of them is chosen, and what is learned from how it did."""

from __future__ import annotations

import logging
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.services.breaker import Breaker
from propylon.services.budget import Budget
from propylon.services.candidates import Rules, candidates
from propylon.services.concurrency import SOON, ConcurrencyGate
from propylon.services.hedge import HedgeDelay

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from propylon.engine.exchange import Exchange
    from propylon.services.balancing import Balancer, Chance
    from propylon.services.directory import Directory
    from propylon.services.discovery import EndpointSpec, Provider
    from propylon.services.endpoint import Endpoint
    from propylon.services.settings import ServiceSettings
    from propylon.services.tried import Try

COLD_SHARE: Final = 0.1
"""What an endpoint gets of its share when slow start begins, as in Envoy (`min_weight_percent`)."""

MANY: Final = 64
"""With more endpoints than these, what changes their health is taken up together, every `EVERY_SECONDS`.

To find out who may be chosen takes 0.1 s for 10,000 of them in a ring, and a network that fails changes them all."""

EVERY_SECONDS: Final = 1.0

log = logging.getLogger("propylon.services")


class Service:
    """A named group of endpoints.

    Attributes:
        name: as configured.
        configured: its endpoints as the configuration names them.
        found: its endpoints as the configuration or the provider names them now.
        endpoints: the same with connections and health; empty before `start`.
        provider: what finds its endpoints, if they are not configured.
        budget: what it may spend on retries.
        concurrency: its limit of exchanges at a time, if it has one.
        hedge_delay: when a second endpoint is asked, if it ever is.
        breaker: the circuit of the service as a whole, if it has one.
        retry: when its requests are tried again.
        breaks: whether it, or each of its endpoints, has a circuit.
        only: the one endpoint there is to choose, if nothing else has a say in it.
        fields: what adds lines to the answer's header section for its balancing, if anything does.
    """

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        found: Sequence[EndpointSpec],
        balancer: Balancer,
        chance: Chance,
        provider: Provider | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.retry = settings.retry
        self.configured = self.found = tuple(found)
        self.endpoints: tuple[Endpoint, ...] = ()
        self.budget = Budget(*settings.budget)
        use = settings.breaker
        self.breaks = use is not None
        self.breaker = Breaker(use.settings, chance.random) if use is not None and use.service else None
        limits = settings.concurrency
        limited = limits.max is not None or limits.per_endpoint is not None
        self.concurrency = ConcurrencyGate(name, limits, chance.clock) if limited else None
        self.hedge_delay = HedgeDelay(settings.hedging) if settings.hedging is not None else None
        self.provider = provider
        self.balancer = balancer
        self.fields = getattr(balancer, "fields", None)
        self.random = chance.random
        self._clock = chance.clock
        self._broken_by = use.statuses if use is not None else frozenset()
        self._passive = settings.passive
        self._rated = settings.passive is not None and settings.passive.ejection.failure_rate is not None
        self._directory: Directory | None = None
        self._candidates: tuple[Endpoint, ...] = ()
        self.only: Endpoint | None = None
        self._plain = False  # nothing but the algorithm and slow start has a say in who is chosen
        self._rules = Rules(settings.passive.share if settings.passive else 0.0, settings.panic, settings.zone)
        self._stale = False
        self._refreshed_at = -inf
        self._open: set[Endpoint] = set()
        self._probes: list[Endpoint] = []
        self._warm: dict[Endpoint, float] = {}
        self._slow_start = 0.0 if getattr(balancer, "decides_alone", False) else settings.slow_start

    def __repr__(self) -> str:
        return f"<Service {self.name} {len(self._candidates)} of {len(self.endpoints)} endpoints>"

    # its endpoints

    @property
    def started(self) -> bool:
        """Whether it serves, or has served."""
        return self._directory is not None

    @property
    def current(self) -> Service | None:
        """What has its name in the configuration of now; `None` if nothing has."""
        return self if self._directory is None else self._directory.services.get(self.name)

    def start(self, directory: Directory, previous: Service | None = None) -> None:
        """Begin to serve.

        Args:
            directory: keeps what is known about endpoints.
            previous: the service that had this name before, if any: what it has learned goes on where it still fits.
        """
        self._directory = directory
        if previous is not None:
            if previous.settings.balance == self.settings.balance:
                self.balancer = previous.balancer
                self.fields = previous.fields
            if previous.settings.budget == self.settings.budget:
                self.budget = previous.budget
            if previous.settings.breaker == self.settings.breaker:
                self.breaker = previous.breaker
            if previous.settings.concurrency == self.settings.concurrency:
                self.concurrency = previous.concurrency
            if previous.settings.hedging == self.settings.hedging:
                self.hedge_delay = previous.hedge_delay
            if self.provider is not None and not self.found:
                self.found = previous.found
            if previous._slow_start == self._slow_start:
                self._warm = previous._warm
        self.apply(self.found, cold=False)

    def stop(self) -> None:
        """Stop to follow the health of endpoints; exchanges under way may go on to use it."""
        for endpoint in self.endpoints:
            endpoint.vitals.users.discard(self)

    def apply(self, found: Sequence[EndpointSpec], *, cold: bool = True) -> None:
        """Take the endpoints as they are found now. Those that stay keep their connections and all that is known.

        Args:
            cold: new ones start slowly, if the service has a slow start.
        """
        assert self._directory is not None
        known = set(self.endpoints)
        urls = {each.url for each in known}  # one whose weight has changed is made anew, and is not new
        made = tuple(self._directory.endpoint(self, each) for each in found)
        self.found, self.endpoints = tuple(found), made
        for gone in known.difference(made):
            gone.vitals.users.discard(self)
            self._directory.drop(self, gone)
        now = self._clock()
        warm = {each.url: since for each, since in self._warm.items()}
        self._warm = {each: warm[each.url] for each in made if each.url in warm}
        for endpoint in made:
            endpoint.vitals.users.add(self)
            if cold and endpoint.url not in urls:
                self._warm_up(endpoint, now)
        self._open = {each for each in made if each.breaker is not None and each.breaker.state != "closed"}
        if self._open or self._warm:
            self._directory.watch(self)
        self.refresh()

    def health_changed(self) -> None:
        """Learn that the health of an endpoint has changed."""
        if len(self.endpoints) <= MANY or self._directory is None:
            self.refresh()
        else:
            self._stale = True
            self._directory.watch(self)

    def refresh(self) -> None:
        """Find out anew who may be chosen: the health of an endpoint has changed, or the list of them."""
        self._stale = False
        self._refreshed_at = self._clock()
        self._candidates = found = candidates(self.endpoints, self._rules)
        self._probes = [each for each in self._probes if each in self._open and self._may_probe(each)]
        if found:
            self.balancer.update(found)
        if self.concurrency is not None:
            self.concurrency.endpoints_changed(len(found))
        bound = self.breaker is not None or self.settings.concurrency.per_endpoint is not None
        self._plain = not bound and bool(found) and not self._probes
        self.only = found[0] if self._plain and len(found) == 1 else None

    def endpoint(self, url: str) -> Endpoint:
        """Find an endpoint by the URL it was configured with. Raises `ValueError` if there is none."""
        for endpoint in self.endpoints:
            if endpoint.url == url:
                return endpoint
        raise ValueError(f"service {self.name} has no endpoint {url!r}")

    # choosing

    def choose(self, x: Exchange, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """Choose an endpoint: one of `avoid` only if there is no other.

        Raises:
            GatewayError: choose.no_endpoint, choose.broken, choose.queue_full, or what an algorithm failed with.
        """
        if self._plain and not self._warm:
            return self.balancer.pick(x, avoid)
        return self._choose(x, avoid)

    def _choose(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        now = self._clock()
        if self.breaker is not None and not self.breaker.allows(now):
            raise self._broken(self.breaker.retry_at, now)
        if self._probes and (probe := self._next_probe(now, avoid)) is not None:
            return probe
        if not self._candidates:
            due = [each.breaker.retry_at for each in self._open if each.breaker is not None and each.weight > 0]
            if due:
                raise self._broken(min(due), now)
            raise GatewayError("choose.no_endpoint", log=f"service {self.name} has no endpoint that could serve")
        endpoint = self.balancer.pick(x, avoid)
        if self._warm and self._is_cold(endpoint, now) and self.has_other((*avoid, endpoint)):
            endpoint = self.balancer.pick(x, (*avoid, endpoint))
        limit = self.settings.concurrency.per_endpoint
        if limit is not None and endpoint.vitals.inflight >= limit:
            return self._pick_with_room(x, avoid, limit)
        return endpoint

    def _pick_with_room(self, x: Exchange, avoid: Collection[Endpoint], limit: int) -> Endpoint:
        """Pick an endpoint that has less than `limit` under way: rather one of `avoid` than one that is full."""
        full = {each for each in self._candidates if each.vitals.inflight >= limit}  # looked up once for each of them
        if len(full) == len(self._candidates):
            log_text = f"every endpoint of {self.name} has {limit} under way"
            raise GatewayError("choose.queue_full", log=log_text, headers=SOON)
        both = full.union(avoid)
        return self.balancer.pick(x, both if self.has_other(both) else full)

    def has_other(self, avoid: Collection[Endpoint]) -> bool:
        """Tell whether there is an endpoint beside those of `avoid` that may be asked now."""
        if self.breaker is not None and not self.breaker.allows(self._clock()):
            return False
        limit = self.settings.concurrency.per_endpoint
        if limit is None:
            return any(each not in avoid for each in self._candidates)
        return any(each not in avoid and each.vitals.inflight < limit for each in self._candidates)

    def _broken(self, retry_at: float, now: float) -> GatewayError:
        seconds = max(1, ceil(retry_at - now))
        return GatewayError("choose.broken", log=f"service {self.name}", headers={"retry-after": str(seconds)})

    def _next_probe(self, now: float, avoid: Collection[Endpoint]) -> Endpoint | None:
        for endpoint in self._probes:
            if endpoint not in avoid and endpoint.breaker is not None and endpoint.breaker.allows(now):
                self._probes.remove(endpoint)
                return endpoint
        return None

    def _may_probe(self, endpoint: Endpoint) -> bool:
        """Tell whether a request may be spent on it: not if it drains, or is known to be ill while others serve."""
        return endpoint.weight > 0 and not (endpoint.vitals.complaints and self._candidates)

    def _is_cold(self, endpoint: Endpoint, now: float) -> bool:
        since = self._warm.get(endpoint)
        if since is None:
            return False
        return self.random() > max(COLD_SHARE, (now - since) / self._slow_start)

    def _warm_up(self, endpoint: Endpoint, now: float) -> None:
        if self._slow_start and self._directory is not None:
            self._warm[endpoint] = now
            self._directory.watch(self)

    # learning

    def begin(self, attempt: Try, now: float) -> None:
        """Learn that an attempt begins, if there are circuits at all: it may be the probe of one."""
        endpoint = attempt.endpoint
        if endpoint.breaker is not None and endpoint.breaker.state != "closed":
            attempt.probe = endpoint.breaker.begin(now)
        if self.breaker is not None and self.breaker.state != "closed":
            attempt.service_probe = self.breaker.begin(now)

    def answered(self, attempt: Try, status: int, now: float) -> None:
        """Learn that the head of an answer has come."""
        endpoint = attempt.endpoint
        endpoint.vitals.record(now - attempt.began, now, status >= 500)
        if self.hedge_delay is not None and status < 500:
            self.hedge_delay.add(now - attempt.began)
        passive, ejection, breaker = self._passive, endpoint.vitals.ejection, endpoint.breaker
        if ejection.row or (breaker is not None and breaker.row):
            attempt.rows = ejection.row, breaker.row if breaker is not None else 0
        if passive is not None:
            failed = status in passive.statuses
            if (failed or self._rated or ejection.row) and ejection.record(failed, now, passive.ejection):
                self._ejected(endpoint, now)
        if self.breaks:
            self._trip(attempt, status in self._broken_by, now)

    def outrun(self, attempt: Try, now: float) -> None:
        """Learn that another endpoint has answered sooner; that this one took so long is worth knowing."""
        attempt.endpoint.vitals.record(now - attempt.began, now)

    def failed(self, attempt: Try, now: float) -> None:
        """Learn that an endpoint has failed: that there is no answer, or only half of one.

        What breaks off has not put an end to a row of failures: its head only looked like it.
        """
        endpoint = attempt.endpoint
        passive, breaker = self._passive, endpoint.breaker
        if attempt.rows is not None:
            ejection = endpoint.vitals.ejection
            ejection.row = max(ejection.row, attempt.rows[0])
            if breaker is not None and breaker.state == "closed":
                breaker.row = max(breaker.row, attempt.rows[1])
        if passive is not None and endpoint.vitals.ejection.record(True, now, passive.ejection):
            self._ejected(endpoint, now)
        if self.breaks:
            self._trip(attempt, True, now)

    def inconclusive(self, attempt: Try, now: float) -> None:
        """Learn that a probe has ended, and nobody can say whether the endpoint is well again."""
        self._trip(attempt, None, now)

    def _trip(self, attempt: Try, failed: bool | None, now: float) -> None:
        """Tell the breakers; a probe is one only once."""
        endpoint, seconds = attempt.endpoint, now - attempt.since
        probe, attempt.probe = attempt.probe, False
        if endpoint.breaker is not None and endpoint.breaker.end(probe, failed, seconds, now):
            self._switched(endpoint, endpoint.breaker, now)
        probe, attempt.service_probe = attempt.service_probe, False
        if self.breaker is not None and self.breaker.end(probe, failed, seconds, now):
            _log_circuit(f"service {self.name}", self.breaker, now)

    def _switched(self, endpoint: Endpoint, breaker: Breaker, now: float) -> None:
        _log_circuit(f"endpoint {endpoint.url} of {self.name}", breaker, now)
        # Another list or configuration may have come meanwhile: it has the circuit in an endpoint of its own, or not.
        current = self.current
        if current is not None:
            for each in [each for each in current.endpoints if each.breaker is breaker]:
                current.circuit_switched(each, breaker, now)

    def circuit_switched(self, endpoint: Endpoint, breaker: Breaker, now: float) -> None:
        """Learn that the circuit of an endpoint has opened or closed."""
        if breaker.state == "closed":
            self._open.discard(endpoint)
            endpoint.vitals.forget()
            self._warm_up(endpoint, now)
        else:
            self._open.add(endpoint)
            if self._directory is not None:
                self._directory.watch(self)
        self.health_changed()

    def _ejected(self, endpoint: Endpoint, now: float) -> None:
        ejection = endpoint.vitals.ejection
        log.warning(
            "endpoint %s is put aside for %.0f s: %s", endpoint.url, ejection.until - now, ejection.reason
        )  # fmt: skip
        if self._directory is not None:
            self._directory.eject(endpoint.vitals)

    def recovered(self, endpoint_url: str) -> None:
        """Learn that an endpoint is well again: it starts slowly, if the service has a slow start."""
        now = self._clock()
        for endpoint in self.endpoints:
            if endpoint.vitals.url == endpoint_url:
                self._warm_up(endpoint, now)

    def sweep(self, now: float) -> bool:
        """Look at what time alone changes; say whether there is anything left to look at."""
        if self._stale and now >= self._refreshed_at + EVERY_SECONDS:
            self.refresh()
        due = [each for each in self._open if each.breaker is not None and each.breaker.allows(now)]
        due = [each for each in due if self._may_probe(each)]
        self._warm = {each: since for each, since in self._warm.items() if now - since < self._slow_start}
        fresh = [each for each in due if each not in self._probes]
        if fresh:
            self._probes += fresh
            self._plain = False
            self.only = None
        return bool(self._open or self._warm or self._stale)


def _log_circuit(what: str, breaker: Breaker, now: float) -> None:
    if breaker.state == "open":
        log.warning("the circuit of %s is open for %.0f s: %s", what, breaker.retry_at - now, breaker.reason)
    elif breaker.state == "closed":
        log.info("the circuit of %s is closed: a probe succeeded", what)
