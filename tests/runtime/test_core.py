"""A gateway without listeners: exchanges begin, time passes, a snapshot follows another, all without a socket."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any, cast

import pytest

from propylon import Gateway
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.snapshot import ClientTimeouts, Snapshot
from propylon.http.refusal import Refusal
from propylon.http.request_id import is_safe
from propylon.outbound.resolve import Resolver
from propylon.runtime.core import POOL_SWEEP_SECONDS, Core
from propylon.services.health_check import Checker
from tests.support.clock import HeldClock
from tests.support.deadline import settle, within
from tests.support.fakes import FakeClient, FakeEndpoint, FakePool, FakeUpstream, snapshot


def begin(
    core: Core, path: bytes = b"/users/7", *lines: bytes, client: FakeClient | None = None, version: bytes = b"1.1"
) -> Exchange:
    """Begin an exchange as a client side does once it has read a head."""
    reader = core.snapshot.reader
    section = b"".join(line + b"\r\n" for line in (lines or (b"host: a.example",)))
    line = reader.lines[b"GET " + path + b" HTTP/" + version]
    return core.begin(client or FakeClient(), line, reader.sections[section])


def compiled(**service: Any) -> Snapshot:
    keys = {"endpoints": ["http://192.0.2.1:3001"]} | service
    return Gateway().service("users", **keys).route("/*", service="users").compiled()


def taken(*snapshots: Snapshot, clock: HeldClock | None = None) -> Core:
    """A core that has taken one snapshot after the other."""
    core = Core(snapshots[0], clock or HeldClock())
    for each in snapshots:
        core.take(each)
    return core


def endpoint(core: Core) -> Any:
    return core.directory.services["users"].endpoints[0]


def test_it_needs_no_listener_and_no_connection_of_a_client() -> None:
    code = "import sys, propylon.runtime.core; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "propylon.runtime.core" in loaded
    assert [name for name in loaded if name.startswith(("propylon.inbound", "propylon.runtime.worker"))] == []


# exchanges


def test_an_exchange_begins_and_ends_without_a_socket_and_without_an_event_loop() -> None:
    upstream, client = FakeUpstream(), FakeClient()
    core = Core(snapshot(endpoint=FakeEndpoint(upstream)))
    x = begin(core, client=client)
    x.start(forward(x))
    upstream.answer(body=b"seven")
    assert (x.status, client.body, client.done) == (200, b"seven", [x])
    assert x.snapshot is core.snapshot


def test_an_exchange_has_the_id_its_client_gave_or_a_new_one() -> None:
    core = Core(snapshot())
    assert begin(core, b"/", b"host: a", b"x-request-id: theirs").id == b"theirs"
    ids = {begin(core).id for _ in range(1000)} | {core.refused(FakeClient(), GatewayError("read.bad_host")).id}
    assert len(ids) == 1001
    assert all(map(is_safe, ids))


def test_the_host_of_an_exchange_is_the_one_of_its_target_or_of_its_host_field() -> None:
    core = Core(snapshot())
    for path in (b"/", b"http://a.example/"):
        host = begin(core, path).host
        assert host is not None
        assert host.name == b"a.example"
    assert begin(core, b"/", b"accept: */*", version=b"1.0").host is None
    with pytest.raises(Refusal, match="differ"):
        begin(core, b"http://b.example/")


def test_a_request_that_has_been_here_is_refused_as_a_loop() -> None:
    core = Core(snapshot(pseudonym=b"front"))
    assert begin(core, b"/", b"host: a", b"via: 1.1 other").refusal is None
    again = begin(core, b"/", b"host: a", b"via: 1.1 front")
    assert again.refusal is not None
    assert again.refusal.code == "admit.loop"


def test_what_could_not_be_read_is_answered_like_any_other() -> None:
    client = FakeClient()
    x = Core(snapshot()).refused(client, GatewayError("read.line_too_long"))
    x.start(forward(x))
    assert (x.status, client.done) == (414, [x])


# one snapshot after the other


def test_an_exchange_under_way_finishes_on_the_snapshot_it_began_with() -> None:
    core = taken(compiled())
    upstreams = [FakeUpstream(), FakeUpstream()]
    pool = endpoint(core).pool = cast("Any", FakePool(kept=upstreams, new=()))
    old = core.snapshot
    first = begin(core)
    first.start(forward(first))
    core.take(compiled(slow_start="1s"))
    second = begin(core)
    second.start(forward(second))
    assert first.snapshot is old
    assert second.snapshot is core.snapshot is not old
    for upstream in upstreams:
        upstream.answer()
    assert (first.status, second.status) == (200, 200)
    assert endpoint(core).pool is pool, "connections outlive the snapshot"


def test_a_snapshot_brings_and_takes_away_services() -> None:
    core = taken(compiled())
    pool = endpoint(core).pool
    core.take(Gateway().service("orders", ["http://192.0.2.2:1"]).route("/*", service="orders").compiled())
    assert list(core.directory.services) == ["orders"]
    assert not pool.max_idle


async def test_names_are_asked_for_by_the_rules_of_the_snapshot() -> None:
    def asking(server: str) -> Snapshot:
        return Gateway(dns={"servers": [server]}).route("/*", respond="x").compiled()

    core = taken(asking("127.0.0.1:1"), asking("127.0.0.1:1"))
    old = core.directory.resolver
    core.take(asking("127.0.0.1:2"))
    assert core.directory.resolver is not old
    await core.stop()


async def test_preparing_a_snapshot_changes_nothing_but_waits_for_its_endpoints() -> None:
    async def found() -> Any:
        yield ["http://192.0.2.3:3001"]

    core = taken(compiled())
    old, other = core.snapshot, compiled(endpoints=(), discover={"python": found})
    await core.prepare(other)
    assert core.snapshot is old
    assert endpoint(core).url == "http://192.0.2.1:3001"
    core.take(other)
    assert endpoint(core).url == "http://192.0.2.3:3001"
    await core.stop()


# time


def test_a_sweep_looks_at_kept_connections_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HeldClock()
    core = taken(compiled(), clock=clock)
    swept: list[float] = []
    monkeypatch.setattr(type(endpoint(core).pool), "sweep", lambda self, now: swept.append(now))
    for _ in range(50):
        core.sweep(clock.now)
        clock.now += 0.125
    assert swept == [1000.0 + POOL_SWEEP_SECONDS * n for n in range(7)]


def test_a_sweep_brings_an_endpoint_back_whose_ejection_is_over() -> None:
    clock = HeldClock()
    core = taken(compiled(health={"passive": {"consecutive": 1, "eject": "10s"}}), clock=clock)
    vitals = endpoint(core).vitals
    upstream, pool = FakeUpstream(), endpoint(core).pool
    endpoint(core).pool = cast("Any", FakePool(kept=[upstream], new=()))
    x = begin(core)
    x.start(forward(x))
    upstream.fail("attempt.closed")
    endpoint(core).pool = pool
    assert vitals.ejection.until
    core.sweep(vitals.ejection.until - 0.1)
    assert vitals.ejection.until
    core.sweep(vitals.ejection.until)
    assert not vitals.ejection.until


async def test_health_is_checked_by_sweeps_and_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    async def well(self: Checker) -> None:
        checked.append("checked")

    monkeypatch.setattr(Checker, "run", well)
    clock = HeldClock()
    core = taken(compiled(health={"path": "/healthz", "interval": "5s"}), clock=clock)
    clock.now += 60
    await settle()
    assert checked == []
    core.sweep(clock.now)
    await settle()
    assert checked == ["checked"]
    await core.stop()


# the end


async def test_draining_waits_for_the_client_side_and_then_for_async_on_done_hooks() -> None:
    gate, done = asyncio.Event(), asyncio.Event()

    async def on_done(x: Exchange) -> None:
        await done.wait()

    upstream = FakeUpstream()
    policy = type("Late", (), {"on_done": staticmethod(on_done)})()
    core = Core(snapshot(policy, endpoint=FakeEndpoint(upstream)))
    x = begin(core)
    x.start(forward(x))

    async def emptied() -> None:
        await gate.wait()

    core.drain()
    assert core.draining
    draining = asyncio.ensure_future(core.drained(emptied()))
    for let in (gate.set, done.set):
        await settle()
        assert not draining.done()
        upstream.answer()
        let()
    async with within(2, "the core is drained"):
        await draining
    assert x.finished


async def test_draining_waits_for_the_drain_time_at_the_most() -> None:
    core = Core(snapshot(client_timeouts=ClientTimeouts(drain=0.01)))
    async with within(2, "the drain time is over"):
        await core.drained(asyncio.Event().wait())


async def test_stopping_closes_what_leads_to_endpoints_and_may_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Resolver] = []

    async def close(self: Resolver) -> None:
        closed.append(self)

    monkeypatch.setattr(Resolver, "close", close)
    core = taken(compiled())
    pool = endpoint(core).pool
    await core.stop()
    await core.stop()
    assert pool.closed
    assert closed == [core.directory.resolver] * 2


async def test_policies_are_at_work_from_the_snapshot_that_has_them_until_the_core_stops() -> None:
    seen: list[str] = []

    class Noted:
        def start(self) -> None:
            seen.append("start")

        def on_request(self, x: Exchange) -> None:
            pass

        async def close(self) -> None:
            seen.append("close")

    core, policy = taken(compiled()), Noted()
    other = Gateway(policies=[policy]).route("/*", respond="x").compiled()
    await core.policies.start(other)
    assert (seen, core.policies.current) == (["start"], ())
    core.take(other)
    assert [placed.policy for placed in core.policies.current][:1] == [policy]
    assert core.policies.snapshot is core.snapshot is other
    await core.stop()
    await core.stop()
    assert seen == ["start", "close"]
