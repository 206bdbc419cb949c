"""The pool: never more than its limits, first come first served, and every count returns to zero."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Generator
from math import inf
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.retry import RetrySettings
from propylon.engine.timing import Timeouts
from propylon.outbound import pool as module
from propylon.outbound.connect import ConnectError
from propylon.outbound.http1 import EndpointConnection
from propylon.outbound.pool import Lease, Pool, PoolLimits
from tests.support.deadline import settle
from tests.support.fakes import Clock, FakeTransport, exchange

Result = TypeVar("Result")


class Connection:
    """As much of a connection as a pool sees."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.usable = True
        self.lost = False
        self.idle_since = 0.0
        self.retire_at = inf
        self.address = ""

    def close(self) -> None:
        """Close; the pool is told at once, as its room is free."""
        self.tell()

    def tell(self) -> None:
        if not self.lost:
            self.lost = True
            self.usable = False
            self.pool.lost(cast("Any", self))


class Asker:
    """As much of an exchange as a pool sees; takes what it is granted as soon as it is notified."""

    def __init__(self) -> None:
        self.timeouts = Timeouts()
        self.finished = False
        self.expiry = ""
        self.armed: list[tuple[float | None, str]] = []
        self.notified = 0
        self.lease: Lease | None = None

    def arm(self, seconds: float | None, code: str) -> None:
        self.armed.append((seconds, code))
        self.expiry = code

    def disarm(self) -> None:
        self.armed.append((None, ""))

    def notify(self) -> None:
        self.notified += 1

    @property
    def connection(self) -> Connection:
        assert self.lease is not None
        return cast("Connection", self.lease.upstream)


class Endpoint:
    """An opener whose connections open when a test says so."""

    def __init__(self, limits: PoolLimits) -> None:
        self.opening: list[asyncio.Future[None]] = []
        self.timeouts: list[float | None] = []
        self.luck = 0.0
        self.pool = Pool(limits, self._open, lambda: self.luck)  # type: ignore[arg-type]

    async def _open(self, pool: Pool, timeout: float | None) -> Connection:
        self.timeouts.append(timeout)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opening.append(gate)
        await gate
        return Connection(pool)

    async def open(self) -> None:
        """Let the connection that was asked for first open."""
        await settle(2)
        self.opening.pop(0).set_result(None)
        await settle(3)

    async def refuse(self, error: Exception | None = None) -> None:
        """Let it fail."""
        await settle(2)
        self.opening.pop(0).set_exception(error or ConnectError("connect.refused", "10.0.0.7:1 refused"))
        await settle(3)

    def ask(self) -> Asker:
        asker = Asker()
        asker.lease = self.pool.lease(cast("Any", asker))
        return asker

    def take(self, method: bytes = b"GET", now: float = 0.0) -> Connection | None:
        return cast("Any", self.pool.take(asking(method), now))

    def give_back(self, connection: Connection) -> None:
        self.pool.give_back(cast("Any", connection))


def asking(method: bytes = b"GET") -> Any:
    """An exchange without a body."""
    route = SimpleNamespace(retry=RetrySettings())
    return SimpleNamespace(method=method, route=route, service=object(), body=None)


async def opened(endpoint: Endpoint) -> Connection:
    asker = endpoint.ask()
    await endpoint.open()
    return asker.connection


async def test_an_empty_pool_opens_a_connection_and_tells_who_asked() -> None:
    endpoint = Endpoint(PoolLimits())
    assert endpoint.take() is None
    asker = endpoint.ask()
    assert repr(endpoint.pool) == "<Pool open=1 idle=0 waiting=0>"
    await endpoint.open()
    assert asker.notified == 1
    assert asker.connection.usable
    assert endpoint.timeouts == [5.0]


