"""The coroutine of an exchange: stepped by callbacks, never lost, failed once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from tests.support.fakes import FakeClient, exchange

GONE = GatewayError("relay.client_gone")
LATE = GatewayError("head.timeout")


def started(way: Callable[[Exchange], Coroutine[Any, Any, None]]) -> tuple[Exchange, FakeClient]:
    client = FakeClient()
    x = exchange(client=client)
    x.start(way(x))
    return x, client


async def until(x: Exchange, ready: Callable[[], bool]) -> None:
    while not ready():
        await x.pause()


def test_it_goes_on_inside_the_call_that_notifies() -> None:
    log: list[str] = []
    flags = {"ready": False}

    async def way(x: Exchange) -> None:
        await until(x, lambda: flags["ready"])
        log.append("went on")

    x, client = started(way)
    x.notify()
    assert log == []
    flags["ready"] = True
    x.notify()
    assert log == ["went on"]
    assert x.finished
    assert client.done == [x]


def test_what_happens_while_it_runs_is_seen_at_the_next_look() -> None:
    flags = {"ready": False}

    async def way(x: Exchange) -> None:
        flags["ready"] = True
        x.notify()  # as a callback does that its own write has triggered
        await until(x, lambda: flags["ready"])

    x, client = started(way)
    assert x.finished
    assert client.done == [x]


def test_notifying_what_is_over_does_nothing() -> None:
    async def way(x: Exchange) -> None:
        pass

    x, client = started(way)
    x.notify()
    x.fail(GONE)
    x.check(inf)
    assert client.done == [x]


def test_a_failure_comes_out_of_the_pause_it_stands_at() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        try:
            await until(x, lambda: False)
        except GatewayError as error:
            caught.append(error)

    x, _ = started(way)
    x.fail(LATE)
    assert caught == [LATE]
    assert x.finished


def test_a_failure_while_it_runs_comes_out_of_the_next_pause() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        x.fail(LATE)
        try:
            await x.pause()
        except GatewayError as error:
            caught.append(error)

    x, client = started(way)
    assert caught == [LATE]
    assert client.done == [x]


def test_the_first_failure_is_the_one_that_counts() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        try:
            x.fail(LATE)
            x.fail(GONE)
            await x.pause()
        except GatewayError as error:
            caught.append(error)

    started(way)
    assert caught == [LATE]


def test_after_a_failure_was_raised_a_pause_waits_again() -> None:
    """What answers a failure may have to wait too: an async `on_error` policy, for one."""
    steps: list[str] = []
    ready: list[bool] = []

    async def way(x: Exchange) -> None:
        try:
            await x.pause()
        except GatewayError:
            steps.append("failed")
        for _ in range(100):  # not `while`: if `pause` does not wait, this test fails, and does not hang
            if ready:
                break
            await x.pause()
            steps.append("woken")
        steps.append("answered")

    x, _ = started(way)
    x.fail(LATE)
    assert steps == ["failed"]
    x.notify()
    assert steps == ["failed", "woken"]
    ready.append(True)
    x.notify()
    assert steps == ["failed", "woken", "woken", "answered"]


def test_a_failure_after_an_upstream_error_is_still_raised() -> None:
    caught: list[GatewayError] = []

    async def way(x: Exchange) -> None:
        x.error = GatewayError("attempt.closed")  # as answer_failure does
        try:
            await x.pause()
        except GatewayError as error:
            caught.append(error)

    x, _ = started(way)
    x.fail(GONE)
    assert caught == [GONE]


@given(st.lists(st.sampled_from(["set", "notify", "fail"]), max_size=12))
def test_whatever_the_order_of_events_it_ends_once(events: list[str]) -> None:
    flags = {"count": 0}
    seen: list[object] = []

    async def way(x: Exchange) -> None:
        try:
            await until(x, lambda: flags["count"] >= 3)
            seen.append("done")
        except GatewayError as error:
            seen.append(error)

    x, client = started(way)
    sets = 0
    expected: list[object] = []
    for event in events:
        if event == "set":
            flags["count"] += 1
            sets += 1
        elif event == "notify":
            x.notify()
            if sets >= 3 and not expected:
                expected.append("done")
        else:
            x.fail(LATE)
            if not expected:
                expected.append(LATE)
    assert seen == expected
    assert client.done == [x] * len(expected)
    assert x.finished is bool(expected)


def test_a_defect_of_the_way_ends_the_exchange_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def way(x: Exchange) -> None:
        raise ZeroDivisionError

    x, client = started(way)
    assert x.finished
    assert client.names == ["abort"]
    assert client.done == [x]
    assert [(r.levelno, r.exc_info[0]) for r in caplog.records if r.exc_info] == [(logging.ERROR, ZeroDivisionError)]
