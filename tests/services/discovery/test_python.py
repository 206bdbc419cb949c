"""Endpoints from a Python function: what it yields is passed on, and its mistakes are named."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.services.discovery import DiscoveryError, EndpointSpec, ProviderContext
from propylon.services.discovery.python import Config, Provider
from tests.support.deadline import settle
from tests.support.lists import PLACE, lists_of


def provider(source: Any) -> Provider:
    return Provider(Config(source=source), PLACE)


async def test_urls_mappings_and_found_are_endpoints() -> None:
    async def users() -> AsyncIterator[object]:
        yield [
            "http://a.test",
            {"url": "http://b.test", "weight": 3, "priority": 1, "zone": "z"},
            EndpointSpec("http://c.test"),
        ]
        yield ()
        yield {"http://d.test"}

    async with lists_of(provider(users)) as lists:
        assert await lists.next() == [
            EndpointSpec("http://a.test"),
            EndpointSpec("http://b.test", 3, 1, "z"),
            EndpointSpec("http://c.test"),
        ]
        assert await lists.next() == []
        assert await lists.next() == [EndpointSpec("http://d.test")]


async def test_the_function_is_given_the_place_if_it_takes_one() -> None:
    async def users(context: ProviderContext) -> AsyncIterator[object]:
        yield [f"http://{context.service}.test"]

    async with lists_of(provider(users)) as lists:
        assert await lists.next() == [EndpointSpec("http://users.test")]


async def test_a_method_and_an_object_that_is_called_will_do() -> None:
    class Registry:
        async def users(self, context: ProviderContext) -> AsyncIterator[object]:
            yield [f"http://{context.service}.test"]

        def __call__(self) -> AsyncIterator[object]:
            return self.users(PLACE)

    for source in (Registry().users, Registry()):
        async with lists_of(provider(source)) as lists:
            assert await lists.next() == [EndpointSpec("http://users.test")]


async def test_an_iterator_that_is_no_generator_will_do() -> None:
    class Once:
        def __init__(self) -> None:
            self.left = [["http://a.test"]]

        def __aiter__(self) -> Once:
            return self

        async def __anext__(self) -> list[str]:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    async with lists_of(provider(Once)) as lists:
        assert await lists.next() == [EndpointSpec("http://a.test")]
        with pytest.raises(AssertionError, match="the provider has ended"):
            await lists.next()


async def test_the_function_is_imported_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_registry")

    async def users() -> AsyncIterator[object]:
        yield ["http://a.test"]

    module.users = users  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_registry", module)
    async with lists_of(Provider(Config.model_validate("my_registry:users"), PLACE)) as lists:
        assert await lists.next() == [EndpointSpec("http://a.test")]
    with pytest.raises(AttributeError):
        provider("my_registry:nobody")
    with pytest.raises(ImportError):
        provider("no_such_registry:users")
    with pytest.raises(TypeError, match="cannot be called"):
        provider("my_registry:__name__")


async def test_the_end_of_the_watch_reaches_the_finally_of_the_function() -> None:
    ended = []

    async def users() -> AsyncIterator[object]:
        try:
            yield ["http://a.test"]
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with lists_of(provider(users)) as lists:
        await lists.next()
        await settle()
    assert ended == [True]


async def test_what_the_function_raises_comes_through() -> None:
    async def users() -> AsyncIterator[object]:
        yield []
        raise LookupError("the registry is closed")

    async with lists_of(provider(users)) as lists:
        await lists.next()
        with pytest.raises(LookupError, match="the registry is closed"):
            await lists.next()


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("http://a.test", "yield a list of all endpoints, not str"),
        ({"url": "http://a.test"}, "yield a list of all endpoints, not dict"),
        (None, "yield a list of all endpoints, not NoneType"),
        ([7], "an endpoint is a URL, a mapping or a EndpointSpec, not int"),
        ([{"url": "http://a.test", "wieght": 3}], "the unknown key 'wieght': its keys are url, weight, priority, zone"),
        ([{"weight": 3}], "no url"),
    ],
)
async def test_what_is_no_list_of_endpoints_is_named(item: object, says: str) -> None:
    async def users() -> AsyncIterator[object]:
        yield item

    async with lists_of(provider(users)) as lists:
        with pytest.raises(DiscoveryError, match=says):
            await lists.next()


async def _coroutine() -> list[str]:
    return []


def _generator() -> Iterator[list[str]]:
    yield []


@pytest.mark.parametrize("source", [_coroutine, _generator, lambda: None])
async def test_a_function_that_is_no_async_generator_is_told_what_to_write(source: Callable[[], object]) -> None:
    async with lists_of(provider(source)) as lists:
        with pytest.raises(DiscoveryError, match="write it with `async def` and `yield` the endpoints"):
            await lists.next()


def test_a_function_that_wants_other_arguments_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"called with the place or without arguments, and takes \(a"):
        provider(lambda a, b: None)


@pytest.mark.parametrize("settings", [{}, "nonsense", {"source": 7}, {"source": "a:b", "more": 1}, "a.b", ""])
def test_what_is_no_reference_is_refused(settings: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)
