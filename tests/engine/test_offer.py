"""A body that waits for the service to ask for it: exactly one of asked, declined, late or withdrawn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.offer import Offer, may_offer
from tests.support.fakes import FakeEndpoint, FakeUpstream, exchange


class Offered:
    """An exchange whose body was offered."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.x = exchange(method=b"POST")
        self.x.set_timeouts(expect=seconds)
        self.body = self.x.body = Body(FakeUpstream())
        self.endpoint: Any = FakeEndpoint()
        self.upstream: Any = FakeUpstream()
        self.piped = 0
        self.sent = asyncio.Event()
        self.offer = self.again()

    def again(self) -> Offer:
        return Offer(self.x, self.body, self.endpoint, self.upstream, self.pipe)

    def pipe(self) -> None:
        self.piped += 1
        self.sent.set()


async def test_the_body_is_sent_once_however_often_it_is_asked_for() -> None:
    offered = Offered()
    offered.offer.accept()
    offered.offer.accept()
    assert (offered.piped, offered.body.offer, offered.endpoint.silent_until) == (1, None, 0.0)


@pytest.mark.parametrize("minor", [0, 1])
async def test_a_final_response_ends_the_offer(minor: int) -> None:
    offered = Offered()
    offered.offer.decline(minor)
    offered.offer.accept()
    assert (offered.piped, offered.body.offer) == (0, None)
    assert (offered.endpoint.silent_until > 0) is (minor == 0)


async def test_a_silent_endpoint_gets_the_body_and_no_further_offer() -> None:
    offered = Offered(0.001)
    await offered.sent.wait()
    offered.x.client.expects_continue = True
    assert not may_offer(offered.x, offered.body, offered.endpoint)
    offered.endpoint.silent_until = 0.0
    assert may_offer(offered.x, offered.body, offered.endpoint)


async def test_the_offer_of_a_later_attempt_replaces_that_of_an_earlier_one() -> None:
    offered = Offered()
    second = offered.again()
    offered.offer.accept()
    assert (offered.piped, offered.body.offer) == (0, second)
    second.accept()
    assert offered.piped == 1


async def test_an_attempt_that_has_failed_gets_no_body() -> None:
    offered = Offered()
    offered.upstream.error = GatewayError("attempt.closed")
    offered.offer._expire()
    assert (offered.piped, offered.endpoint.silent_until) == (0, 0.0)


async def test_it_ends_with_the_exchange() -> None:
    offered = Offered()
    offered.x.settle()
    assert offered.body.offer is None
    offered.offer.accept()
    assert offered.piped == 0
