"""The open connections of a worker: their deadlines, and how they end."""

from __future__ import annotations

import asyncio
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from propylon.engine.timing import Ending
from propylon.engine.websocket.settings import DRAINED
from propylon.inbound.connections import Connections
from propylon.runtime.core import Core
from tests.support.deadline import settle
from tests.support.fakes import snapshot


class Connection(SimpleNamespace):
    """As much of a connection as a sweep sees."""

    def __init__(self, deadline: float, due: float = inf) -> None:
        super().__init__(deadline=deadline, due=due, checked=[], exchange=None, ending=None)

    def __hash__(self) -> int:
        return id(self)

    def check(self, now: float) -> None:
        self.checked.append(now)

    def drain(self, ending: Ending) -> None:
        self.ending = ending


def opened(*connections: Connection) -> Connections:
    made = Connections(Core(snapshot()))
    made.open.update(cast("Any", connections))
    return made


def test_a_sweep_looks_only_at_connections_and_exchanges_that_are_due() -> None:
    late, resting, due, quiet = Connection(10.0), Connection(11.0), Connection(inf, 10.0), Connection(inf, 11.0)
    opened(late, resting, due, quiet).sweep(10.0)
    assert [each.checked for each in (late, resting, due, quiet)] == [[10.0], [], [10.0], []]


def test_a_connection_may_close_during_the_sweep() -> None:
    made = opened()

    class Closing(Connection):
        def check(self, now: float) -> None:
            super().check(now)
            made.forget(cast("Any", self))

    connections = [Closing(1.0) for _ in range(3)]
    made.open.update(cast("Any", connections))
    made.sweep(2.0)
    assert [connection.checked for connection in connections] == [[2.0]] * 3
    assert made.open == set()


@pytest.mark.parametrize(("seconds", "pause"), [(60.0, 0.002), (0.003, 0.001)])
def test_draining_ends_what_is_under_way_one_after_the_other(seconds: float, pause: float) -> None:
    busy, resting = [Connection(inf) for _ in range(3)], [Connection(inf) for _ in range(5)]
    for connection in busy:
        connection.exchange = cast("Any", object())
    made = opened(*busy, *resting)
    made.drain(100.0, seconds, DRAINED)
    ends = sorted(connection.ending for connection in busy if connection.ending is not None)
    assert [end.when for end in ends] == pytest.approx([100.0, 100 + pause, 100 + 2 * pause])
    assert {end.close for end in ends} == {DRAINED}
    assert [connection.ending for connection in resting] == [Ending(100.0, DRAINED)] * 5


async def test_waiting_until_it_is_empty_ends_with_the_last_connection() -> None:
    first, second = Connection(inf), Connection(inf)
    made = opened(first, second)
    waiting = asyncio.ensure_future(made.emptied())
    for connection in (first, second):
        await settle()
        assert not waiting.done()
        made.forget(cast("Any", connection))
    await waiting
    await made.emptied()