async def test_the_last_one_returned_is_taken_first_and_dead_ones_are_skipped() -> None:
    endpoint = Endpoint(PoolLimits())
    first, second, third = [await opened(endpoint) for _ in range(3)]
    for connection in (first, second, third):
        endpoint.give_back(connection)
    third.usable = False
    assert endpoint.take() is second
    assert endpoint.take() is first
    assert endpoint.take() is None


async def test_who_waits_in_line_is_served_in_order_by_what_is_given_back() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    line = [endpoint.ask() for _ in range(3)]
    assert endpoint.pool.waiting == 3
    assert line[0].armed == [(5.0, "choose.queue_timeout")]
    for asker in line:
        endpoint.give_back(connection)
        assert asker.notified == 0  # not inside the exchange that gives it back
        await settle()
        assert asker.notified == 1
        assert asker.connection is connection
        assert asker.armed[-1] == (None, "")
    assert endpoint.pool.waiting == 0


async def test_a_full_line_refuses() -> None:
    endpoint = Endpoint(PoolLimits(max=1, queue=1))
    endpoint.ask()
    endpoint.ask()
    refused = endpoint.ask().lease
    assert refused is not None
    assert refused.error is not None
    assert refused.error.code == "choose.queue_full"
    assert repr(endpoint.pool) == "<Pool open=1 idle=0 waiting=1>"
    await endpoint.open()


async def test_a_lost_connection_lets_the_first_in_line_open_another() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    first, second = endpoint.ask(), endpoint.ask()
    connection.tell()
    await endpoint.open()
    assert first.connection is not connection
    assert second.notified == 0
    assert repr(endpoint.pool) == "<Pool open=1 idle=0 waiting=1>"


async def test_a_refused_connection_is_told_and_the_next_in_line_tries_itself() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    first, second = endpoint.ask(), endpoint.ask()
    await endpoint.refuse()
    assert first.lease is not None
    assert first.lease.error is not None
    assert (first.lease.error.code, first.lease.error.log) == ("connect.refused", "10.0.0.7:1 refused")
    assert first.notified == 1
    await endpoint.open()
    assert second.connection.usable


async def test_a_withdrawn_lease_never_gets_a_connection_and_another_does() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    gone, waiting = endpoint.ask(), endpoint.ask()
    assert gone.lease is not None
    gone.lease.withdraw()
    assert endpoint.pool.waiting == 1
    endpoint.give_back(connection)
    await settle()
    assert gone.lease.upstream is None
    assert waiting.connection is connection


async def test_the_line_keeps_nothing_of_those_that_withdrew() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    askers = [endpoint.ask() for _ in range(100)]
    assert len(endpoint.pool._queue) == endpoint.pool.waiting == 100
    for asker in askers[1::2] + askers[:50:2]:
        assert asker.lease is not None
        asker.lease.withdraw()
    assert len(endpoint.pool._queue) == endpoint.pool.waiting == 25
    endpoint.give_back(connection)
    await settle()
    assert askers[50].connection is connection


async def test_a_connection_that_rested_unused_is_no_longer_fresh() -> None:
    """The endpoint may have closed it meanwhile, as it may any kept one: a request that fails on it is repeated."""
    endpoint = Endpoint(PoolLimits())
    asker = endpoint.ask()
    assert asker.lease is not None
    asker.lease.withdraw()
    await endpoint.open()
    rested = endpoint.take()
    assert rested is not None
    assert not rested.fresh


async def test_a_connection_that_opens_for_one_that_withdrew_rests() -> None:
    endpoint = Endpoint(PoolLimits())
    asker = endpoint.ask()
    assert asker.lease is not None
    asker.lease.withdraw()
    await endpoint.open()
    assert asker.notified == 0
    assert repr(endpoint.pool) == "<Pool open=1 idle=1 waiting=0>"


async def test_a_connection_given_to_one_that_ended_meanwhile_goes_to_the_next() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    gone, waiting = endpoint.ask(), endpoint.ask()
    endpoint.give_back(connection)
    gone.finished = True
    await settle()
    assert gone.notified == 0
    assert waiting.connection is connection


