"""Providers at work: each finds endpoints for the service of its name, whatever happens to the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from propylon.services import providers as module
from propylon.services.balancing import Chance, round_robin
from propylon.services.directory import Directory
from propylon.services.discovery import DiscoveryError, EndpointSpec
from propylon.services.service import Service
from propylon.services.settings import ServiceSettings
from tests.support.deadline import until

CHANCE = Chance(lambda: 0.0, lambda: 0.5)


class Told:
    """A provider that finds what a test tells it."""

    def __init__(self, *first: str) -> None:
        self.lists: asyncio.Queue[Sequence[EndpointSpec] | Exception] = asyncio.Queue()
        self.begun = self.ended = 0
        if first:
            self.find(*first)

    def find(self, *urls: str) -> None:
        self.lists.put_nowait([EndpointSpec(url) for url in urls])

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        self.begun += 1
        try:
            while True:
                found = await self.lists.get()
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            self.ended += 1


def service(provider: Told, settings: str = "a", name: str = "s") -> Service:
    made = ServiceSettings(discover=("told", settings), balance=("round_robin", None))
    return Service(name, made, (), round_robin.Balancer(round_robin.Config(), CHANCE), CHANCE, provider)


@pytest.fixture
async def directory() -> AsyncIterator[Directory]:
    made = Directory(None, lambda: 0.0)  # type: ignore[arg-type]
    yield made
    await made.providers.close()


async def take(directory: Directory, *services: Service) -> None:
    """What a worker does with the services of a new snapshot."""
    await directory.providers.prepare(services)
    directory.enter({each.name: each for each in services})


def urls(made: Service) -> list[str]:
    return [endpoint.url for endpoint in made.endpoints]


async def until_urls(made: Service, *expected: str) -> None:
    await until(lambda: urls(made) == list(expected), f"the endpoints {expected}")


async def test_a_service_has_its_endpoints_when_it_begins_to_serve_and_follows_them(directory: Directory) -> None:
    provider = Told("http://10.0.0.1")
    made = service(provider)
    await take(directory, made)
    assert urls(made) == ["http://10.0.0.1"]
    provider.find("http://10.0.0.1", "http://10.0.0.2")
    await until_urls(made, "http://10.0.0.1", "http://10.0.0.2")


async def test_a_service_that_finds_nothing_begins_without_endpoints(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_LIST_SECONDS", 0.01)
    provider = Told()
    provider.lists.put_nowait(DiscoveryError("nobody there"))
    made = service(provider)
    await take(directory, made)
    assert urls(made) == []
    assert "s: no endpoints found within 0.01 s; the search goes on" in caplog.text


async def test_the_provider_goes_on_for_the_service_that_takes_the_place_of_another(directory: Directory) -> None:
    provider, unused = Told("http://10.0.0.1"), Told("http://10.9.9.9")
    first = service(provider)
    await take(directory, first)
    second = service(unused)
    await take(directory, second)
    assert urls(second) == ["http://10.0.0.1"]
    assert second.endpoints[0] is first.endpoints[0]
    provider.find("http://10.0.0.2")
    await until_urls(second, "http://10.0.0.2")
    assert (provider.begun, provider.ended, unused.begun) == (1, 0, 0)


async def test_another_provider_takes_over_when_it_has_found_something(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_LIST_SECONDS", 0.01)
    old, new = Told("http://10.0.0.1"), Told()
    await take(directory, service(old))
    made = service(new, "b")
    await take(directory, made)
    assert urls(made) == ["http://10.0.0.1"]  # as long as nothing better is known
    new.find("http://10.0.0.2")
    await until_urls(made, "http://10.0.0.2")
    await asyncio.sleep(0)
    assert old.ended == 1


async def test_nobody_looks_for_services_that_are_gone(directory: Directory) -> None:
    provider = Told("http://10.0.0.1")
    await take(directory, service(provider))
    await take(directory)
    await directory.providers.close()
    assert (provider.begun, provider.ended) == (1, 1)


async def test_what_was_prepared_for_a_configuration_that_is_not_taken_is_ended(directory: Directory) -> None:
    running, given_up, later = Told("http://10.0.0.1"), Told("http://10.0.0.2"), Told("http://10.0.0.3")
    made = service(running)
    await take(directory, made)
    await directory.providers.prepare([service(given_up, "b")])
    assert urls(made) == ["http://10.0.0.1"]
    await take(directory, service(later, "c"))
    await directory.providers.close()
    found: Any = [each.ended for each in (running, given_up, later)]
    assert found == [1, 1, 1]
