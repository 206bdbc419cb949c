"""Endpoints from Consul: from a real agent, and from one that answers what a real one does only on a bad day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from propylon.services.discovery import DiscoveryError, EndpointSpec
from propylon.services.discovery import consul as module
from propylon.services.discovery.consul import Config, Provider, next_index
from tests.support.consul import MASTER, NEEDS_CONSUL, ConsulAgent
from tests.support.deadline import never, until
from tests.support.lists import PLACE, lists_of, urls, watching

ONE, TWO, THREE = (f"http://10.0.0.{number}:8080" for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def provider(address: str, **settings: Any) -> Provider:
    return Provider(Config(service="users", address=address, **settings), PLACE)


# a real agent


@NEEDS_CONSUL
async def test_instances_come_and_go() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address)) as lists:
        assert await lists.next() == []
        await consul.register(1)
        await lists.until(ONE)
        await consul.register(2)
        await lists.until(ONE, TWO)
        await consul.deregister(1)
        await lists.until(TWO)
        await consul.deregister(2)
        await lists.until()


@NEEDS_CONSUL
async def test_an_instance_that_is_not_well_is_left_out_until_it_is() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address)) as lists:
        await consul.register(1)
        await consul.register(2)
        await lists.until(ONE, TWO)
        for state in ("fail", "warn"):
            await consul.health(2, state)
            await lists.until(ONE)
            await consul.health(2, "pass")
            await lists.until(ONE, TWO)


@NEEDS_CONSUL
async def test_the_unwell_are_taken_with_their_weight_when_that_is_asked_for() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address, passing_only=False)) as lists:
        await consul.register(1, Weights={"Passing": 10, "Warning": 2})
        assert (await lists.until(ONE))[0].weight == 10
        await consul.health(1, "warn")
        assert (await lists.until(ONE))[0].weight == 2
        await consul.health(1, "fail")
        assert (await lists.until(ONE))[0].weight == 10


@NEEDS_CONSUL
async def test_nothing_comes_and_little_is_asked_while_nothing_changes() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address)) as lists:
        await consul.register(1)
        await lists.until(ONE)
        await consul.register(9, Name="other")
        await lists.nothing_for(0.3)


@NEEDS_CONSUL
async def test_all_tags_are_needed() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address, tags=["v2", "blue"])) as lists:
        await consul.register(1, Tags=["v2"])
        await consul.register(2, Tags=["blue", "v2", "x"])
        await lists.until(TWO)
        await consul.register(1, Tags=["v2", "blue"])
        await lists.until(ONE, TWO)


@NEEDS_CONSUL
async def test_a_service_with_a_strange_name_is_found() -> None:
    async with ConsulAgent() as consul:
        await consul.register(1, Name="a b/c?d")
        config = Config(service="a b/c?d", address=consul.address)
        async with lists_of(Provider(config, PLACE)) as lists:
            assert urls(await lists.next()) == [ONE]


@NEEDS_CONSUL
async def test_the_zone_is_in_the_metadata_of_the_instance_or_of_its_node() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address, zone_meta="zone")) as lists:
        await consul.register(1, Meta={"zone": "eu-1a"})
        await consul.register(2)
        assert [found.zone for found in await lists.until(ONE, TWO)] == ["eu-1a", None]


@NEEDS_CONSUL
async def test_an_instance_without_an_address_is_at_its_node_and_an_ipv6_one_in_brackets() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address, scheme="https")) as lists:
        await consul.register(1, Address="")
        await consul.register(2, Address="fd00::2")
        await lists.until("https://127.0.0.1:8080", "https://[fd00::2]:8080")


@NEEDS_CONSUL
async def test_an_unknown_data_centre_is_an_error() -> None:
    async with ConsulAgent() as consul, lists_of(provider(consul.address, datacenter="mars")) as lists:
        with pytest.raises(DiscoveryError, match="500 Internal Server Error: No path to datacenter"):
            await lists.next()


@NEEDS_CONSUL
async def test_a_refused_token_takes_no_endpoint_away() -> None:
    async with ConsulAgent(acls=True) as consul:
        rule = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
        await consul.register(1)
        await consul.call("PUT", "/v1/acl/policy", {"Name": "reader", "Rules": rule})
        token = await consul.call("PUT", "/v1/acl/token", {"Policies": [{"Name": "reader"}]})
        async with watching(provider(consul.address, token=token["SecretID"], wait="1s")) as (watch, applied):
            await until(lambda: urls(watch.found) == [ONE])
            await consul.call("DELETE", f"/v1/acl/token/{token['AccessorID']}")
            await until(lambda: "403" in (watch.problem or ""), seconds=8)
            assert urls(watch.found) == [ONE]
            assert len(applied) == 1
            assert token["SecretID"] not in (watch.problem or "")


@NEEDS_CONSUL
async def test_the_token_of_the_environment_counts_when_none_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ConsulAgent(acls=True) as consul:
        await consul.register(1)
        monkeypatch.setenv("CONSUL_HTTP_TOKEN", MASTER)
        monkeypatch.setenv("CONSUL_HTTP_ADDR", consul.address.removeprefix("http://"))
        async with lists_of(Provider(Config(service="users"), PLACE)) as lists:
            await lists.until(ONE)


@NEEDS_CONSUL
async def test_an_agent_that_is_killed_takes_nothing_away_and_is_believed_when_it_is_back() -> None:
    async with ConsulAgent() as consul:
        for number in range(4, 30):
            await consul.register(number)  # so that its index is high, and goes backwards
            await consul.deregister(number)
        await consul.register(1)
        await consul.register(2)
        async with watching(provider(consul.address)) as (watch, _):
            await until(lambda: urls(watch.found) == [ONE, TWO])
            await consul.kill()
            await until(lambda: watch.problem is not None)
            assert urls(watch.found) == [ONE, TWO]
            await consul.start()
            await consul.register(3)
            await until(lambda: urls(watch.found) == [THREE], seconds=5)
            assert watch.problem is None
            await consul.register(1)
            await until(lambda: urls(watch.found) == [ONE, THREE])


# an agent on a bad day


class Fake:
    """Answers with what a test says: an index and the instances for each question."""

    def __init__(self) -> None:
        self.answers: list[tuple[str | None, Any]] = []
        self.questions: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.more: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.Response:
        self.questions.append(dict(request.query))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if len(self.questions) > len(self.answers):
            await never()
        index, data = self.answers[len(self.questions) - 1]
        headers = {**self.more, **({} if index is None else {"X-Consul-Index": index})}
        return web.json_response(data, headers=headers)


@asynccontextmanager
async def fake(*answers: tuple[str | None, Any], unix: Path | None = None) -> AsyncIterator[tuple[Fake, str]]:
    it = Fake()
    it.answers += answers
    app = web.Application()
    app.router.add_get("/v1/health/service/users", it.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        if unix is not None:
            await web.UnixSite(runner, str(unix)).start()
            yield it, f"unix:{unix}"
        else:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield it, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def instance(number: int, **service: Any) -> dict[str, Any]:
    return {
        "Node": {"Address": "10.9.9.9", "Meta": {"zone": "node"}},
        "Service": {"Address": f"10.0.0.{number}", "Port": 8080, **service},
    }


async def test_the_index_of_an_answer_is_waited_for_with_the_time_that_is_configured() -> None:
    settings = {"wait": "90s", "tags": "a", "datacenter": "d", "namespace": "n"}
    answers = ("7", [instance(1)]), ("9", [instance(2)])
    async with fake(*answers) as (it, address), lists_of(provider(address, **settings)) as lists:
        await lists.until(TWO)
        await until(lambda: len(it.questions) == 3)
    common = {"tag": "a", "dc": "d", "ns": "n", "passing": "1"}
    assert it.questions == [common, {**common, "index": "7", "wait": "90s"}, {**common, "index": "9", "wait": "90s"}]


async def test_everything_is_asked_anew_when_the_index_goes_backwards() -> None:
    answers = ("70", [instance(1)]), ("3", [instance(2)]), ("4", [instance(3)])
    async with fake(*answers) as (it, address), lists_of(provider(address)) as lists:
        await lists.until(THREE)
        await until(lambda: len(it.questions) == 4)
    assert [question.get("index") for question in it.questions] == [None, "70", None, "4"]


@pytest.mark.parametrize("index", [None, "0", "-5", "x", ""])
async def test_an_index_that_does_not_block_makes_no_busy_loop(index: str | None) -> None:
    async with fake(*[(index, [instance(1)])] * 50) as (it, address), lists_of(provider(address)) as lists:
        assert urls(await lists.next()) == [ONE]
        await lists.nothing_for(0.4)
    assert 2 <= len(it.questions) <= 3
    assert it.questions[1]["index"] == "1"


@given(st.lists(st.one_of(st.none(), st.integers(-5, 2**64).map(str), st.text(max_size=5)), max_size=20))
def test_an_index_is_never_below_the_last_one_but_for_the_reset(told: list[str | None]) -> None:
    index = 0
    for each in told:
        last, index = index, next_index(index, each)
        assert index == 0 or index >= max(1, last)
        assert (index == 0) == (max(1, int(each) if (each or "").lstrip("-").isdecimal() else 1) < last)


async def test_large_weights_are_brought_into_our_range() -> None:
    weights = [{"Passing": 65535}, {"Passing": 100}, {"Passing": 0}]
    answer = [instance(number, Weights=weight) for number, weight in enumerate(weights, 1)]
    async with fake(("1", answer)) as (_, address), lists_of(provider(address)) as lists:
        assert await lists.next() == [EndpointSpec(ONE, 1000), EndpointSpec(TWO, 1), EndpointSpec(THREE, 0)]


async def test_the_zone_of_the_node_counts_when_the_instance_has_none() -> None:
    answer = [instance(1), instance(2, Meta={"zone": "own"})]
    async with fake(("1", answer)) as (_, address), lists_of(provider(address, zone_meta="zone")) as lists:
        assert [found.zone for found in await lists.next()] == ["node", "own"]


async def test_an_answer_that_lacks_what_the_token_may_not_see_is_not_believed() -> None:
    async with fake(("1", [])) as (it, address), lists_of(provider(address)) as lists:
        it.more["X-Consul-Results-Filtered-By-ACLs"] = "true"
        with pytest.raises(DiscoveryError, match="the token may not read"):
            await lists.next()


@pytest.mark.parametrize("data", [{}, None, [1], [{}], [{"Node": {}, "Service": {}}], [instance(1, Port="x")]])
async def test_an_answer_that_is_none_is_not_believed(data: Any) -> None:
    async with fake(("1", data)) as (_, address), lists_of(provider(address)) as lists:
        with pytest.raises(DiscoveryError, match="Consul's answer about users is no"):
            await lists.next()


async def test_the_token_goes_out_in_its_header_and_nowhere_else() -> None:
    async with fake(("1", [instance(1)])) as (it, address), lists_of(provider(address, token="s3cret")) as lists:
        await lists.next()
    assert it.headers[0]["x-consul-token"] == "s3cret"
    assert "s3cret" not in repr(it.questions)
    assert "s3cret" not in repr(Config(service="users", token="s3cret"))


async def test_consul_may_be_behind_a_unix_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake(*[("1", [instance(1)])] * 9, unix=tmp_path / "c.sock") as (_, address):
        async with lists_of(provider(address)) as lists:
            await lists.until(ONE)
        monkeypatch.setenv("CONSUL_HTTP_ADDR", f"unix://{tmp_path}/c.sock")
        async with lists_of(Provider(Config(service="users"), PLACE)) as lists:
            await lists.until(ONE)


async def test_an_agent_that_does_not_answer_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MARGIN_S", 0.05)
    async with fake() as (_, address), lists_of(provider(address)) as lists:
        with pytest.raises(DiscoveryError, match="did not answer /v1/health/service/users in time"):
            await lists.next()


async def test_an_address_of_the_environment_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "ftp://consul")
    async with lists_of(Provider(Config(service="users"), PLACE)) as lists:
        with pytest.raises(DiscoveryError, match="CONSUL_HTTP_ADDR: "):
            await lists.next()


# settings


def test_a_name_alone_is_short_for_service() -> None:
    assert Config.model_validate("users") == Config(service="users")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"service": ""},
        {"service": "users", "servce": 1},
        {"service": "users", "address": "127.0.0.1:8500"},
        {"service": "users", "wait": "11m"},
        {"service": "users", "wait": "none"},
        {"service": "users", "token": "a\nb"},
        {"service": "users", "token": ""},
        {"service": "users", "scheme": "ftp"},
        {"service": "users", "tls": {"verify": False, "ca": __file__}},
        {"service": "users", "tls": {"key": __file__}},
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)
