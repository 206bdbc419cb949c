"""What outlives a snapshot: connections, and what is known about endpoints and services.

There is one directory for each worker. A new snapshot enters it and takes over what still fits; what nobody uses any
more is given up as soon as the exchanges under way are done with it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from propylon.address import EndpointAddress
from propylon.outbound.connect import connect
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.pool import Pool
from propylon.services.breaker import Breaker
from propylon.services.endpoint import Endpoint
from propylon.services.health import HealthChecks
from propylon.services.providers import Providers
from propylon.services.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from propylon.outbound.pool import Opener
    from propylon.outbound.resolve import Resolver
    from propylon.services.discovery import EndpointSpec
    from propylon.services.service import Service
    from propylon.services.settings import Transport

log = logging.getLogger("propylon.services")


class Directory:
    """The services of a worker, and their endpoints.

    Attributes:
        services: those of the current snapshot, by name.
        resolver: finds the addresses of endpoints.
        providers: find the endpoints of services that say so.
        checks: the active health checks; they rest until somebody sweeps them.
    """

    def __init__(self, resolver: Resolver, clock: Callable[[], float]) -> None:
        self.services: dict[str, Service] = {}
        self.resolver = resolver
        self.providers = Providers()
        self._clock = clock
        self._endpoints: dict[tuple[str, str], tuple[Transport, Endpoint]] = {}
        self._vitals: dict[str, Vitals] = {}
        self._leaving: set[Vitals] = set()
        self._ejected: set[Vitals] = set()
        self._restless: set[Service] = set()
        self.checks = HealthChecks(self._opener, self.complain, clock)

    def enter(self, services: Mapping[str, Service]) -> None:
        """Let the services of a new snapshot take the place of those of the old one."""
        old, self.services = self.services, dict(services)
        started = [service for name, service in services.items() if old.get(name) is not service]
        for service in started:
            service.start(self, old.get(service.name))
        self.providers.enter(services.values())
        for service in set(old.values()).difference(services.values()):
            service.stop()
            self._restless.discard(service)
            self._leaving.update(endpoint.vitals for endpoint in service.endpoints)
        current = {(service.name, endpoint.url) for service in services.values() for endpoint in service.endpoints}
        for key in self._endpoints.keys() - current:
            self._endpoints.pop(key)[1].pool.retire()
            self.checks.forget(*key)

    def endpoint(self, service: Service, found: EndpointSpec) -> Endpoint:
        """Return the endpoint of a service, and check its health: the one there is, if nothing of it has changed.

        Raises `AddressError` for a URL that is no endpoint's.
        """
        endpoint = self._endpoint(service, found)
        self.checks.follow(service.name, endpoint, service.settings)
        return endpoint

    def _endpoint(self, service: Service, found: EndpointSpec) -> Endpoint:
        settings = service.settings
        key = (service.name, found.url)
        kept = self._endpoints.get(key)
        use = settings.breaker
        pool = breaker = None
        if use is not None and use.endpoints:
            breaker = kept[1].breaker if kept is not None else None
            if breaker is None or breaker.settings != use.settings:
                breaker = Breaker(use.settings, service.random)
        if kept is not None:
            transport, endpoint = kept
            if transport != settings.transport:
                endpoint.pool.retire()
            elif breaker is endpoint.breaker and endpoint.is_as(found, settings.host):
                return endpoint
            else:
                pool = endpoint.pool
        address = EndpointAddress.parse(found.url)
        made = Endpoint(
            found.url,
            address,
            pool or self._pool(address, settings.transport),
            self._vitals_of(str(address)),
            breaker,
            host=settings.host,
            weight=found.weight,
            priority=found.priority,
            zone=found.zone,
        )
        self._endpoints[key] = (settings.transport, made)
        return made

    def drop(self, service: Service, endpoint: Endpoint) -> None:
        """Give up an endpoint that is gone; exchanges under way finish."""
        kept = self._endpoints.get((service.name, endpoint.url))
        if kept is not None and kept[1] is endpoint:
            del self._endpoints[service.name, endpoint.url]
            endpoint.pool.retire()
            self.checks.forget(service.name, endpoint.url)
            self._leaving.add(endpoint.vitals)

    def watch(self, service: Service) -> None:
        """Look at a service at every sweep: something of it changes by time."""
        self._restless.add(service)

    def eject(self, vitals: Vitals) -> None:
        """Put an address aside until its time is over."""
        self._ejected.add(vitals)
        for service in tuple(vitals.users):
            service.health_changed()

    def complain(self, vitals: Vitals, check: object, reason: str | None) -> None:
        """Take what a health check found: a reason to put the address aside, or `None`."""
        if reason is not None:
            vitals.complaints[check] = reason
        elif vitals.complaints.pop(check, None) is not None and not vitals.complaints:
            self._recovered(vitals)
        for service in tuple(vitals.users):
            service.health_changed()

    def sweep(self, now: float) -> None:
        """Look at what time alone changes; ten times a second."""
        if self._ejected:
            for vitals in [each for each in self._ejected if each.ejection.recover(now)]:
                self._ejected.discard(vitals)
                log.info("endpoint %s is back", vitals.url)
                self._recovered(vitals)
                for service in tuple(vitals.users):
                    service.health_changed()
        if self._restless:
            self._restless = {service for service in self._restless if service.sweep(now)}

    def sweep_pools(self, now: float) -> None:
        """Close connections that have rested for too long, and forget addresses that are gone; once a second."""
        for vitals in [each for each in self._leaving if each.users or not each.inflight]:
            self._leaving.discard(vitals)
            if not vitals.users:
                self._ejected.discard(vitals)
                del self._vitals[vitals.url]
        for _, endpoint in self._endpoints.values():
            endpoint.pool.sweep(now)

    def close(self) -> None:
        """Close all connections, and check nothing any more."""
        self.checks.close()
        for _, endpoint in self._endpoints.values():
            endpoint.pool.close()

    def _recovered(self, vitals: Vitals) -> None:
        vitals.forget()
        for service in tuple(vitals.users):
            service.recovered(vitals.url)

    def _vitals_of(self, url: str) -> Vitals:
        vitals = self._vitals.get(url)
        if vitals is None:
            vitals = self._vitals[url] = Vitals(url)
        return vitals

    def _pool(self, address: EndpointAddress, transport: Transport) -> Pool:
        return Pool(transport.limits, self._opener(address, transport))

    def _opener(self, address: EndpointAddress, transport: Transport) -> Opener:
        async def opener(pool: Pool, timeout: float | None) -> EndpointConnection:
            made, connection = await connect(
                address,
                lambda: EndpointConnection(pool),
                resolver=self.resolver,
                tls=transport.tls if address.scheme == "https" else None,
                server_name=transport.server_name,
                timeout=timeout,
            )
            made.set_write_buffer_limits(high=transport.write_buffer)
            return connection

        return opener
