"""Names: how long answers are kept, who waits for them, what a failing DNS costs; security case 58."""

import asyncio
import ipaddress
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from propylon.outbound.dns import Resolution, ResolveError
from propylon.outbound.resolve import MAX_ADDRESSES, MAX_BACKGROUND, MAX_NAMES, STALE_S, Resolver, is_public
from tests.support.clock import HeldClock
from tests.support.half_dns import AAAA, SERVFAIL, A, HalfDns
from tests.support.ports import free_port

DNSMASQ = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")


class FakeDns:
    """Answers from a dict; counts; waits for `gate` if that is closed."""

    def __init__(self) -> None:
        self.answers: dict[str, Resolution | str] = {}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, host: str) -> Resolution:
        self.asked.append(host)
        await self.gate.wait()
        answer = self.answers.get(host, "not found")
        if isinstance(answer, str):
            raise ResolveError(answer)
        return answer


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
async def dns() -> FakeDns:
    return FakeDns()


@pytest.fixture
def resolver(clock: HeldClock, dns: FakeDns) -> Resolver:
    return Resolver(None, 1.0, 300.0, clock, dns)


async def addresses(resolver: Resolver, host: str = "a.test") -> list[str]:
    return [str(info[4][0]) for info in await resolver.resolve(host, 80)]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))),
        ("::1", (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 80, 0, 0))),
    ],
)
async def test_an_address_is_its_own_answer(resolver: Resolver, dns: FakeDns, host: str, expected: object) -> None:
    assert await resolver.resolve(host, 80) == [expected]
    assert dns.asked == []


async def test_both_families_are_given_in_the_order_of_the_answer(resolver: Resolver, dns: FakeDns) -> None:
    dns.answers["a.test"] = Resolution(("2001:db8::1", "192.0.2.1"), 60)
    assert [info[0] for info in await resolver.resolve("a.test", 80)] == [socket.AF_INET6, socket.AF_INET]


@pytest.mark.parametrize(
    ("ttl", "kept"),
    [
        pytest.param(0, 1.0, id="case 58: 0 TTL is the least"),
        pytest.param(60, 60.0, id="the answer's own"),
        pytest.param(86400, 300.0, id="no longer than the most"),
    ],
)
async def test_an_answer_is_kept_for_its_ttl_within_bounds(
    resolver: Resolver, dns: FakeDns, clock: HeldClock, ttl: float, kept: float
) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), ttl)
    await addresses(resolver)
    dns.answers["a.test"] = Resolution(("192.0.2.2",), ttl)
    clock.now += kept - 0.01
    assert await addresses(resolver) == ["192.0.2.1"]
    clock.now += 0.02
    assert await addresses(resolver) == ["192.0.2.2"]
    assert len(dns.asked) == 2


async def test_addresses_that_are_not_public_are_left_out_if_so_configured(dns: FakeDns, clock: HeldClock) -> None:
    """Case 58, rebinding: whoever controls a name cannot point the gateway at what stands beside it."""
    resolver = Resolver(None, 1.0, 300.0, clock, dns, refuse_private=True)
    private = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1")
    dns.answers["a.test"] = Resolution((*private, "8.8.8.8", "2606:4700::1111"), 60)
    assert await addresses(resolver) == ["8.8.8.8", "2606:4700::1111"]
    dns.answers["b.test"] = Resolution(private, 60)
    with pytest.raises(ResolveError, match="no public address"):
        await addresses(resolver, "b.test")


async def test_callers_at_the_same_time_share_one_lookup(resolver: Resolver, dns: FakeDns) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    dns.gate.clear()
    callers = [asyncio.create_task(addresses(resolver)) for _ in range(5)]
    await settle()
    assert repr(resolver) == "<Resolver 1 names, 1 being asked for>"
    dns.gate.set()
    assert await asyncio.gather(*callers) == [["192.0.2.1"]] * 5
    assert len(dns.asked) == 1


