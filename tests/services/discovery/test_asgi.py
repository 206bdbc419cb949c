"""An ASGI application as an endpoint: it is there once its lifespan has started, and ends after its requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from propylon.services.discovery import DiscoveryError
from propylon.services.discovery.asgi import Config, Provider
from tests.support.client import RawClient, request_bytes
from tests.support.lists import PLACE, lists_of

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class App:
    """An application that notes its life, and answers with its scope."""

    def __init__(self) -> None:
        self.life: list[str] = []
        self.starting, self.asked = asyncio.Event(), asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.failure: str | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self.life.append("request")
        self.asked.set()
        await self.may_answer.wait()
        shown = {key: scope[key] for key in ("path", "root_path", "scheme", "client")}
        body = json.dumps(shown | {"host": dict(scope["headers"])[b"host"].decode()}).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.life.append("answered")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.life.append("starts")
        self.starting.set()
        await self.may_start.wait()
        if self.failure is not None:
            await send({"type": "lifespan.startup.failed", "message": self.failure})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.life.append("ends")
        await send({"type": "lifespan.shutdown.complete"})


def provider(app: Any, **settings: Any) -> Provider:
    return Provider(Config(app=app, **settings), PLACE)


def client(url: str) -> RawClient:
    return RawClient(0, unix=url.removeprefix("unix:"))


async def test_the_endpoint_is_there_once_the_application_has_started() -> None:
    app = App()
    app.may_start.clear()
    async with lists_of(provider(app)) as lists:
        await app.starting.wait()
        await lists.nothing_for(0.05)
        app.may_start.set()
        [endpoint] = await lists.next()
        assert (await lists_request(endpoint.url)).status == 200
        folder = Path(endpoint.url.removeprefix("unix:")).parent
        assert folder.stat().st_mode & 0o077 == 0, "the socket is for the gateway alone"
    assert app.life == ["starts", "request", "answered", "ends"]
    assert not folder.exists()


async def lists_request(url: str) -> Any:
    async with client(url) as connection:
        return await connection.ask(request_bytes(b"/x", b"x-forwarded-for: 203.0.113.7"))


async def test_the_application_gets_client_and_root_path() -> None:
    async with lists_of(provider(App(), root_path="/api")) as lists:
        [endpoint] = await lists.next()
        shown = (await lists_request(endpoint.url)).json()
        assert (shown["path"], shown["root_path"], shown["client"][0]) == ("/api/x", "/api", "203.0.113.7")


async def test_what_is_under_way_ends_before_the_application_does() -> None:
    app = App()
    app.may_answer.clear()
    lists = lists_of(provider(app))
    running = await lists.__aenter__()
    [endpoint] = await running.next()
    asked = asyncio.create_task(lists_request(endpoint.url))
    await app.asked.wait()
    ended = asyncio.create_task(lists.__aexit__(None, None, None))
    for _ in range(20):
        await asyncio.sleep(0)
    app.may_answer.set()
    assert (await asked).status == 200
    await ended
    assert app.life[-2:] == ["answered", "ends"]


async def test_a_failed_start_is_a_failure_of_discovery_and_no_end_of_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    app.failure = "no database"
    async with lists_of(provider(app)) as lists:
        with pytest.raises(DiscoveryError, match="did not start"):
            await lists.next()
    assert "no database" in caplog.text


async def test_an_application_that_never_starts_is_given_up_when_the_provider_ends() -> None:
    app = App()
    app.may_start.clear()
    async with lists_of(provider(app)):
        await app.starting.wait()


async def test_a_factory_is_called() -> None:
    async with lists_of(provider(lambda: App(), factory=True)) as lists:
        [endpoint] = await lists.next()
        assert (await lists_request(endpoint.url)).status == 200


def test_a_wrong_name_is_told_when_the_configuration_is_read() -> None:
    with pytest.raises(ModuleNotFoundError):
        provider("no_such_module:app")
    with pytest.raises(AttributeError):
        provider("json:app")
    with pytest.raises(TypeError, match="cannot be called"):
        provider("json:__name__")
    with pytest.raises(ValidationError):
        Config.model_validate("main")
    with pytest.raises(ValidationError):
        Config.model_validate({"app": "main:app", "root_path": "api/"})
