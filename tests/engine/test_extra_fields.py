"""What balancing adds to answers: it stands in every one that came from an endpoint, and in no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.snapshot import Snapshot
from propylon.services.affinity import Affinity
from tests.support.fakes import FakeClient, FakeEndpoint, FakeUpstream, exchange, snapshot
from tests.support.frames import SWITCH
from tests.support.tunnels import HANDSHAKE

STAY = b"set-cookie: stay=1\r\n"


class Looks:
    def on_response(self, x: Exchange) -> None:
        pass


def with_fields(upstream: FakeUpstream, *policies: object) -> Snapshot:
    """A route whose service's balancing sets a cookie."""
    made = snapshot(*policies, endpoint=FakeEndpoint(upstream))
    service: Any = made.routes[0].service
    adds = lambda x, endpoint: STAY if endpoint is service.endpoints[0] else b""  # noqa: E731
    service.affinity = Affinity(SimpleNamespace(fields=adds))
    return made


@pytest.mark.parametrize("policies", [(), (Looks(),)])
def test_an_answer_has_them(policies: tuple[object, ...]) -> None:
    client, upstream = FakeClient(), FakeUpstream()
    x = exchange(with_fields(upstream, *policies), client=client)
    x.start(forward(x))
    upstream.answer()
    ((_, block),) = client.heads
    assert block.count(STAY) == 1


def test_a_101_has_them() -> None:
    client, upstream = FakeClient(), FakeUpstream()
    x = exchange(with_fields(upstream), client=client, fields=HANDSHAKE)
    x.start(forward(x))
    upstream.open(SWITCH)
    assert client.calls[0][0] == "switch"
    assert client.calls[0][2].count(STAY) == 1


def test_a_failure_has_none() -> None:
    client, upstream = FakeClient(), FakeUpstream()
    x = exchange(with_fields(upstream), client=client)
    x.start(forward(x))
    upstream.fail("attempt.closed")
    ((status, block),) = client.heads
    assert status == 502
    assert STAY not in block
