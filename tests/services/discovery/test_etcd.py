"""Endpoints in a real etcd: every change is seen, and what happens to a member takes nothing away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from pydantic import ValidationError

from propylon.plugins import PROVIDERS
from propylon.services.discovery import EndpointSpec
from propylon.services.discovery import etcd as module
from propylon.services.discovery.etcd import Config, Provider
from propylon.services.watch import Watch
from tests.outbound.conftest import openssl
from tests.support.deadline import real_time, settle, until
from tests.support.etcd import Etcd, cluster, etcd
from tests.support.observed import HERE, NOW, observed
from tests.support.tls import Certificates
from tests.support.web import served

A, B, C = "http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080"


def provider(*members: Etcd | str, prefix: str = "/users/", **keys: Any) -> Provider:
    urls = [member if isinstance(member, str) else member.url for member in members]
    return Provider(Config.model_validate({"endpoints": urls, "prefix": prefix, **keys}), HERE)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Etcd]:
    async with etcd(tmp_path) as member:
        yield member


def test_it_is_found_by_its_name() -> None:
    assert PROVIDERS.find("etcd") is module


async def test_keys_that_are_written_and_deleted_are_seen_at_once(server: Etcd) -> None:
    await server.put("/users/1", A)
    await server.put("/users2/1", "http://10.9.9.9:80")
    async with observed(provider(server)) as lists:
        assert await lists.next() == [EndpointSpec(A)]
        await server.put("/users/2", json.dumps({"url": B, "weight": 3, "priority": 1, "zone": "a"}))
        assert await lists.next() == [EndpointSpec(A), EndpointSpec(B, 3, 1, "a")]
        await server.put("/users/1", C)
        assert await lists.urls() == [C, B]
        await server.delete("/users/1")
        assert await lists.urls() == [B]
        await server.put("/users/2", json.dumps({"url": B, "weight": 0, "priority": 1, "zone": "a"}))
        assert await lists.next() == [EndpointSpec(B, 0, 1, "a")]
        await server.delete("/users/2")
        assert await lists.next() == []
        await server.put("/users2/2", A)
        await server.put("/users/0", A)
        assert await lists.urls() == [A]


async def test_a_prefix_without_keys_has_no_endpoints(server: Etcd) -> None:
    async with observed(provider(server)) as lists:
        assert await lists.next() == []


async def test_several_changes_of_one_transaction_are_one_list(server: Etcd) -> None:
    await server.put("/users/1", A)
    await server.put("/users/2", B)
    async with observed(provider(server)) as lists:
        await lists.next()
        await server.ctl("del", "--prefix", "/users/")
        assert await lists.next() == []
        assert lists.quiet


async def test_a_key_ends_with_its_lease(server: Etcd) -> None:
    lease = (await server.ctl("lease", "grant", "1")).split()[1]
    await server.put("/users/1", A)
    await server.put("/users/2", B, f"--lease={lease}")
    async with observed(provider(server)) as lists:
        assert await lists.urls() == [A, B]
        assert await lists.urls() == [A]


async def test_a_value_that_is_no_endpoint_is_left_out_and_named_once(
    server: Etcd, caplog: pytest.LogCaptureFixture
) -> None:
    await server.put("/users/1", A)
    await server.put("/users/2", '{"url": "http://10.0.0.2:8080", "wieght": 2}')
    watched = provider(server)
    for _ in range(2):
        async with observed(watched) as lists:
            assert await lists.urls() == [A]
    assert [record.getMessage() for record in caplog.records] == [
        "etcd: the value of /users/2 has the unknown key 'wieght': write url, weight, priority or zone; it is left out"
    ]


async def test_keys_without_any_endpoint_are_a_mistake_and_not_no_endpoints(server: Etcd) -> None:
    await server.put("/users/1", "{}")
    async with observed(provider(server)) as lists:
        assert "none of the keys" in await lists.failed()


async def test_a_watch_that_was_silent_is_opened_again_and_misses_nothing(
    server: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.02)
    async with observed(provider(server)) as lists:
        assert await lists.next() == []
        for number in range(5):
            await server.put(f"/users/{number}", A)
            assert len(await lists.next()) == number + 1
        assert lists.quiet


@pytest.mark.parametrize("cut_in", ["the body", "an object"])
async def test_a_watch_that_was_cut_after_a_while_is_opened_again(
    server: Etcd, monkeypatch: pytest.MonkeyPatch, cut_in: str
) -> None:
    """By a proxy, for example, which has heard nothing for long; etcd itself is well."""
    watches: list[web.Request] = []

    async def relay(request: web.Request) -> web.StreamResponse:
        async with (
            ClientSession() as session,
            session.post(f"{server.url}{request.path}", data=await request.read()) as response,
        ):
            answer = web.StreamResponse()
            await answer.prepare(request)
            if request.path == "/v3/watch":
                watches.append(request)
                await answer.write(await response.content.readline())
                if len(watches) == 1:
                    if cut_in == "an object":
                        await answer.write(b'{"result": {')
                        return answer
                    assert request.transport is not None
                    request.transport.abort()
            async for data in response.content.iter_any():
                await answer.write(data)
            return answer

    async with served(relay) as base:
        async with observed(provider(base)) as lists:
            await lists.next()
            await lists.failed()
        watches.clear()
        monkeypatch.setattr(module, "STEADY_S", 0.0)
        async with observed(provider(base)) as lists:
            assert await lists.next() == []
            await until(lambda: len(watches) == 2)
            await server.put("/users/1", A)
            assert await lists.urls() == [A]


async def test_what_etcd_has_forgotten_is_read_again(server: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.3)
    async with observed(provider(server)) as lists:
        assert await lists.next() == []
        for number in range(3):
            await server.put("/other", str(number))
        await server.ctl("compact", str(await server.revision()))
        # The next watch begins at a revision that is gone.
        await real_time(0.5)
        await server.put("/users/1", A)
        assert await lists.urls() == [A]
        assert lists.quiet


async def test_a_member_that_is_killed_takes_nothing_away_and_is_asked_again_when_it_is_back(server: Etcd) -> None:
    await server.put("/users/1", A)
    applied: list[tuple[EndpointSpec, ...]] = []
    watch = Watch(provider(server), applied.append, name="users", sleep=lambda _: real_time(0.05))
    watch.start()
    try:
        assert await watch.first(NOW)
        await server.stop()
        await until(lambda: watch.problem is not None, "the failure is noticed", NOW)
        assert watch.found == (EndpointSpec(A),)
        await server.start()
        await server.ready()
        await server.put("/users/2", B)
        await until(lambda: len(applied) > 1, "the new endpoint is found", NOW)
        assert applied == [(EndpointSpec(A),), (EndpointSpec(A), EndpointSpec(B))]
        assert watch.problem is None
    finally:
        await watch.close()


async def test_a_member_that_is_not_there_is_named(server: Etcd) -> None:
    await server.stop()
    async with observed(provider(server)) as lists:
        assert f"Cannot connect to host {server.url.removeprefix('http://')}" in await lists.failed()


async def test_another_member_takes_over_and_one_without_a_leader_is_not_believed(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (leader, follower, other):
        await leader.put("/users/1", A)
        async with observed(provider(follower, leader, other)) as lists:
            assert await lists.urls() == [A]
            await follower.stop()
            await leader.put("/users/2", B)
            assert await lists.urls() == [A, B]
            await other.stop()
            said = await lists.failed()
            assert "etcdserver: no leader" in said
            assert leader.url in said


async def enable_authentication(server: Etcd) -> None:
    await server.ctl("user", "add", "root:pw-root")
    await server.ctl("user", "grant-role", "root", "root")
    await server.ctl("role", "add", "reader")
    await server.ctl("role", "grant-permission", "reader", "read", "--prefix=true", "/users/")
    await server.ctl("user", "add", "gateway:pw-gateway")
    await server.ctl("user", "grant-role", "gateway", "reader")
    await server.ctl("auth", "enable")


async def test_a_user_with_a_password_reads_what_it_may(server: Etcd) -> None:
    await server.put("/users/1", A)
    await enable_authentication(server)
    root = "--user=root:pw-root"
    async with observed(provider(server, user="gateway", password="pw-gateway")) as lists:
        assert await lists.urls() == [A]
        await server.put("/users/2", B, root)
        assert await lists.urls() == [A, B]
    async with observed(provider(server, user="root", password="pw-root")) as lists:
        assert await lists.urls() == [A, B]
    async with observed(provider(server, user="gateway", password="pw-wrong")) as lists:
        said = await lists.failed()
        assert "invalid user ID or password" in said
        assert "pw-wrong" not in said
    async with observed(provider(server)) as lists:
        assert "user name is empty" in await lists.failed()
    async with observed(provider(server, user="gateway", password="pw-gateway", prefix="/secret/")) as lists:
        assert "permission denied" in await lists.failed()


async def test_a_token_that_was_lost_is_renewed(server: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new password, though it is the same, makes the tokens of the user void, and the next watch is refused."""
    monkeypatch.setattr(module, "IDLE_S", 0.2)
    await enable_authentication(server)
    root = "--user=root:pw-root"
    async with observed(provider(server, user="gateway", password="pw-gateway")) as lists:
        assert await lists.next() == []
        await server.ctl("user", "passwd", "gateway", "--interactive=false", root, given="pw-gateway\n")
        await real_time(0.5)
        await server.put("/users/1", A, root)
        assert await lists.urls() == [A]


