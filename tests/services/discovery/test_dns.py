"""Endpoints from DNS, of a real server on loopback: addresses and SRV records, their TTLs, and what is no answer."""

from __future__ import annotations

import asyncio
import re
import select
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from propylon.services.discovery import DiscoveryError, EndpointSpec
from propylon.services.discovery import dns as module
from propylon.services.discovery.dns import Config, Provider
from tests.conftest import BOTH_LOOPS
from tests.support.deadline import PATIENCE, until, within
from tests.support.dnsmasq import Dnsmasq
from tests.support.half_dns import AAAA, SERVFAIL, A, HalfDns
from tests.support.lists import PLACE, lists_of, urls, watching

SRV = "_http._tcp.users.test"


def provider(dns: Dnsmasq | str, name: str = "users.test", **settings: Any) -> Provider:
    resolver = dns if isinstance(dns, str) else dns.address
    if not name.startswith("_") and settings.get("type") != "srv":
        settings.setdefault("port", 8080)
    return Provider(Config(name=name, resolver=resolver, **{"min_ttl": "100ms", **settings}), PLACE)


def srv(target: str, port: int, priority: int = 0, weight: int = 1) -> str:
    return f"--srv-host={SRV},{target},{port},{priority},{weight}"


# addresses


@BOTH_LOOPS
async def test_every_address_is_an_endpoint_and_changes_are_followed() -> None:
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": ["10.0.0.1", "10.0.0.2", "fd00::1"]})
        async with lists_of(provider(dns)) as lists:
            await lists.until("http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://[fd00::1]:8080")
            await dns.tell({"users.test": ["10.0.0.2", "10.0.0.3"]})
            await lists.until("http://10.0.0.2:8080", "http://10.0.0.3:8080")


async def test_one_family_may_be_asked_for() -> None:
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": ["10.0.0.1", "fd00::1"]})
        for family, url in (("ipv4", "https://10.0.0.1:8080"), ("ipv6", "https://[fd00::1]:8080")):
            async with lists_of(provider(dns, family=family, scheme="https")) as lists:
                assert urls(await lists.next()) == [url]


async def test_an_alias_is_followed() -> None:
    async with Dnsmasq("--cname=users.test,real.test") as dns:
        await dns.tell({"real.test": ["10.0.0.1"]})
        async with lists_of(provider(dns)) as lists:
            assert urls(await lists.next()) == ["http://10.0.0.1:8080"]


async def test_an_answer_too_long_for_udp_is_read_whole() -> None:
    places = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(600)]
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": places})
        async with lists_of(provider(dns)) as lists:
            assert sorted(urls(await lists.next())) == sorted(f"http://{place}:8080" for place in places)


async def test_of_too_many_addresses_always_the_same_are_used(caplog: pytest.LogCaptureFixture) -> None:
    places = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(1200)]
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": places})
        async with lists_of(provider(dns)) as lists:
            first, second = await lists.next(), await lists.next()
            assert len(first) == module.MAX_RECORDS
            assert first == second
    assert [record.getMessage() for record in caplog.records] == [
        "users: users.test has 1200 records, only 1000 are used"
    ]


# TTLs


async def test_a_ttl_of_nothing_does_not_spin() -> None:
    async with Dnsmasq(ttl=0) as dns:
        await dns.tell({"users.test": ["10.0.0.1"]})
        async with lists_of(provider(dns, min_ttl="1s")) as lists:
            await lists.next()
            await lists.nothing_for(0.3)
            assert dns.queries("users.test") == 1
            await lists.next()


async def test_the_ttl_is_waited_for() -> None:
    async with Dnsmasq(ttl=1) as dns:
        await dns.tell({"users.test": ["10.0.0.1"]})
        async with lists_of(provider(dns)) as lists:
            await lists.next()
            await dns.tell({"users.test": ["10.0.0.2"]})
            await lists.nothing_for(0.5)
            await lists.until("http://10.0.0.2:8080")


async def test_a_long_ttl_is_max_ttl() -> None:
    async with Dnsmasq(ttl=3600) as dns:
        await dns.tell({"users.test": ["10.0.0.1"]})
        async with lists_of(provider(dns, max_ttl="200ms")) as lists:
            await lists.next()
            await dns.tell({"users.test": ["10.0.0.2"]})
            await lists.until("http://10.0.0.2:8080")


# what is no answer


async def test_a_name_that_is_gone_takes_nothing_away() -> None:
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": ["10.0.0.1"]})
        async with watching(provider(dns)) as (watch, applied):
            await until(lambda: watch.found is not None)
            await dns.tell({"others.test": ["10.0.0.9"]})
            await until(lambda: watch.problem is not None)
            assert watch.problem == "users.test: no such name, or it has no address of the family any"
            assert urls(watch.found) == ["http://10.0.0.1:8080"]
            await dns.tell({"users.test": ["10.0.0.1"]})
            await until(lambda: watch.problem is None)
            assert len(applied) == 1


