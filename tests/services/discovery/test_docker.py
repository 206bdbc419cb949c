"""Containers of a stand-in for the Docker Engine, over real HTTP: events lead to lists, and lists to endpoints."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import ValidationError

from propylon.plugins import PROVIDERS
from propylon.services.discovery import EndpointSpec
from propylon.services.discovery import docker as module
from propylon.services.discovery.docker import Config, Provider, parse_address
from tests.support.deadline import real_time, until
from tests.support.docker_engine import Engine, engine
from tests.support.observed import HERE, observed
from tests.support.tls import Certificates
from tests.support.web import served


def provider(socket: Path | None = None, **keys: Any) -> Provider:
    keys = {"address": f"unix:{socket}"} | keys if socket else keys
    return Provider(Config.model_validate(keys), HERE)


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "docker.sock"


@pytest_asyncio.fixture
async def docker(socket: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(module, "DEBOUNCE_S", 0.05)
    async with engine(unix_path=str(socket)) as (made, _):
        yield made


def test_it_is_found_by_its_name() -> None:
    assert PROVIDERS.find("docker") is module


@pytest.mark.parametrize(("cut", "between"), [(0, ""), (0, "\n"), (1, ""), (7, "\r\n")])
async def test_containers_that_come_and_go_are_seen(docker: Engine, socket: Path, cut: int, between: str) -> None:
    docker.cut, docker.between = cut, between
    docker.run("a", "10.0.0.1")
    docker.run("other", "10.0.0.9", Labels={"propylon.service": "orders"})
    async with observed(provider(socket)) as lists:
        assert await lists.next() == [EndpointSpec("http://10.0.0.1:8080")]
        docker.run("b", "10.0.0.2", Labels={"propylon.service": "users", "propylon.weight": "5"})
        assert await lists.next() == [EndpointSpec("http://10.0.0.1:8080"), EndpointSpec("http://10.0.0.2:8080", 5)]
        docker.stop("a")
        assert await lists.urls() == ["http://10.0.0.2:8080"]
        docker.stop("b")
        assert await lists.next() == []


async def test_only_healthy_containers_and_those_without_a_check_are_used(docker: Engine, socket: Path) -> None:
    docker.run("a", "10.0.0.1", health="starting")
    docker.run("b", "10.0.0.2", health="unhealthy")
    docker.run("c", "10.0.0.3")
    async with observed(provider(socket)) as lists:
        assert await lists.urls() == ["http://10.0.0.3:8080"]
        docker.health("a", "healthy")
        assert await lists.urls() == ["http://10.0.0.1:8080", "http://10.0.0.3:8080"]
        docker.health("a", "unhealthy")
        assert await lists.urls() == ["http://10.0.0.3:8080"]


async def test_a_paused_container_is_left_out(docker: Engine, socket: Path) -> None:
    made = docker.run("a")
    async with observed(provider(socket)) as lists:
        assert len(await lists.next()) == 1
        made["status"] = "paused"
        docker.tell("container", "pause", "a")
        assert await lists.next() == []


async def test_a_container_that_changes_its_network_is_found_there(docker: Engine, socket: Path) -> None:
    made = docker.run("a")
    async with observed(provider(socket)) as lists:
        await lists.next()
        made["NetworkSettings"] = {"Networks": {"blue": {"IPAddress": "10.5.0.1"}}}
        docker.tell("network", "connect", "blue")
        assert await lists.urls() == ["http://10.5.0.1:8080"]


async def test_what_happens_between_list_and_stream_is_not_missed(docker: Engine, socket: Path) -> None:
    """The stream begins at the time of the engine from before the list."""
    docker.run("a", "10.0.0.1", quiet=True)
    real, late = docker.answer, []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/events") and not late:
            late.append(docker.run("b", "10.0.0.2"))
        return await real(request)

    async with served(answer) as base, observed(provider(address=base.replace("http", "tcp"))) as lists:
        assert await lists.urls() == ["http://10.0.0.1:8080"]
        assert await lists.urls() == ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]


async def test_many_events_are_one_list_and_what_does_not_matter_is_none(docker: Engine, socket: Path) -> None:
    async with observed(provider(socket)) as lists:
        assert await lists.next() == []
        for number in range(50):
            docker.run(f"c{number}", f"10.0.1.{number}")
        assert len(await lists.next()) == 50
        assert docker.lists <= 3
        before = docker.lists
        docker.tell("container", "exec_create: ls", "c1")
        docker.tell("container", "top", "c1")
        docker.tell("image", "start", "c1")
        await real_time(0.2)
        assert docker.lists == before
        docker.tell("container", "rename", "c1")
        await until(lambda: docker.lists > before)
        await real_time(0.1)
        assert lists.quiet


async def test_containers_are_listed_from_time_to_time_without_any_event(docker: Engine, socket: Path) -> None:
    watched = provider(socket)
    watched._refresh_s = 0.1
    async with observed(watched) as lists:
        assert await lists.next() == []
        docker.run("a", quiet=True)
        assert len(await lists.next()) == 1


async def test_the_version_of_the_engine_is_spoken_with_filters_for_what_matters(docker: Engine, socket: Path) -> None:
    docker.api_version = "1.41"
    async with observed(provider(socket)) as lists:
        await lists.next()
        await until(lambda: len(docker.requests) >= 3)
    ping, listed, events = docker.requests[:3]
    assert ping == "/_ping"
    assert listed.startswith("/v1.41/containers/json?filters=")
    assert events.startswith("/v1.41/events?filters=")
    assert "since=" in events


@pytest.mark.parametrize(
    ("version", "says"),
    [(None, "is no Docker Engine"), ("2.0", "is no Docker Engine"), ("1.18", "1.24 or newer is needed"),
     ("1.99", "client version 1.99 is too new")],
)  # fmt: skip
async def test_an_engine_that_cannot_be_spoken_with_is_an_error_in_words(
    docker: Engine, socket: Path, version: str | None, says: str
) -> None:
    docker.api_version = version
    async with observed(provider(socket)) as lists:
        assert says in await lists.failed()


async def test_an_engine_that_ends_or_is_not_there_is_an_error_in_words(docker: Engine, socket: Path) -> None:
    async with observed(provider(socket)) as lists:
        await lists.next()
        await until(lambda: len(docker.requests) == 3)
        await asyncio.sleep(0)
        docker.end_streams()
        assert await lists.failed() == "the engine ended the stream of events"
    async with observed(provider(socket.with_name("other.sock"))) as lists:
        assert "Cannot connect to unix socket" in await lists.failed()


async def test_a_stream_that_was_cut_after_a_while_is_opened_again(
    docker: Engine, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEADY_S", 0.0)
    async with observed(provider(socket)) as lists:
        assert await lists.next() == []
        await until(lambda: len(docker.requests) == 3)
        docker.end_streams()
        docker.run("a")
        assert len(await lists.next()) == 1
        assert lists.quiet


async def test_an_engine_that_is_killed_is_an_error_in_words(socket: Path) -> None:
    async with AsyncExitStack() as stack:
        docker, _ = await stack.enter_async_context(engine(unix_path=str(socket)))
        async with observed(provider(socket)) as lists:
            await lists.next()
            await until(lambda: len(docker.requests) == 3)
            await stack.aclose()
            assert "/events" in await lists.failed()


async def test_what_cannot_be_used_is_logged_once_and_is_no_empty_list(
    docker: Engine, socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    docker.run("a", Ports=[])
    watched = provider(socket)
    for _ in range(2):
        async with observed(watched) as lists:
            assert "none of the service's containers can be used: container a: it exposes no" in await lists.failed()
    assert [record.getMessage() for record in caplog.records] == [
        "users: container a: it exposes no TCP port: give it the label propylon.port; it is left out"
    ]


async def test_lists_in_another_form_are_an_error_in_words() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response([{"Names": []}], headers={"Api-Version": "1.44"})

    async with served(answer) as base, observed(provider(address=base.replace("http", "tcp"))) as lists:
        assert "in a form that is not Docker's" in await lists.failed()


async def test_a_remote_engine_is_asked_over_tls_and_published_ports_are_on_its_machine(
    certificates: Certificates,
) -> None:

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.path("ca"))
    context.load_cert_chain(*certificates.pair("a").values())
    context.verify_mode = ssl.CERT_REQUIRED
    async with engine(tls=context) as (docker, base):
        docker.run("a", Ports=[{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 32768, "Type": "tcp"}])
        address = base.replace("https", "tcp")
        tls = {"ca": certificates.path("ca"), **certificates.pair("client")}
        async with observed(provider(address=address, tls=tls, published=True)) as lists:
            assert await lists.urls() == ["http://127.0.0.1:32768"]
        async with observed(provider(address=address, tls={"ca": certificates.path("ca")})) as lists:
            await lists.failed()


def test_addresses_of_engines() -> None:
    assert parse_address("unix:/var/run/docker.sock", False) == (
        "http://localhost",
        "/var/run/docker.sock",
        "127.0.0.1",
    )
    assert parse_address("unix:///run/d.sock", False).unix_path == "/run/d.sock"
    assert parse_address("tcp://10.0.0.1:4000", False) == ("http://10.0.0.1:4000", None, "10.0.0.1")
    assert parse_address("tcp://10.0.0.1", False).base == "http://10.0.0.1:2375"
    assert parse_address("tcp://docker.test", True).base == "https://docker.test:2376"
    assert parse_address("tcp://[fd00::1]:99", True) == ("https://[fd00::1]:99", None, "fd00::1")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"address": "/var/run/docker.sock"}, "write unix:/path/to.sock or tcp://host:port"),
        ({"address": "unix:docker.sock"}, "write unix:/path/to.sock or tcp://host:port"),
        ({"address": "http://a:2375"}, "write unix:/path/to.sock or tcp://host:port"),
        ({"address": "tcp://a/b"}, "'address' tcp://a/b: "),
        ({"tls": {}}, "'tls' is of no use with a Unix socket"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"refresh": "10ms"}, "'refresh' is 1s at the least"),
        ({"scheme": "h2"}, "'http' or 'https'"),
        ({"lables": 1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_a_way_out(data: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Config.model_validate(data)