@types.coroutine
def stalled() -> Generator[None, None, None]:
    """Wait for a step that never comes, as an exchange does whose async `on_error` policy is at work."""
    yield


async def test_a_connection_given_to_one_that_fails_meanwhile_is_not_forgotten() -> None:
    """Between `give_back` and its delivery an exchange may fail, and go on for a while with its error answer."""

    async def way(x: Exchange) -> None:
        try:
            while lease.upstream is None:
                await x.pause()
        except GatewayError:
            lease.withdraw()
            await stalled()

    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    x = exchange()
    lease = endpoint.pool.lease(x)
    x.start(way(x))
    waiting = endpoint.ask()
    assert endpoint.pool.waiting == 2
    endpoint.give_back(connection)
    x.fail(GatewayError("read.body_timeout"))
    await settle()
    assert waiting.connection is connection


async def test_more_than_the_limit_does_not_rest() -> None:
    endpoint = Endpoint(PoolLimits(idle=1))
    kept, closed = await opened(endpoint), await opened(endpoint)
    endpoint.give_back(kept)
    endpoint.give_back(closed)
    assert (kept.usable, closed.usable) == (True, False)
    await settle()
    assert repr(endpoint.pool) == "<Pool open=1 idle=1 waiting=0>"


async def test_what_rested_too_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, module)
    endpoint = Endpoint(PoolLimits(idle_timeout=55.0))
    old, young = await opened(endpoint), await opened(endpoint)
    endpoint.give_back(old)
    clock.now += 10
    endpoint.give_back(young)
    endpoint.pool.sweep(clock.now + 45)
    assert old.usable
    endpoint.pool.sweep(clock.now + 46)
    assert (old.usable, young.usable) == (False, True)
    await settle()
    assert repr(endpoint.pool) == "<Pool open=1 idle=1 waiting=0>"


@pytest.mark.parametrize("turns", [0, 2], ids=["at once", "while it opens"])
async def test_a_closed_pool_keeps_nothing_and_tells_who_waits(turns: int) -> None:
    endpoint = Endpoint(PoolLimits())
    resting, busy = await opened(endpoint), await opened(endpoint)
    endpoint.give_back(resting)
    asker = endpoint.ask()
    await settle(turns)
    endpoint.pool.close()
    assert not resting.usable
    endpoint.give_back(busy)
    assert not busy.usable
    await settle()
    assert repr(endpoint.pool) == "<Pool open=0 idle=0 waiting=0>"
    assert asker.notified == 1
    assert asker.lease is not None
    assert asker.lease.error is not None


async def test_a_retired_pool_closes_what_rests_and_keeps_nothing() -> None:
    endpoint = Endpoint(PoolLimits())
    resting, busy = await opened(endpoint), await opened(endpoint)
    endpoint.give_back(resting)
    endpoint.pool.retire()
    assert (resting.usable, busy.usable) == (False, True)
    endpoint.give_back(busy)
    assert not busy.usable
    await settle()
    assert endpoint.take() is None
    assert repr(endpoint.pool) == "<Pool open=0 idle=0 waiting=0>"


# age, and addresses that are out of date


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, module)


async def test_a_connection_of_the_maximum_age_is_not_used_again(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits(max_age=100.0, idle_timeout=inf))
    connection = await opened(endpoint)
    clock.now += 99.9
    endpoint.give_back(connection)
    endpoint.pool.sweep(clock.now)
    assert cast("Any", endpoint.take()) is connection
    clock.now += 0.1
    endpoint.give_back(connection)
    assert not connection.usable
    await settle()
    assert repr(endpoint.pool) == "<Pool open=0 idle=0 waiting=0>"


async def test_connections_of_one_moment_end_at_different_times(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits(max_age=100.0, idle_timeout=inf))
    old = await opened(endpoint)
    endpoint.luck = 0.5
    young = await opened(endpoint)
    assert (old.retire_at, young.retire_at) == (clock.now + 100, clock.now + 95)