async def test_a_token_that_expires_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.4)
    key, public = tmp_path / "jwt.key", tmp_path / "jwt.pub"
    openssl("genrsa", "-out", str(key), "2048")
    openssl("rsa", "-in", str(key), "-pubout", "-out", str(public))
    tokens = f"jwt,pub-key={public},priv-key={key},sign-method=RS256,ttl=1s"
    async with etcd(tmp_path, "--auth-token", tokens) as server:
        await enable_authentication(server)
        async with observed(provider(server, user="gateway", password="pw-gateway")) as lists:
            assert await lists.next() == []
            await real_time(1.6)
            await server.put("/users/1", A, "--user=root:pw-root")
            assert await lists.urls() == [A]


async def test_members_are_asked_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    pair = certificates.pair("a")
    client = certificates.pair("client")
    arguments = ["--cert-file", pair["certificate"], "--key-file", pair["key"], "--client-cert-auth"]
    arguments += ["--trusted-ca-file", certificates.path("ca")]
    trusted = [f"--cacert={certificates.path('ca')}", f"--cert={client['certificate']}", f"--key={client['key']}"]
    async with etcd(tmp_path, *arguments, scheme="https") as server:
        await server.ready(*trusted)
        await server.put("/users/1", A, *trusted)
        async with observed(provider(server, tls={"ca": certificates.path("ca"), **client})) as lists:
            assert await lists.urls() == [A]
        async with observed(provider(server)) as lists:
            assert "certificate" in (await lists.failed()).lower()


