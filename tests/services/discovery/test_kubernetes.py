"""EndpointSlices of a stand-in for a Kubernetes API server, over real HTTP: no change is missed."""

from __future__ import annotations

import base64
import shutil
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
from propylon.services.discovery import EndpointSpec, ProviderContext
from propylon.services.discovery import kubernetes as module
from propylon.services.discovery.kubernetes import Config, Provider
from tests.services.discovery.test_kubernetes_access import in_pod, kubeconfig
from tests.support.deadline import real_time, until
from tests.support.kubernetes_api import Api, api, draining, pod
from tests.support.observed import HERE, observed
from tests.support.tls import Certificates
from tests.support.web import served

A, B, C = (f"http://10.0.0.{number}:8080" for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_INTERVAL_S", 0.05)


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[Api, Provider]]:
    async with api() as (made, base):
        yield made, provider(tmp_path, base)


def provider(folder: Path, base: str, user: dict[str, Any] | None = None, **keys: Any) -> Provider:
    return Provider(Config.model_validate({"kubeconfig": str(kubeconfig(folder, user, server=base)), **keys}), HERE)


def test_it_is_found_by_its_name() -> None:
    assert PROVIDERS.find("kubernetes") is module


@pytest.mark.parametrize("cut", [0, 1, 100])
async def test_pods_that_come_drain_and_go_are_seen(cluster: tuple[Api, Provider], cut: int) -> None:
    server, watched = cluster
    server.cut = cut
    server.put("users-a", pod("10.0.0.1", zone="eu-1a"))
    server.put("orders-a", pod("10.9.9.9"), service="orders")
    async with observed(watched) as lists:
        assert await lists.next() == [EndpointSpec(A, zone="eu-1a")]
        server.put("users-b", pod("10.0.0.2"), pod("10.0.0.3", conditions={"ready": False}))
        assert await lists.urls() == [A, B]
        server.put("users-a", draining("10.0.0.1"))
        assert await lists.next() == [EndpointSpec(A, 0), EndpointSpec(B)]
        server.put("users-a")
        assert await lists.urls() == [B]
        server.delete("users-b")
        assert await lists.next() == []
        server.put("orders-a", pod("10.9.9.9"), service="users")
        assert await lists.urls() == ["http://10.9.9.9:8080"]
        server.put("orders-a", pod("10.9.9.9"), service="orders")
        assert await lists.next() == []
    assert (server.lists, server.watches) == (1, 1)


async def test_a_change_that_changes_no_endpoint_is_no_list(cluster: tuple[Api, Provider]) -> None:
    server, watched = cluster
    server.put("users-a", pod("10.0.0.1"))
    async with observed(watched) as lists:
        await lists.next()
        server.put("users-a", pod("10.0.0.1"), pod("10.0.0.2", conditions={"ready": False}))
        server.put("users-b", pod("10.0.0.3"))
        assert await lists.urls() == [A, C]


async def test_a_deployment_of_many_pods_is_a_few_lists(cluster: tuple[Api, Provider]) -> None:
    """A watcher takes ten lists a second at the most; a list for each change would come late."""
    server, watched = cluster
    async with observed(watched) as lists:
        await lists.next()
        await until(lambda: server.watches == 1)
        for number in range(200):
            server.put(f"users-{number}", pod(f"10.0.1.{number}"))
        count, found = 0, []
        while len(found) < 200:
            found = await lists.next()
            count += 1
        assert count < 10


async def test_a_watch_that_ends_continues_where_it_was(cluster: tuple[Api, Provider]) -> None:
    server, watched = cluster
    async with observed(watched) as lists:
        assert await lists.next() == []
        for number in range(1, 4):
            await until(lambda wanted=number: server.watches == wanted)
            server.end_watches()
            server.put(f"users-{number}", pod(f"10.0.0.{number}"))
            assert len(await lists.next()) == number
        assert lists.quiet
    assert server.lists == 1