async def test_an_idle_connection_of_the_maximum_age_is_closed_wherever_it_rests(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits(max_age=100.0, idle_timeout=inf))
    old, older = await opened(endpoint), await opened(endpoint)
    clock.now += 50
    young = await opened(endpoint)
    for connection in (young, old, older):
        endpoint.give_back(connection)
    clock.now += 50
    endpoint.pool.sweep(clock.now)
    assert (old.usable, older.usable, young.usable) == (False, False, True)
    clock.now += 50
    endpoint.pool.sweep(clock.now)
    assert not young.usable


async def test_no_maximum_age_is_never(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits(max_age=inf, idle_timeout=inf))
    connection = await opened(endpoint)
    clock.now += 1e9
    endpoint.give_back(connection)
    endpoint.pool.sweep(clock.now)
    assert connection.usable


async def test_connections_to_other_addresses_end_at_once_or_after_their_exchange(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits())
    resting, busy, stays = await opened(endpoint), await opened(endpoint), await opened(endpoint)
    resting.address = busy.address = "10.0.0.1"
    stays.address = "10.0.0.2"
    endpoint.give_back(resting)
    endpoint.give_back(stays)
    assert endpoint.pool.retire_others(("10.0.0.2", "10.0.0.3")) == 2
    assert (resting.usable, busy.usable, stays.usable) == (False, True, True)
    assert endpoint.pool.retire_others(("10.0.0.2", "10.0.0.3")) == 0
    endpoint.give_back(busy)
    assert not busy.usable
    assert cast("Any", endpoint.take()) is stays