async def test_a_caller_who_leaves_does_not_end_the_lookup_of_the_others(resolver: Resolver, dns: FakeDns) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    dns.gate.clear()
    leaver, stayer = (asyncio.create_task(addresses(resolver)) for _ in range(2))
    await settle()
    leaver.cancel()
    await settle()
    assert leaver.cancelled()
    dns.gate.set()
    assert await stayer == ["192.0.2.1"]
    assert len(dns.asked) == 1


async def test_a_failure_is_remembered_for_a_second(resolver: Resolver, dns: FakeDns, clock: HeldClock) -> None:
    for _ in range(3):
        with pytest.raises(ResolveError, match=r"a\.test: not found"):
            await addresses(resolver)
    assert len(dns.asked) == 1
    clock.now += 1.01
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    assert await addresses(resolver) == ["192.0.2.1"]


async def test_case_58_an_empty_answer_is_a_failure(resolver: Resolver, dns: FakeDns) -> None:
    dns.answers["a.test"] = Resolution((), 60)
    with pytest.raises(ResolveError, match="no address"):
        await addresses(resolver)


async def test_case_58_the_last_good_answer_is_kept_while_lookups_fail(
    resolver: Resolver, dns: FakeDns, clock: HeldClock
) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    await addresses(resolver)
    del dns.answers["a.test"]
    for _ in range(3):
        clock.now += 61
        assert await addresses(resolver) == ["192.0.2.1"]
        await settle()
    assert len(dns.asked) == 4
    clock.now += STALE_S
    with pytest.raises(ResolveError, match="not found"):
        await addresses(resolver)


async def test_rfc8767_5_a_dns_that_is_silent_holds_nobody_up_who_has_a_stale_answer(
    resolver: Resolver, dns: FakeDns, clock: HeldClock
) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    await addresses(resolver)
    dns.gate.clear()
    clock.now += 61
    first = asyncio.create_task(addresses(resolver))
    await settle()
    clock.now += 0.25
    assert await asyncio.wait_for(addresses(resolver), 0.1) == ["192.0.2.1"]
    assert await first == ["192.0.2.1"]
    await resolver.close()


async def test_dns_that_recovers_is_listened_to_again(resolver: Resolver, dns: FakeDns, clock: HeldClock) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    await addresses(resolver)
    dns.answers["a.test"] = "refused"
    clock.now += 61
    await addresses(resolver)
    dns.answers["a.test"] = Resolution(("192.0.2.2",), 60)
    clock.now += 2
    await addresses(resolver)
    await settle()
    assert await addresses(resolver) == ["192.0.2.2"]


# without waiting


async def test_the_last_addresses_are_at_hand_and_asked_for_again_when_their_ttl_is_over(
    resolver: Resolver, dns: FakeDns, clock: HeldClock
) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    assert resolver.current("a.test") == ()
    await settle()
    assert resolver.current("a.test") == ("192.0.2.1",)
    clock.now += 59.9
    dns.answers["a.test"] = Resolution(("192.0.2.2",), 60)
    assert resolver.current("a.test") == ("192.0.2.1",)
    await settle()
    assert len(dns.asked) == 1
    clock.now += 0.2
    assert resolver.current("a.test") == ("192.0.2.1",)
    await settle()
    assert resolver.current("a.test") == ("192.0.2.2",)
    assert len(dns.asked) == 2


async def test_while_dns_fails_the_last_addresses_are_the_current_ones(
    resolver: Resolver, dns: FakeDns, clock: HeldClock
) -> None:
    dns.answers["a.test"] = Resolution(("192.0.2.1",), 60)
    await addresses(resolver)
    dns.answers["a.test"] = "refused"
    for _ in range(3):
        clock.now += STALE_S
        assert resolver.current("a.test") == ("192.0.2.1",)
        await settle()
    assert len(dns.asked) == 4


