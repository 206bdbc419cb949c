"""Fixtures and limits for the whole suite: uvloop by default, no coroutine test runs longer than LIMIT."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import uvloop

if TYPE_CHECKING:
    from tests.support.front import Fronts
    from tests.support.tls import Certificates

LIMIT = 15.0  # seconds a coroutine test may run
BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """uvloop, and plain asyncio for tests marked `asyncio(loop_factories=[...])`."""
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put a time limit around each coroutine test."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _limited(item.obj)


def _limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(LIMIT):
            await test(*args, **kwargs)

    return limited


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for listeners and clients; see tests/support/tls.py."""
    from tests.support.tls import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest_asyncio.fixture
async def front() -> AsyncIterator[Fronts]:
    """Makes running gateways with a scripted upstream each; see tests/support/front.py."""
    from tests.support.front import Fronts

    async with AsyncExitStack() as stack:
        yield Fronts(stack)
