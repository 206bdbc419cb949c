"""Plain hooks that wait: without a Task, bounded in time, and given up with their exchange."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.pending import Pending
from propylon.engine.response import Response
from tests.support.deadline import settle
from tests.support.fakes import FakeClient, FakeEndpoint, FakeUpstream, exchange, snapshot


class Waits:
    """A policy whose result a test gives."""

    def __init__(self) -> None:
        self.pending: list[Pending] = []
        self.given_up = 0

    def on_request(self, x: Exchange) -> Pending:
        self.pending.append(Pending(x, self._give_up))
        return self.pending[-1]

    def _give_up(self) -> None:
        self.given_up += 1


def begun(policy: object) -> tuple[Exchange, FakeClient, FakeUpstream]:
    client, upstream = FakeClient(), FakeUpstream()
    x = exchange(snapshot(policy, endpoint=FakeEndpoint(upstream)), client=client)
    x.start(forward(x))
    return x, client, upstream


async def test_the_exchange_goes_on_in_the_turn_behind_the_result_and_no_task_is_made() -> None:
    waits = Waits()
    before = len(asyncio.all_tasks())
    _, _, upstream = begun(waits)
    assert upstream.sent == []
    waits.pending[0].finish()
    assert upstream.sent == [], "not inside of what finishes it"
    await settle()
    assert len(upstream.sent) == 1
    assert len(asyncio.all_tasks()) == before
    assert waits.given_up == 0


async def test_a_result_that_is_there_already_is_taken() -> None:
    def at_once(x: Exchange) -> Pending:
        pending = Pending(x)
        pending.finish(Response(204))
        return pending

    _, client, upstream = begun(at_once)
    assert client.heads[0][0] == 204
    assert upstream.sent == []


async def test_a_response_answers_and_only_the_first_result_counts() -> None:
    waits = Waits()
    x, client, upstream = begun(waits)
    waits.pending[0].finish(Response(429))
    waits.pending[0].finish()
    await settle()
    assert (client.heads[0][0], upstream.sent, x.finished) == (429, [], True)


@pytest.mark.parametrize(
    ("error", "code"), [(GatewayError("choose.queue_full"), "choose.queue_full"), (KeyError(), "request.policy_failed")]
)
async def test_a_failure_is_that_of_the_hook(error: Exception, code: str) -> None:
    waits = Waits()
    x, _, _ = begun(waits)
    waits.pending[0].fail(error)
    await settle()
    assert x.error is not None
    assert x.error.code == code


async def test_it_is_given_up_with_its_exchange() -> None:
    waits = Waits()
    x, _, upstream = begun(waits)
    x.fail(GatewayError("relay.client_gone"))
    assert (waits.given_up, x.finished) == (1, True)
    waits.pending[0].finish()
    await settle()
    assert upstream.sent == []


async def test_the_wait_is_bounded() -> None:
    waits = Waits()
    x, client, _ = begun(waits)
    assert x.policy_deadlines is not None
    x.check(max(x.policy_deadlines.values()))
    assert client.heads[0][0] == 504
    assert waits.given_up == 1


async def test_on_response_waits_too() -> None:
    pending: list[Pending] = []

    def on_response(x: Exchange) -> Pending:
        pending.append(Pending(x))
        return pending[0]

    _, client, upstream = begun(SimpleNamespace(on_response=on_response))
    upstream.answer()
    assert client.calls == []
    pending[0].finish()
    await settle()
    assert client.names == ["send"]