async def test_lookups_that_nobody_waits_for_are_bounded_and_evict_no_name(dns: FakeDns, clock: HeldClock) -> None:
    resolver = Resolver(None, 1.0, 300.0, clock, dns)
    dns.gate.clear()
    for number in range(MAX_NAMES + 1):
        assert resolver.current(f"n{number}") == ()
    await settle()
    assert repr(resolver) == f"<Resolver {MAX_NAMES} names, {MAX_BACKGROUND} being asked for>"
    await resolver.close()
    assert resolver.current("n0") == resolver.current("more") == ()
    assert repr(resolver) == f"<Resolver {MAX_NAMES} names, 0 being asked for>"


# one family that fails


async def test_a_family_that_fails_keeps_its_last_addresses_and_is_asked_again_soon(
    resolver: Resolver, dns: FakeDns, clock: HeldClock, caplog: pytest.LogCaptureFixture
) -> None:
    dns.answers["a.test"] = Resolution(("2001:db8::1", "192.0.2.1"), 60)
    await addresses(resolver)
    for number in (2, 3):
        clock.now += 61
        found = (f"192.0.2.{number}",)
        dns.answers["a.test"] = Resolution(found, 60, socket.AF_INET6, "IPv6 addresses: refused")
        resolver.current("a.test")
        await settle()
        assert await addresses(resolver) == ["2001:db8::1", *found]
    assert [record.getMessage() for record in caplog.records] == [
        "a.test: IPv6 addresses: refused; the other addresses serve"
    ]
    clock.now += 5
    dns.gate.clear()  # it is asked again, and nobody waits for that
    assert await asyncio.wait_for(addresses(resolver), 0.1) == ["2001:db8::1", "192.0.2.3"]
    clock.now += STALE_S
    dns.gate.set()
    await settle()
    resolver.current("a.test")
    await settle()
    clock.now += 5.1
    resolver.current("a.test")
    await settle()
    assert await addresses(resolver) == ["192.0.2.3"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("failing", [SERVFAIL, None], ids=["fails", "is silent"])
def test_what_one_family_has_does_not_wait_for_the_other(
    run: Callable[[Awaitable[None]], None], failing: int | None
) -> None:
    async def main() -> None:
        async with HalfDns(["192.0.2.1"], failing) as server:
            resolver = Resolver([server.address], 1.0, 300.0, HeldClock())
            async with asyncio.timeout(1.5):
                assert await addresses(resolver, "a.test") == ["192.0.2.1"]
            await resolver.close()

    run(main())


async def test_that_there_is_no_address_is_not_believed_for_longer_than_a_second() -> None:
    """c-ares keeps it for an hour, if the answer has no SOA record."""
    clock = HeldClock()
    async with HalfDns(["192.0.2.1"], [], ttl=1) as server:
        resolver = Resolver([server.address], 1.0, 300.0, clock)
        assert await addresses(resolver, "a.test") == ["192.0.2.1"]
        server.answers.update({AAAA: ["2001:db8::1"], A: []})
        clock.now += 1
        assert await addresses(resolver, "a.test") == ["2001:db8::1"]
        await resolver.close()


async def test_case_58_a_thousand_addresses_are_cut(resolver: Resolver, dns: FakeDns) -> None:
    dns.answers["a.test"] = Resolution(tuple(f"10.0.{n // 256}.{n % 256}" for n in range(1000)), 60)
    assert len(await addresses(resolver)) == MAX_ADDRESSES


async def test_the_names_remembered_are_bounded(resolver: Resolver, dns: FakeDns) -> None:
    for number in range(MAX_NAMES + 5):
        dns.answers[f"n{number}"] = Resolution(("192.0.2.1",), 60)
        await addresses(resolver, f"n{number}")
    assert repr(resolver) == f"<Resolver {MAX_NAMES} names, 0 being asked for>"


async def test_more_names_than_the_bound_at_once_fail_instead_of_growing(resolver: Resolver, dns: FakeDns) -> None:
    dns.gate.clear()
    callers = [asyncio.create_task(addresses(resolver, f"n{number}")) for number in range(MAX_NAMES)]
    await settle()
    with pytest.raises(ResolveError, match="being asked for already"):
        await addresses(resolver, "one-more")
    await resolver.close()
    assert all(isinstance(result, ResolveError) for result in await asyncio.gather(*callers, return_exceptions=True))


async def test_closing_ends_the_waiting(resolver: Resolver, dns: FakeDns) -> None:
    dns.gate.clear()
    caller = asyncio.create_task(addresses(resolver))
    await settle()
    await resolver.close()
    with pytest.raises(ResolveError, match="given up"):
        await caller


def test_the_dns_library_is_imported_with_the_first_name() -> None:
    program = (
        "import asyncio, sys, time\n"
        "from propylon.outbound.resolve import Resolver\n"
        "async def main():\n"
        "    resolver = Resolver(None, 1.0, 300.0, time.monotonic)\n"
        "    await resolver.resolve('127.0.0.1', 80)\n"
        "    assert 'aiodns' not in sys.modules and 'pycares' not in sys.modules\n"
        "    await resolver.resolve('localhost', 80)\n"
        "    assert 'aiodns' in sys.modules\n"
        "    await resolver.close()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def dns_server() -> Iterator[str]:
    """A real DNS server on loopback that knows `both.test` and `four.test`, and that `gone.test` isn't there."""
    if DNSMASQ is None:
        pytest.fail("this test needs a DNS server: install dnsmasq (Debian: apt-get install dnsmasq-base)")
    port = free_port()
    process = subprocess.Popen(
        [
            DNSMASQ, "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
            f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--local-ttl=33",
            "--host-record=both.test,127.0.0.5,::1,7", "--host-record=four.test,127.0.0.6", "--address=/gone.test/",
            "--local=/test/", "--host-record=refused.net,127.0.0.7",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if "started" in line:
                break
        else:
            pytest.fail(f"dnsmasq did not start: {said}")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_real_dns_is_asked_for_both_families_and_heeds_ttls(
    run: Callable[[Awaitable[None]], None], dns_server: str
) -> None:
    async def main() -> None:
        clock = HeldClock()
        resolver = Resolver([dns_server], 1.0, 20.0, clock)
        try:
            assert sorted(await addresses(resolver, "both.test")) == ["127.0.0.5", "::1"]
            assert await addresses(resolver, "four.test") == ["127.0.0.6"]
            assert {name: known.expires - clock.now for name, known in resolver._names.items()} == {
                "both.test": 7.0,
                "four.test": 20.0,
            }
            clock.now += 21
            assert await addresses(resolver, "four.test") == ["127.0.0.6"]
            assert "127.0.0.1" in await addresses(resolver, "localhost")
            assert await addresses(resolver, "refused.net") == ["127.0.0.7"]  # its AAAA query is refused
            assert resolver._names["refused.net"].expires == clock.now + 5.0
            for name in ("gone.test", "a" * 64 + ".test", "b\u00fcro.test"):
                with pytest.raises(ResolveError, match=name):
                    await addresses(resolver, name)
        finally:
            await resolver.close()

    run(main())


async def test_dns_servers_that_are_none_are_named() -> None:
    resolver = Resolver(["not-an-address"], 1.0, 300.0, HeldClock())
    with pytest.raises(ResolveError, match="not-an-address"):
        await resolver.resolve("a.test", 80)
    await resolver.close()


async def test_a_dns_server_that_is_not_there_fails_the_lookup() -> None:
    resolver = Resolver([f"127.0.0.1:{free_port()}"], 1.0, 300.0, HeldClock())
    with pytest.raises(ResolveError, match=r"a\.test: "):
        await resolver.resolve("a.test", 80)
    await resolver.close()


# which addresses are public

PRIVATE = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 169.254.1.1 172.16.0.1 192.168.1.1 224.0.0.1 255.255.255.255
:: ::1 fe80::1 fd00::1 ff0e::1 ::ffff:10.0.0.1 2002:a00:1:: 64:ff9b::a00:1
"""
PUBLIC = "8.8.8.8 2001:4860::1 ::ffff:8.8.8.8 2002:808:808:: 64:ff9b::808:808"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