async def test_who_waits_gets_a_new_connection_when_one_to_another_address_is_given_back(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    connection.address = "10.0.0.1"
    asker = endpoint.ask()
    endpoint.pool.retire_others(("10.0.0.2",))
    endpoint.give_back(connection)
    await endpoint.open()
    assert asker.connection is not connection
    assert asker.connection.usable
    assert repr(endpoint.pool) == "<Pool open=1 idle=0 waiting=0>"


async def test_a_renewed_pool_keeps_no_connection_from_before_nor_one_that_it_was_opening(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits())
    resting, busy = await opened(endpoint), await opened(endpoint)
    endpoint.give_back(resting)
    asker = endpoint.ask()
    assert endpoint.pool.renew() == 2
    await endpoint.open()
    assert (resting.usable, busy.usable, asker.connection.usable) == (False, True, True)
    endpoint.give_back(busy)
    endpoint.give_back(asker.connection)
    assert (busy.usable, asker.connection.usable) == (False, False)
    new = await opened(endpoint)
    endpoint.give_back(new)
    assert new.usable


# a pool that is given up


async def test_who_waits_in_the_line_of_a_retired_pool_is_served_first_by_what_is_given_back() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    line = [endpoint.ask(), endpoint.ask()]
    endpoint.pool.retire()
    for asker in line:
        endpoint.give_back(connection)
        await settle()
        assert asker.connection is connection
    endpoint.give_back(connection)
    assert not connection.usable


async def test_who_waits_in_the_line_of_a_retired_pool_is_served_by_a_new_connection_too() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    asker = endpoint.ask()
    endpoint.pool.retire()
    connection.tell()
    await endpoint.open()
    assert asker.connection.usable


async def test_what_a_retired_pool_is_opening_is_served_and_not_kept_behind_it() -> None:
    endpoint = Endpoint(PoolLimits())
    served, gone = endpoint.ask(), endpoint.ask()
    endpoint.pool.retire()
    assert gone.lease is not None
    gone.lease.withdraw()
    await endpoint.open()
    await endpoint.open()
    assert served.connection.usable
    await settle()
    assert repr(endpoint.pool) == "<Pool open=1 idle=0 waiting=0>"


async def test_a_retired_pool_still_serves_who_comes_late() -> None:
    """A retry of an exchange that began before may still ask."""
    endpoint = Endpoint(PoolLimits())
    endpoint.pool.retire()
    connection = await opened(endpoint)
    assert connection.usable
    endpoint.give_back(connection)
    assert not connection.usable


class PoolMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, a pool keeps its promises."""

    LIMITS = PoolLimits(max=3, idle=2, queue=3)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.endpoint = Endpoint(self.LIMITS)
        self.pool = self.endpoint.pool
        self.claims: list[Asker] = []  # asked, and nothing decided yet
        self.line: list[Asker] = []  # those that were told to wait, in order
        self.served: list[Asker] = []  # those of the line in the order in which they were served
        self.busy: list[Connection] = []
        self.all: set[Connection] = set()

    def inside(self, action: Callable[[], Result]) -> Result:
        """Do something in a callback of the loop, as everything is done."""

        async def wrapped() -> Result:
            return action()

        return self.loop.run_until_complete(wrapped())

    def run(self) -> None:
        """Let the loop run, then do what notified exchanges do."""
        self.loop.run_until_complete(settle(10))
        for asker in [each for each in self.claims if each.notified]:
            self.claims.remove(asker)
            assert asker.lease is not None
            assert asker.notified == 1
            if asker.lease.upstream is not None:
                self.busy.append(asker.connection)
                self.all.add(asker.connection)
            else:
                assert asker.lease.error is not None

    @rule()
    def ask(self) -> None:
        connection = self.pool.take(asking(), 0.0)
        if connection is not None:
            self.busy.append(cast("Any", connection))
            assert connection.usable
            return
        asker = self.inside(self.endpoint.ask)
        assert asker.lease is not None
        if asker.lease.error is not None:
            assert self.pool.open == self.LIMITS.max
            assert self.pool.waiting == self.LIMITS.queue
        else:
            self.claims.append(asker)
            if asker.lease in self.pool._queue:
                self.line.append(asker)
        self.run()

    @precondition(lambda self: self.endpoint.opening)
    @rule(works=st.booleans())
    def opened(self, works: bool) -> None:
        self.loop.run_until_complete(self.endpoint.open() if works else self.endpoint.refuse())
        self.run()

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        asker = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
        assert asker.lease is not None
        asker.lease.withdraw()
        if asker in self.line:
            self.line.remove(asker)
        self.run()
        assert asker.notified == 0
        assert asker.lease.upstream is None or asker.lease.upstream not in self.busy

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), clean=st.booleans())
    def finish(self, data: st.DataObject, clean: bool) -> None:
        connection = self.busy.pop(data.draw(st.integers(0, len(self.busy) - 1)))
        waiting = [asker for asker in self.line if asker.lease is not None and asker.lease in self.pool._queue]
        if clean:
            self.inside(lambda: self.endpoint.give_back(connection))
            if waiting:
                assert waiting[0].lease is not None
                assert waiting[0].lease.upstream is connection
        else:
            self.inside(connection.tell)
        self.run()

    @rule(seconds=st.sampled_from([0.0, 1e9]))
    def sweep(self, seconds: float) -> None:
        self.inside(lambda: self.pool.sweep(seconds))
        self.run()

    @invariant()
    def limits_are_kept(self) -> None:
        assert 0 <= self.pool.open <= self.LIMITS.max
        assert 0 <= self.pool.idle <= self.LIMITS.idle
        in_line = [asker for asker in self.claims if asker.lease is not None and asker.lease in self.pool._queue]
        assert self.pool.waiting == len(in_line) <= self.LIMITS.queue

    @invariant()
    def every_connection_is_busy_or_rests_or_opens(self) -> None:
        assert len(set(self.busy)) == len(self.busy)
        assert self.pool.open == len(self.busy) + self.pool.idle + len(self.endpoint.opening)

    @invariant()
    def nobody_waits_while_a_connection_rests(self) -> None:
        assert not (self.pool.waiting and self.pool.idle)

    def teardown(self) -> None:
        try:
            self.when_all_is_over_every_count_is_zero_again()
        finally:
            self.loop.close()

    def when_all_is_over_every_count_is_zero_again(self) -> None:
        for asker in self.claims:
            assert asker.lease is not None
            asker.lease.withdraw()
        self.claims.clear()
        while self.endpoint.opening:
            self.loop.run_until_complete(self.endpoint.open())
        self.inside(self.pool.close)
        for connection in self.busy:
            self.inside(lambda connection=connection: self.endpoint.give_back(connection))  # type: ignore[misc]
        self.run()
        assert repr(self.pool) == "<Pool open=0 idle=0 waiting=0>"


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


async def test_who_leaves_the_line_keeps_a_deadline_that_is_not_of_the_line() -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await opened(endpoint)
    asker = endpoint.ask()
    asker.arm(3.0, "head.timeout")
    endpoint.give_back(connection)
    await settle()
    assert asker.connection is connection
    assert asker.armed[-1] == (3.0, "head.timeout")


# idle connections that the endpoint may be about to close


async def idle(endpoint: Endpoint) -> Connection:
    connection = await opened(endpoint)
    endpoint.give_back(connection)
    return connection


async def test_9112_9_3_1_a_request_that_cannot_be_sent_twice_goes_on_no_connection_that_may_be_closing(
    clock: Clock,
) -> None:
    endpoint = Endpoint(PoolLimits())
    connection = await idle(endpoint)
    assert endpoint.take(b"POST", clock.now + 0.7) is connection
    endpoint.give_back(connection)
    assert endpoint.take(b"POST", clock.now + 0.8) is None
    assert connection.usable  # it may carry others
    assert endpoint.take(b"GET", clock.now + 50.0) is connection


async def test_a_connection_that_is_passed_over_gives_its_room_to_a_new_one(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits(max=1))
    connection = await idle(endpoint)
    assert endpoint.take(b"POST", clock.now + 5.0) is None
    asker = endpoint.ask()
    assert not connection.usable
    await endpoint.open()
    assert asker.connection is not connection


async def test_a_connection_that_is_passed_over_gives_its_room_where_nobody_may_wait(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits(max=1, queue=0))
    await idle(endpoint)
    assert endpoint.take(b"POST", clock.now + 5.0) is None
    lease = endpoint.ask().lease
    assert lease is not None
    assert lease.error is None
    await endpoint.open()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_ends_before_it_is_adopted_is_counted_once(reset: bool) -> None:
    made: list[EndpointConnection] = []

    async def opener(pool: Pool, timeout: float | None) -> EndpointConnection:
        connection = EndpointConnection(pool)
        connection.connection_made(cast("Any", FakeTransport()))
        made.append(connection)
        if reset:
            connection.connection_lost(ConnectionResetError())
        else:
            connection.eof_received()
        return connection

    pool = Pool(PoolLimits(max=1), opener)
    pool.lease(cast("Any", Asker()))
    await settle()
    if not reset:
        made[0].connection_lost(None)
    assert pool.open == 0


async def test_what_has_survived_for_longer_is_safe_for_longer(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits())
    connection = await idle(endpoint)
    endpoint.pool.sweep(clock.now + 20.0)
    assert endpoint.take(b"POST", clock.now + 18.0) is connection
    endpoint.give_back(connection)
    endpoint.pool.idle_age.closed(10.0)
    assert endpoint.take(b"POST", clock.now + 9.5) is None


async def test_an_idle_connection_is_closed_before_the_time_that_the_endpoint_tells(clock: Clock) -> None:
    endpoint = Endpoint(PoolLimits())
    endpoint.pool.idle_age.tell(5.0)
    connection = await idle(endpoint)
    endpoint.pool.sweep(clock.now + 3.9)
    assert connection.usable
    assert endpoint.take(b"POST", clock.now + 3.9) is connection
    endpoint.give_back(connection)
    endpoint.pool.sweep(clock.now + 4.1)
    assert not connection.usable