async def test_a_server_that_is_killed_takes_nothing_away_and_is_asked_again_when_it_is_back() -> None:
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": ["10.0.0.1"]})
        async with watching(provider(dns)) as (watch, _):
            await until(lambda: watch.found is not None)
            await dns.stop()
            await until(lambda: watch.problem is not None, seconds=9)
            assert urls(watch.found) == ["http://10.0.0.1:8080"]
            async with Dnsmasq(port=dns.port) as back:
                await back.tell({"users.test": ["10.0.0.2"]})
                await until(lambda: urls(watch.found) == ["http://10.0.0.2:8080"], seconds=9)


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_TIMEOUT_S", 0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        async with lists_of(provider(f"127.0.0.1:{mute.getsockname()[1]}")) as lists:
            with pytest.raises(DiscoveryError, match=r"users\.test, IPv[46] addresses: "):
                await lists.next()


async def test_a_round_of_queries_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        async with within(1, "the end of the round"), lists_of(provider(f"127.0.0.1:{mute.getsockname()[1]}")) as lists:
            with pytest.raises(DiscoveryError, match=r"no complete answer within 0\.05 s"):
                await lists.next()


@BOTH_LOOPS
@pytest.mark.parametrize("failing", [SERVFAIL, None], ids=["fails", "is silent"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_what_one_family_has_serves_while_the_other_one_fails(
    failing: int | None, family: str, caplog: pytest.LogCaptureFixture
) -> None:
    four, six = "http://10.0.0.1:8080", "http://[fd00::1]:8080"
    there, other = (six, "ipv6") if family == "IPv4" else (four, "ipv4")
    async with HalfDns(["10.0.0.1"], ["fd00::1"]) as dns:
        answers = dict(dns.answers)
        kind = A if family == "IPv4" else AAAA
        dns.answers[kind] = failing
        async with within(2, "the first list"), watching(provider(dns.address)) as (watch, _):
            await until(lambda: watch.found is not None)
            assert urls(watch.found) == [there]
            assert watch.problem is None
            [record] = [each for each in caplog.records if each.levelname == "WARNING"]
            assert f"users.test, {family} addresses: " in record.getMessage()
            assert record.getMessage().endswith(f"write 'family: {other}'")
        async with lists_of(provider(dns.address, max_ttl="100ms")) as lists:
            assert urls(await lists.next()) == [there]
            dns.answers.update(answers)
            await lists.until(four, six)
            dns.answers[kind] = failing
            dns.answers[A if kind == AAAA else AAAA] = ["10.0.0.2"] if kind == AAAA else ["fd00::2"]
            await lists.until(*(("http://[fd00::2]:8080", four) if kind == A else ("http://10.0.0.2:8080", six)))


async def test_one_family_that_fails_where_the_other_has_no_address_takes_nothing_away() -> None:
    async with HalfDns([], ["fd00::1"]) as dns, watching(provider(dns.address)) as (watch, _):
        await until(lambda: watch.found is not None)
        dns.answers[AAAA] = SERVFAIL
        await until(lambda: watch.problem is not None)
        assert (watch.problem or "").startswith("users.test, IPv6 addresses: ")
        assert urls(watch.found) == ["http://[fd00::1]:8080"]


# private addresses


async def test_private_answers_are_left_out_when_that_is_asked_for() -> None:
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": ["10.0.0.1", "8.8.8.8", "169.254.169.254", "::1", "2001:4860::8"]})
        async with lists_of(provider(dns, refuse_private=True)) as lists:
            await lists.until("http://8.8.8.8:8080", "http://[2001:4860::8]:8080")
            await dns.tell({"users.test": ["127.0.0.1", "192.168.0.1"]})  # it was rebound
            with pytest.raises(DiscoveryError, match="refused, none of its 2 addresses is public"):
                await lists.until("nothing")


# SRV records


async def test_srv_records_give_port_tier_and_weight_of_each_address() -> None:
    async with Dnsmasq(srv("a.test", 8001, 1, 5), srv("b.test", 8002, 2, 0), srv("b.test", 8003, 1, 7)) as dns:
        await dns.tell({"a.test": ["10.0.0.1"], "b.test": ["10.0.0.2", "fd00::2"]})
        async with lists_of(provider(dns, SRV)) as lists:
            found = await lists.next()
            assert sorted(found, key=lambda each: each.url) == [
                EndpointSpec("http://10.0.0.1:8001", 5, 1),
                EndpointSpec("http://10.0.0.2:8002", 1, 2),
                EndpointSpec("http://10.0.0.2:8003", 7, 1),
                EndpointSpec("http://[fd00::2]:8002", 1, 2),
                EndpointSpec("http://[fd00::2]:8003", 7, 1),
            ]
            await dns.tell({"a.test": ["10.0.0.7"], "b.test": ["10.0.0.2"]})
            await lists.until("http://10.0.0.7:8001", "http://10.0.0.2:8002", "http://10.0.0.2:8003")


async def test_targets_may_keep_their_names() -> None:
    async with Dnsmasq(srv("a.test", 8001, 1, 5)) as dns, lists_of(provider(dns, SRV, resolve=False)) as lists:
        assert await lists.next() == [EndpointSpec("http://a.test:8001", 5, 1)]


async def test_a_target_without_an_address_is_left_out_and_none_at_all_is_an_error() -> None:
    async with Dnsmasq(srv("a.test", 8001), srv("b.test", 8002)) as dns:
        await dns.tell({"a.test": ["10.0.0.1"]})
        async with lists_of(provider(dns, SRV)) as lists:
            assert urls(await lists.next()) == ["http://10.0.0.1:8001"]
            await dns.tell({"c.test": ["10.0.0.3"]})
            with pytest.raises(DiscoveryError, match="its targets: no such name"):
                await lists.until("nothing")


async def test_the_target_of_a_dot_says_that_there_are_none() -> None:
    async with Dnsmasq(f"--srv-host={SRV}") as dns, lists_of(provider(dns, SRV)) as lists:
        assert await lists.next() == []


async def test_a_name_without_srv_records_is_an_error() -> None:
    async with Dnsmasq() as dns:
        await dns.tell({"users.test": ["10.0.0.1"]})
        for name in (SRV, "users.test"):
            async with lists_of(provider(dns, name, type="srv")) as lists:
                with pytest.raises(DiscoveryError, match=re.escape(name)):
                    await lists.next()


async def test_srv_records_that_change_are_followed() -> None:
    async with Dnsmasq(srv("a.test", 8001)) as dns, watching(provider(dns, SRV)) as (watch, _):
        await dns.tell({"a.test": ["10.0.0.1"]})
        await until(lambda: urls(watch.found) == ["http://10.0.0.1:8001"])
        await dns.stop()
        async with Dnsmasq(srv("a.test", 8009), port=dns.port) as back:
            await back.tell({"a.test": ["10.0.0.1"]})
            await until(lambda: urls(watch.found) == ["http://10.0.0.1:8009"], seconds=9)


async def test_many_srv_records_are_read_whole() -> None:
    records = [srv(f"host-{number}.test", 8000 + number, weight=number) for number in range(200)]
    async with Dnsmasq(*records) as dns:
        await dns.tell({f"host-{number}.test": [f"10.0.0.{number + 1}"] for number in range(200)})
        async with lists_of(provider(dns, SRV)) as lists:
            found = await lists.next(2 * PATIENCE)
            assert len(found) == 200
            assert EndpointSpec("http://10.0.0.200:8199", 199) in found


@given(st.lists(st.integers(0, 65535), min_size=1))
def test_weights_come_into_our_range_and_keep_their_order(weights: list[int]) -> None:
    scaled = [module._weight(weight, max(weights)) for weight in weights]
    assert all(1 <= weight <= 1000 for weight in scaled)
    assert sorted(scaled) == [module._weight(weight, max(weights)) for weight in sorted(weights)]
    if max(weights) <= 1000:
        assert scaled == [max(1, weight) for weight in weights]


# the end


async def test_the_end_of_a_watch_leaves_no_query_behind() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        before = len(asyncio.all_tasks())
        async with lists_of(provider(f"127.0.0.1:{mute.getsockname()[1]}")) as _:
            await until(lambda: bool(select.select([mute], [], [], 0)[0]), "the query")
        await until(lambda: len(asyncio.all_tasks()) == before, "the end of its Tasks")


# settings


def test_srv_records_are_asked_for_when_the_name_begins_with_an_underscore() -> None:
    assert Config(name=SRV).is_srv
    assert not Config(name=SRV, type="address", port=80).is_srv
    assert not Config(name="users.test.", port=80).is_srv
    assert Config(name="users.test", type="srv").is_srv


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "users.test"}, "'port' is missing"),
        ({"name": SRV, "port": 80}, "'port' is of no use"),
        ({"name": "10.0.0.1", "port": 80}, "an address needs no discovery"),
        ({"name": "http://users.test", "port": 80}, "not a DNS name"),
        ({"name": "users.test:80", "port": 80}, "not a DNS name"),
        ({"name": "", "port": 80}, "not a DNS name"),
        ({"name": "a" * 64, "port": 80}, "not a DNS name"),
        ({"name": "a." * 130 + "test", "port": 80}, "not a DNS name"),
        ({"name": "users.test", "port": 0}, "greater than or equal to 1"),
        ({"name": "users.test", "port": 80, "resolve": False}, "'resolve: false' is for SRV records"),
        ({"name": SRV, "resolve": False, "refuse_private": True}, "'refuse_private' needs the addresses"),
        ({"name": SRV, "min_ttl": "1m", "max_ttl": "1s"}, "longer than 'max_ttl'"),
        ({"name": SRV, "min_ttl": 0}, "greater than or equal to 0.1"),
        ({"name": SRV, "resolver": "dns.test"}, "not the address of a DNS server"),
        ({"name": SRV, "tpye": "srv"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        Config.model_validate(settings)