async def test_a_server_that_is_no_etcd_is_an_error_in_words_and_is_asked_once() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"kvs": [{"key": 1}]})

    async with served(answer) as base, observed(provider(base)) as lists:
        assert "in a form that is not etcd's" in await lists.failed()
        await settle()
    assert asked == 1


@pytest.mark.parametrize(
    "error",
    [
        {"grpc_code": 14, "http_code": 503, "message": "etcdserver: no leader", "http_status": "Service Unavailable"},
        {"code": 14, "message": "etcdserver: no leader", "details": []},
    ],
    ids=["3.4 and 3.5", "3.6"],
)
async def test_an_error_in_the_stream_is_told_in_the_words_of_etcd(error: dict[str, Any]) -> None:
    """etcd 3.6 has another gateway, whose errors have another form ("Why gRPC gateway" of 3.6)."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v3/kv/range":
            return web.json_response({"header": {"revision": "5"}, "kvs": [], "more": False, "count": "0"})
        return web.json_response({"error": error})

    async with served(answer) as base, observed(provider(base)) as lists:
        assert await lists.next() == []
        assert await lists.failed() == f"{base} ended the watch: etcdserver: no leader"


async def test_each_member_is_asked_once_before_the_failure_is_told() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.url.authority)
        return web.json_response({"error": "no"}, status=503)

    async with served(answer) as one, served(answer) as other:
        watched = provider(one, other)
        async with observed(watched) as lists:
            said = await lists.failed()
        assert one in said
        assert other in said
        assert len(asked) == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "prefix"),
        ({"prefix": ""}, "at least 1 character"),
        ({"prefix": "/a/", "endpoints": []}, "at least 1 item"),
        ({"prefix": "/a/", "endpoints": ["10.0.0.1:2379"]}, "write http://"),
        ({"prefix": "/a/", "endpoints": ["http://10.0.0.1:2379/v3"]}, "write http://host:2379"),
        ({"prefix": "/a/", "endpoints": ["unix:/run/etcd"]}, "write http://host:2379"),
        ({"prefix": "/a/", "user": "root"}, "'user' and 'password' belong together"),
        ({"prefix": "/a/", "tls": {"verify": False}}, "write https:// in all of them"),
        ({"prefix": "/a/", "prefx": "/a/"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_a_way_out(data: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Config.model_validate(data)


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Config(prefix="/a/", user="root", password="hunter2"))
