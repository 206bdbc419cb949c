"""A service: a named group of endpoints, the choice of one, and the recording of outcomes."""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING, Final

from propylon.engine.errors import GatewayError
from propylon.services import events
from propylon.services.affinity import Affinity
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
"""Part of its share that an endpoint gets at the beginning of slow start, as in Envoy (`min_weight_percent`)."""

MANY: Final = 64
"""With more endpoints than this, changes of health are applied in batches, every `EVERY_SECONDS`.

Computing the candidates takes 0.1 s for 10,000 endpoints in a ring, and a network failure changes them all."""

EVERY_SECONDS: Final = 1.0


class Service:
    """A named group of endpoints.

    Attributes:
        name: as configured.
        configured: its endpoints in the configuration.
        found: its current endpoints, by the configuration or the provider.
        endpoints: the same with connections and health; empty before `start`.
        provider: the provider of its endpoints, if not configured.
        budget: its retry budget.
        concurrency: its concurrency limit, if any.
        hedge_delay: the delay of hedged requests, if enabled.
        breaker: the circuit breaker of the service as a whole, if any.
        retry: when its requests are retried.
        breaks: whether it, or each of its endpoints, has a circuit breaker.
        only: the single candidate, if choosing needs no further checks.
        affinity: how the balancer keeps clients on their endpoints, if it does.
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
        self.affinity = Affinity.of(balancer)
        self.random = chance.random
        self._clock = chance.clock
        self._failure_statuses = use.statuses if use is not None else frozenset()
        self._passive = settings.passive
        self._has_rate = settings.passive is not None and settings.passive.ejection.failure_rate is not None
        self._directory: Directory | None = None
        self._candidates: tuple[Endpoint, ...] = ()
        self.only: Endpoint | None = None
        self._unrestricted = False  # only the algorithm and slow start determine the choice
        self._rules = Rules(settings.passive.share if settings.passive else 0.0, settings.panic, settings.zone)
        self._stale = False
        self._refreshed_at = -inf
        self._open: set[Endpoint] = set()
        self._probes: list[Endpoint] = []
        self._warming: dict[Endpoint, float] = {}
        self._slow_start = 0.0 if getattr(balancer, "decides_alone", False) else settings.slow_start

    def __repr__(self) -> str:
        return f"<Service {self.name} {len(self._candidates)} of {len(self.endpoints)} endpoints>"

    # endpoints

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._directory is not None

    @property
    def current(self) -> Service | None:
        """The service of its name in the current configuration, if any."""
        return self if self._directory is None else self._directory.services.get(self.name)

    def start(self, directory: Directory, previous: Service | None = None) -> None:
        """Start serving.

        Args:
            directory: has the endpoints and their state.
            previous: the service of this name in the previous snapshot, if any: its state is reused where settings are
                unchanged.
        """
        self._directory = directory
        if previous is not None:
            if previous.settings.balance == self.settings.balance:
                self.balancer = previous.balancer
                self.affinity = previous.affinity
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
                self._warming = previous._warming
        self.apply(self.found, cold=False)

    def stop(self) -> None:
        """Stop following the health of endpoints; exchanges in flight may still use it."""
        for endpoint in self.endpoints:
            endpoint.vitals.users.discard(self)

    def apply(self, found: Sequence[EndpointSpec], *, cold: bool = True) -> None:
        """Replace the endpoints. Those that remain keep their connections and state.

        Args:
            cold: new ones begin with slow start, if configured.
        """
        assert self._directory is not None
        previous = set(self.endpoints)
        urls = {each.url for each in previous}  # one with another weight is recreated, but not new
        created = tuple(self._directory.endpoint(self, each) for each in found)
        self.found, self.endpoints = tuple(found), created
        for removed in previous.difference(created):
            removed.vitals.users.discard(self)
            self._directory.drop(self, removed)
        now = self._clock()
        warm = {each.url: since for each, since in self._warming.items()}
        self._warming = {each: warm[each.url] for each in created if each.url in warm}
        for endpoint in created:
            endpoint.vitals.users.add(self)
            if cold and endpoint.url not in urls:
                self._warm_up(endpoint, now)
        self._open = {each for each in created if each.breaker is not None and each.breaker.state != "closed"}
        if self._open or self._warming:
            self._directory.watch(self)
        self.refresh()

    def health_changed(self) -> None:
        """Handle a change of an endpoint's health."""
        if len(self.endpoints) <= MANY or self._directory is None:
            self.refresh()
        else:
            self._stale = True
            self._directory.watch(self)

    def refresh(self) -> None:
        """Compute the candidates after a change of the endpoints or of their health."""
        self._stale = False
        self._refreshed_at = self._clock()
        self._candidates = found = candidates(self.endpoints, self._rules)
        self._probes = [each for each in self._probes if each in self._open and self._may_probe(each)]
        if found:
            self.balancer.update(found)
        if self.concurrency is not None:
            self.concurrency.endpoints_changed(len(found))
        bound = self.breaker is not None or self.settings.concurrency.per_endpoint is not None
        self._unrestricted = not bound and bool(found) and not self._probes
        self.only = found[0] if self._unrestricted and len(found) == 1 else None

    def endpoint(self, url: str) -> Endpoint:
        """Return an endpoint by its configured URL. Raises `ValueError` if there is none."""
        for endpoint in self.endpoints:
            if endpoint.url == url:
                return endpoint
        raise ValueError(f"service {self.name} has no endpoint {url!r}")

    # choosing

    def choose(self, x: Exchange, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """Choose an endpoint: one of `avoid` only if there is no other.

        Raises:
            GatewayError: choose.no_endpoint, choose.broken, choose.queue_full, or the error of the algorithm.
        """
        if self._unrestricted and not self._warming:
            return self.balancer.pick(x, avoid)
        return self._choose(x, avoid)

    def _choose(self, x: Exchange, avoid: Collection[Endpoint]) -> Endpoint:
        now = self._clock()
        if self.breaker is not None and not self.breaker.allows(now):
            raise self._circuit_open(self.breaker.retry_at, now)
        if self._probes and (probe := self._next_probe(x, now, avoid)) is not None:
            return probe
        if not self._candidates:
            due = [each.breaker.retry_at for each in self._open if each.breaker is not None and each.weight > 0]
            if due:
                raise self._circuit_open(min(due), now)
            raise GatewayError("choose.no_endpoint", log=f"service {self.name} has no endpoint that could serve")
        endpoint = self.balancer.pick(x, avoid)
        if self._warming and self._is_cold(endpoint, now) and self.has_other((*avoid, endpoint)):
            endpoint = self.balancer.pick(x, (*avoid, endpoint))
        limit = self.settings.concurrency.per_endpoint
        if limit is not None and endpoint.vitals.inflight >= limit:
            return self._pick_with_room(x, avoid, limit)
        return endpoint

    def _pick_with_room(self, x: Exchange, avoid: Collection[Endpoint], limit: int) -> Endpoint:
        """Pick an endpoint with less than `limit` in flight: one of `avoid` rather than a full one."""
        full = {each for each in self._candidates if each.vitals.inflight >= limit}  # evaluated once per endpoint
        if len(full) == len(self._candidates):
            log_text = f"every endpoint of {self.name} has {limit} under way"
            raise GatewayError("choose.queue_full", log=log_text, headers=SOON)
        both = full.union(avoid)
        return self.balancer.pick(x, both if self.has_other(both) else full)

    def has_other(self, avoid: Collection[Endpoint]) -> bool:
        """Return whether an endpoint not in `avoid` may be chosen now."""
        if self.breaker is not None and not self.breaker.allows(self._clock()):
            return False
        limit = self.settings.concurrency.per_endpoint
        if limit is None:
            return any(each not in avoid for each in self._candidates)
        return any(each not in avoid and each.vitals.inflight < limit for each in self._candidates)

    def _circuit_open(self, retry_at: float, now: float) -> GatewayError:
        seconds = max(1, ceil(retry_at - now))
        return GatewayError("choose.broken", log=f"service {self.name}", headers={"retry-after": str(seconds)})

    def _next_probe(self, x: Exchange, now: float, avoid: Collection[Endpoint]) -> Endpoint | None:
        if self.affinity is not None and self.affinity.holds(x):
            return None
        for endpoint in self._probes:
            if endpoint not in avoid and endpoint.breaker is not None and endpoint.breaker.allows(now):
                self._probes.remove(endpoint)
                return endpoint
        return None

    def _may_probe(self, endpoint: Endpoint) -> bool:
        """Return whether it may be probed: not if it drains, or fails a health check while others serve."""
        return endpoint.weight > 0 and not (endpoint.vitals.complaints and self._candidates)

    def _is_cold(self, endpoint: Endpoint, now: float) -> bool:
        since = self._warming.get(endpoint)
        if since is None:
            return False
        return self.random() > max(COLD_SHARE, (now - since) / self._slow_start)

    def _warm_up(self, endpoint: Endpoint, now: float) -> None:
        if self._slow_start and self._directory is not None:
            self._warming[endpoint] = now
            self._directory.watch(self)

    # outcomes

    def begin(self, attempt: Try, now: float) -> None:
        """Record the start of an attempt, if there are circuit breakers: it may be a probe."""
        endpoint = attempt.endpoint
        if endpoint.breaker is not None and endpoint.breaker.state != "closed":
            attempt.probe = endpoint.breaker.begin(now)
        if self.breaker is not None and self.breaker.state != "closed":
            attempt.service_probe = self.breaker.begin(now)

    def answered(self, attempt: Try, status: int, now: float) -> None:
        """Record a response's head."""
        endpoint = attempt.endpoint
        endpoint.vitals.record(now - attempt.began, now, status >= 500)
        if self.hedge_delay is not None and status < 500:
            self.hedge_delay.add(now - attempt.began)
        passive, ejection, breaker = self._passive, endpoint.vitals.ejection, endpoint.breaker
        if ejection.row or (breaker is not None and breaker.row):
            attempt.rows = ejection.row, breaker.row if breaker is not None else 0
        if passive is not None:
            failed = status in passive.statuses
            if (failed or self._has_rate or ejection.row) and ejection.record(
                failed, now, passive.ejection, f"status {status}" if failed else ""
            ):
                self._ejected(endpoint, now)
        if self.breaks:
            failed = status in self._failure_statuses
            self._record_in_breakers(attempt, failed, now, f"status {status}" if failed else "")

    def outrun(self, attempt: Try, now: float) -> None:
        """Record the latency so far of a hedged attempt that lost the race."""
        attempt.endpoint.vitals.record(now - attempt.began, now)

    def failed(self, attempt: Try, code: str, now: float) -> None:
        """Record a failure by its code: no response, or an incomplete one.

        An incomplete response does not end a series of failures: the counts reset by its head are restored.
        """
        endpoint = attempt.endpoint
        passive, breaker = self._passive, endpoint.breaker
        if attempt.rows is not None:
            ejection = endpoint.vitals.ejection
            ejection.row = max(ejection.row, attempt.rows[0])
            if breaker is not None and breaker.state == "closed":
                breaker.row = max(breaker.row, attempt.rows[1])
        if passive is not None and endpoint.vitals.ejection.record(True, now, passive.ejection, code):
            self._ejected(endpoint, now)
        if self.breaks:
            self._record_in_breakers(attempt, True, now, code)

    def inconclusive(self, attempt: Try, now: float) -> None:
        """Record the end of a probe without a conclusive outcome."""
        self._record_in_breakers(attempt, None, now)

    def _record_in_breakers(self, attempt: Try, failed: bool | None, now: float, failure: str = "") -> None:
        """Record an outcome in the circuit breakers; the probe flags are reset."""
        endpoint, seconds = attempt.endpoint, now - attempt.since
        probe, attempt.probe = attempt.probe, False
        if endpoint.breaker is not None and endpoint.breaker.end(probe, failed, seconds, now, failure):
            self._breaker_switched(endpoint, endpoint.breaker, now)
        probe, attempt.service_probe = attempt.service_probe, False
        if self.breaker is not None and self.breaker.end(probe, failed, seconds, now, failure):
            events.circuit(self.name, None, self.breaker, now)

    def _breaker_switched(self, endpoint: Endpoint, breaker: Breaker, now: float) -> None:
        events.circuit(self.name, endpoint.url, breaker, now)
        # The list or configuration may have changed meanwhile: the breaker may belong to a new endpoint, or to none.
        current = self.current
        if current is not None:
            for each in [each for each in current.endpoints if each.breaker is breaker]:
                current.circuit_switched(each, breaker, now)

    def circuit_switched(self, endpoint: Endpoint, breaker: Breaker, now: float) -> None:
        """Handle the opening or closing of an endpoint's circuit."""
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
        events.ejected(endpoint.url, endpoint.vitals.ejection, now)
        if self._directory is not None:
            self._directory.eject(endpoint.vitals)

    def recovered(self, endpoint_url: str) -> None:
        """Handle the recovery of an endpoint: it begins with slow start, if configured."""
        now = self._clock()
        for endpoint in self.endpoints:
            if endpoint.vitals.url == endpoint_url:
                self._warm_up(endpoint, now)

    def sweep(self, now: float) -> bool:
        """Apply changes due by time; return whether further sweeps are needed."""
        if self._stale and now >= self._refreshed_at + EVERY_SECONDS:
            self.refresh()
        due = [each for each in self._open if each.breaker is not None and each.breaker.allows(now)]
        due = [each for each in due if self._may_probe(each)]
        self._warming = {each: since for each, since in self._warming.items() if now - since < self._slow_start}
        fresh = [each for each in due if each not in self._probes]
        if fresh:
            self._probes += fresh
            self._unrestricted = False
            self.only = None
        return bool(self._open or self._warming or self._stale)