async def test_a_watch_that_was_cut_after_a_while_continues_where_it_was(
    cluster: tuple[Api, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, watched = cluster
    async with observed(watched) as lists:
        await lists.next()
        await until(lambda: server.watches == 1)
        server.cut_watches()
        assert "/endpointslices" in await lists.failed()
    monkeypatch.setattr(module, "STEADY_S", 0.0)
    async with observed(watched) as lists:
        await lists.next()
        await until(lambda: server.watches == 2)
        server.cut_watches()
        server.put("users-a", pod("10.0.0.1"))
        assert await lists.urls() == [A]
    assert server.lists == 2


async def test_a_watch_is_asked_to_end_after_a_while(
    cluster: tuple[Api, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, watched = cluster
    monkeypatch.setattr(module, "WATCH_S", 1)
    async with observed(watched) as lists:
        await lists.next()
        await until(lambda: server.watches == 2)
        server.put("users-a", pod("10.0.0.1"))
        assert await lists.urls() == [A]
    assert server.lists == 1
    assert server.requests[1]["timeoutSeconds"] == "1"
    assert server.requests[1]["allowWatchBookmarks"] == "true"


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_loop(cluster: tuple[Api, Provider]) -> None:
    server, watched = cluster
    async with observed(watched) as lists:
        await lists.next()
        for _ in range(200):
            server.end_watches()
            await real_time(0.001)
        assert server.watches < 20


@pytest.mark.parametrize("as_event", [False, True])
async def test_what_the_server_has_forgotten_is_listed_again(cluster: tuple[Api, Provider], as_event: bool) -> None:
    server, watched = cluster
    server.gone_as_event = as_event
    server.put("users-a", pod("10.0.0.1"))
    server.put("users-b", pod("10.0.0.2"))
    async with observed(watched) as lists:
        assert await lists.urls() == [A, B]
        await until(lambda: server.watches == 1)
        server.end_watches()
        server.delete("users-a")
        server.put("users-c", pod("10.0.0.3"))
        server.forget()
        assert await lists.urls() == [B, C]
        assert server.lists == 2
        server.put("users-a", pod("10.0.0.1"))
        assert await lists.urls() == [A, B, C]


async def test_a_bookmark_saves_the_watch_from_being_forgotten(cluster: tuple[Api, Provider]) -> None:
    server, watched = cluster
    async with observed(watched) as lists:
        await lists.next()
        await until(lambda: server.watches == 1)
        server.pass_versions()
        server.bookmark()
        await real_time(0.05)
        server.forget()
        server.end_watches()
        server.put("users-a", pod("10.0.0.1"))
        assert await lists.urls() == [A]
    assert server.lists == 1


async def test_an_error_in_the_stream_ends_it(cluster: tuple[Api, Provider]) -> None:
    server, watched = cluster
    async with observed(watched) as lists:
        await lists.next()
        await until(lambda: server.watches == 1)
        server.fail_watches(500, "InternalError", "etcdserver: leader changed")
        assert await lists.failed() == "the watch failed: 500 etcdserver: leader changed"


async def test_long_lists_come_in_pages(cluster: tuple[Api, Provider], monkeypatch: pytest.MonkeyPatch) -> None:
    server, watched = cluster
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(1, 6):
        server.put(f"users-{number}", pod(f"10.0.0.{number}"))
    async with observed(watched) as lists:
        assert len(await lists.next()) == 5
        server.put("users-6", pod("10.0.0.6"))
        assert len(await lists.next()) == 6
    assert [query.get("limit") for query in server.requests[:3]] == ["2"] * 3


async def test_a_list_whose_next_page_came_too_late_begins_again(
    cluster: tuple[Api, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, watched = cluster
    monkeypatch.setattr(module, "PAGE", 2)
    server.expire_pages = 1
    for number in range(1, 4):
        server.put(f"users-{number}", pod(f"10.0.0.{number}"))
    async with observed(watched) as lists:
        assert await lists.urls() == [A, B, C]
    assert server.lists == 2


async def test_a_service_that_is_not_there_has_no_endpoints_and_is_named(
    cluster: tuple[Api, Provider], caplog: pytest.LogCaptureFixture
) -> None:
    server, watched = cluster
    async with observed(watched) as lists:
        assert await lists.next() == []
        assert [record.getMessage() for record in caplog.records] == [
            "there is no EndpointSlice of a service users in the namespace shop"
        ]
        server.put("users-a", pod("10.0.0.1"))
        assert await lists.urls() == [A]


async def test_a_server_that_goes_away_or_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server, base = await stack.enter_async_context(api())
        watched = provider(tmp_path, base)
        async with observed(watched) as lists:
            await lists.next()
            await until(lambda: server.watches == 1)
            await stack.aclose()
            assert base in await lists.failed()
        async with observed(watched) as lists:
            assert "Cannot connect to host" in await lists.failed()


async def test_a_token_that_is_not_taken_and_a_right_that_lacks_are_errors_in_words(tmp_path: Path) -> None:
    async with api() as (server, base):
        server.tokens = {"good"}
        async with observed(provider(tmp_path, base, {"token": "bad-token"})) as lists:
            said = await lists.failed()
            assert "401 Unauthorized" in said
            assert "bad-token" not in said
        server.forbidden = True
        async with observed(provider(tmp_path, base, {"token": "good"})) as lists:
            assert "needs the verbs list and watch for endpointslices" in await lists.failed()


async def test_a_token_is_read_anew_when_it_has_changed(tmp_path: Path) -> None:
    async with api() as (server, base):
        server.tokens = {"t1"}
        (tmp_path / "token").write_text("t1")
        async with observed(provider(tmp_path, base, {"tokenFile": "token"})) as lists:
            assert await lists.next() == []
            await until(lambda: server.watches == 1)
            server.tokens = {"t2"}
            (tmp_path / "token").write_text("t2")
            server.end_watches()
            server.put("users-a", pod("10.0.0.1"))
            assert await lists.urls() == [A]


async def test_a_pod_asks_with_its_service_account(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificates.pair("a").values())
    shutil.copy(certificates.path("ca"), tmp_path / "ca.crt")
    (tmp_path / "token").write_text("t1")
    (tmp_path / "namespace").write_text("shop")
    async with api(tls=context) as (server, base):
        in_pod(tmp_path, monkeypatch, "127.0.0.1", base.rpartition(":")[2])
        server.tokens = {"t1"}
        server.put("users-a", pod("10.0.0.1"))
        async with observed(Provider(Config(), HERE)) as lists:
            assert await lists.urls() == [A]
        shutil.copy(certificates.path("stranger"), tmp_path / "ca.crt")
        async with observed(Provider(Config(), HERE)) as lists:
            assert "certificate" in (await lists.failed()).lower()
        (tmp_path / "token").unlink()
        async with observed(Provider(Config(), HERE)) as lists:
            await lists.failed()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    async with observed(Provider(Config(), HERE)) as lists:
        assert "give kubeconfig" in await lists.failed()


async def test_a_client_certificate_may_be_inline_and_leaves_no_file_behind(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inline(path: str) -> str:
        return base64.b64encode(Path(path).read_bytes()).decode()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.path("ca"))
    context.load_cert_chain(*certificates.pair("a").values())
    context.verify_mode = ssl.CERT_REQUIRED
    pair = certificates.pair("client")
    user = {"client-certificate-data": inline(pair["certificate"]), "client-key-data": inline(pair["key"])}
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(secrets))
    async with api(tls=context) as (server, base):
        server.put("users-a", pod("10.0.0.1"))
        data = {"certificate-authority-data": inline(certificates.path("ca")), "tls-server-name": "a.test"}
        path = kubeconfig(tmp_path, user, server=base, **data)
        async with observed(Provider(Config(kubeconfig=path), HERE)) as lists:
            assert await lists.urls() == [A]
            assert list(secrets.iterdir()) == []


async def test_a_server_may_be_below_a_path_and_namespace_and_service_may_be_named(tmp_path: Path) -> None:
    async with api() as (server, base):
        server.put("orders-a", pod("10.0.0.2"), service="orders")
        keys = {"context": "bare", "namespace": "shop", "service": "orders", "port": "http", "scheme": "https"}
        async with observed(provider(tmp_path, f"{base}/base/", **keys)) as lists:
            assert await lists.urls() == ["https://10.0.0.2:8080"]
        async with observed(provider(tmp_path, base, context="bare")) as lists:
            assert "/namespaces/default/endpointslices with 404" in await lists.failed()


async def test_a_name_of_a_service_that_kubernetes_cannot_have_is_an_error_in_words(tmp_path: Path) -> None:
    watched = Provider(Config(kubeconfig=kubeconfig(tmp_path)), ProviderContext("Users", tmp_path))
    async with observed(watched) as lists:
        assert await lists.failed() == "'Users' is no name of a Kubernetes service: give 'service'"


async def test_answers_in_another_form_are_errors_in_words(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"items": [{"name": 1}], "metadata": {"resourceVersion": "1"}})

    async with served(answer) as base, observed(provider(tmp_path, base)) as lists:
        assert "answers in another form than it should" in await lists.failed()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"service": "Users"}, "write small letters, digits and -"),
        ({"namespace": "a/b"}, "write small letters, digits and -"),
        ({"port": 0}, "write its name, for example http, or a number"),
        ({"port": True}, "write its name, for example http, or a number"),
        ({"port": "HTTP"}, "write its name, for example http, or a number"),
        ({"context": "dev"}, "'context' is of no use without 'kubeconfig'"),
        ({"kubeconfig": "/nonexistent"}, "cannot be read"),
        ({"family": "ipv5"}, "'ipv4' or 'ipv6'"),
        ({"lables": 1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_a_way_out(data: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Config.model_validate(data)


def test_a_kubeconfig_that_cannot_be_used_is_refused_with_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="runs a program for its credentials"):
        Config(kubeconfig=kubeconfig(tmp_path, {"exec": {"command": "aws"}}))
