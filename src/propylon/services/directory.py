"""State that outlives a snapshot: connections, and the state of endpoints and services.

There is one directory for each worker. A new snapshot reuses the state that still fits; unused state is released when
the exchanges in flight no longer need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from propylon.address import EndpointAddress
from propylon.outbound.connect import connect
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.pool import Pool
from propylon.services import events
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


class Directory:
    """The services of a worker, and their endpoints.

    Attributes:
        services: the services of the current snapshot, by name.
        resolver: resolves the names of endpoints.
        providers: the providers of services with discovery.
        checks: the active health checks; nothing runs without `checks.sweep`.
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
        self._time_dependent: set[Service] = set()
        self.checks = HealthChecks(self._opener, self.complain, clock)

    def enter(self, services: Mapping[str, Service]) -> None:
        """Replace the services of the old snapshot with those of a new one."""
        old, self.services = self.services, dict(services)
        started = [service for name, service in services.items() if old.get(name) is not service]
        for service in started:
            service.start(self, old.get(service.name))
        self.providers.enter(services.values())
        for service in set(old.values()).difference(services.values()):
            service.stop()
            self._time_dependent.discard(service)
            self._leaving.update(endpoint.vitals for endpoint in service.endpoints)
        current = {(service.name, endpoint.url) for service in services.values() for endpoint in service.endpoints}
        for key in self._endpoints.keys() - current:
            self._endpoints.pop(key)[1].pool.retire()
            self.checks.forget(*key)

    def endpoint(self, service: Service, found: EndpointSpec) -> Endpoint:
        """Return an endpoint of a service, with its health check; the existing one if it is unchanged.

        Raises `AddressError` for an invalid URL.
        """
        endpoint = self._endpoint(service, found)
        self.checks.follow(service.name, endpoint, service.settings)
        return endpoint

    def _endpoint(self, service: Service, found: EndpointSpec) -> Endpoint:
        settings = service.settings
        key = (service.name, found.url)
        existing = self._endpoints.get(key)
        use = settings.breaker
        pool = breaker = None
        if use is not None and use.endpoints:
            breaker = existing[1].breaker if existing is not None else None
            if breaker is None or breaker.settings != use.settings:
                breaker = Breaker(use.settings, service.random)
        if existing is not None:
            transport, endpoint = existing
            if transport != settings.transport:
                endpoint.pool.retire()
            elif breaker is endpoint.breaker and endpoint.is_as(found, settings.host):
                return endpoint
            else:
                pool = endpoint.pool
        address = EndpointAddress.parse(found.url)
        created = Endpoint(
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
        self._endpoints[key] = (settings.transport, created)
        return created

    def drop(self, service: Service, endpoint: Endpoint) -> None:
        """Remove an endpoint; exchanges in flight finish."""
        existing = self._endpoints.get((service.name, endpoint.url))
        if existing is not None and existing[1] is endpoint:
            del self._endpoints[service.name, endpoint.url]
            endpoint.pool.retire()
            self.checks.forget(service.name, endpoint.url)
            self._leaving.add(endpoint.vitals)

    def watch(self, service: Service) -> None:
        """Sweep a service until its state no longer depends on time."""
        self._time_dependent.add(service)

    def eject(self, vitals: Vitals) -> None:
        """Eject an address until its ejection time is over."""
        self._ejected.add(vitals)
        for service in tuple(vitals.users):
            service.health_changed()

    def complain(self, vitals: Vitals, check: object, reason: str | None) -> None:
        """Set the result of a health check: why the address is unhealthy, or `None`.

        One that has recovered is not ejected any longer either, as in Envoy: if it were, the others could be restarted
        while it is well and yet gets no request.
        """
        if reason is not None:
            vitals.complaints[check] = reason
        elif vitals.complaints.pop(check, None) is not None and not vitals.complaints:
            if vitals in self._ejected:
                self._ejected.discard(vitals)
                vitals.ejection.end(self._clock())
            self._recovered(vitals)
        for service in tuple(vitals.users):
            service.health_changed()

    def sweep(self, now: float) -> None:
        """Apply changes due by time; called ten times a second."""
        if self._ejected:
            for vitals in [each for each in self._ejected if each.ejection.recover(now)]:
                self._ejected.discard(vitals)
                events.back(vitals.url)
                self._recovered(vitals)
                for service in tuple(vitals.users):
                    service.health_changed()
        if self._time_dependent:
            self._time_dependent = {service for service in self._time_dependent if service.sweep(now)}

    def sweep_pools(self, now: float) -> None:
        """Close connections that are out of use or date, and forget unused addresses; called once a second."""
        for vitals in [each for each in self._leaving if each.users or not each.inflight]:
            self._leaving.discard(vitals)
            if not vitals.users:
                self._ejected.discard(vitals)
                del self._vitals[vitals.url]
        for transport, endpoint in self._endpoints.values():
            endpoint.pool.sweep(now)
            if transport.follow_dns and endpoint.address.is_name and endpoint.pool.open:
                self._follow_dns(endpoint)

    def refresh_tls(self) -> None:
        """Read TLS files that have changed; connections from before end with their exchanges."""
        used = {service.settings.transport.tls for service in self.services.values()}
        renewed = {tls for tls in used if tls is not None and tls.refresh()}
        if renewed:
            for transport, endpoint in self._endpoints.values():
                if transport.tls in renewed:
                    endpoint.pool.renew()

    def close(self) -> None:
        """Close all connections, and stop the health checks."""
        self.checks.close()
        for _, endpoint in self._endpoints.values():
            endpoint.pool.close()

    def _follow_dns(self, endpoint: Endpoint) -> None:
        """Retire connections to addresses that the endpoint's name does not have any more."""
        addresses = self.resolver.current(endpoint.address.host)
        if addresses and (left := endpoint.pool.retire_others(addresses)):
            events.moved(endpoint.url, addresses, left)

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
            created, connection = await connect(
                address,
                lambda: EndpointConnection(pool, transport.response_head),
                resolver=self.resolver,
                tls=transport.tls.context if address.scheme == "https" and transport.tls is not None else None,
                server_name=transport.server_name,
                timeout=timeout,
            )
            created.set_write_buffer_limits(high=transport.write_buffer)
            if address.is_name:
                connection.address = created.get_extra_info("peername")[0]
            transport.probes.apply(created.get_extra_info("socket"))
            return connection

        return opener
