"""The engine carries exchanges over services and upstreams of quite another kind, and does not notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.sides import UNKNOWN
from tests.support.deadline import settle
from tests.support.fakes import OK, FakeClient, FakeUpstream, exchange, snapshot
from tests.support.seams import FunctionService, StreamEndpoint, first_of

TWO = OK + b"content-length: 2\r\n"


@dataclass
class Carried:
    """An exchange on its way to a service."""

    x: Exchange
    client: FakeClient

    @property
    def status(self) -> int:
        return self.client.heads[0][0] if self.client.heads else 0

    @property
    def code(self) -> str:
        return str(orjson.loads(self.client.body)["code"])


async def carry(service: FunctionService, body: Body | bytes | None = None, **keys: Any) -> Carried:
    client = FakeClient()
    x = exchange(snapshot(route={"service": service}), client=client, **keys)
    x.body = body
    x.start(forward(x))
    await settle(2)
    return Carried(x, client)


def left(*endpoints: StreamEndpoint) -> list[tuple[int, int]]:
    """Attempts that are counted as under way, and streams that are open, of each endpoint."""
    return [(each.vitals.inflight, len(each.connection.streams)) for each in endpoints]


async def test_streams_of_one_connection_carry_several_exchanges_at_the_same_time() -> None:
    endpoint = StreamEndpoint("one")
    service = first_of(endpoint)
    first, second = await carry(service, path=b"/1"), await carry(service, path=b"/2")
    assert left(endpoint) == [(2, 2)]
    assert [stream.request[2] for stream in endpoint.streams] == [b"/1", b"/2"]
    endpoint.streams[1].answer(TWO, b"ok")
    assert (first.status, second.status, second.client.body) == (0, 200, b"ok")
    body = endpoint.streams[0].begin_answer(OK + b"content-length: 4\r\n")
    body.feed(b"half")
    assert first.client.body == b"half"
    endpoint.streams[0].end_answer()
    assert first.x.finished
    assert left(endpoint) == [(0, 0)]
    assert endpoint.connection.open
    assert service.told == [("begin", "h2://one")] * 2 + [("answered", "h2://one", 200)] * 2


async def test_an_exchange_waits_for_a_stream_and_gets_the_one_that_becomes_free() -> None:
    endpoint = StreamEndpoint("one", room=1)
    service = first_of(endpoint)
    first, second = await carry(service), await carry(service)
    gone = await carry(service)
    assert (len(endpoint.streams), len(endpoint.connection.waiting)) == (1, 2)
    gone.x.fail(GatewayError("relay.client_gone"))
    assert len(endpoint.connection.waiting) == 1
    endpoint.streams[0].answer(TWO, b"ok")
    assert first.status == 200
    endpoint.streams[1].answer(TWO, b"ok")
    assert second.status == 200
    assert left(endpoint) == [(0, 0)]


async def test_a_body_under_way_follows_on_its_stream() -> None:
    endpoint = StreamEndpoint("one")
    body = Body(FakeUpstream(), UNKNOWN)
    body.feed(b"a")
    carried = await carry(first_of(endpoint), body, method=b"POST")
    body.feed(b"b")
    body.end([])
    (stream,) = endpoint.streams
    assert (stream.received, stream.request_sent) == (b"ab", True)
    stream.answer(TWO, b"ok")
    assert carried.status == 200
    assert left(endpoint) == [(0, 0)]


async def test_a_connection_that_breaks_fails_all_its_streams_and_each_is_tried_elsewhere() -> None:
    one, two = StreamEndpoint("one"), StreamEndpoint("two")
    service = first_of(one, two)
    carried = [await carry(service) for _ in range(2)]
    one.connection.lose()
    await settle(3)
    assert left(one, two) == [(0, 0), (2, 2)]
    for stream in list(two.streams):
        stream.answer(TWO, b"ok")
    assert [each.status for each in carried] == [200, 200]
    assert left(one, two) == [(0, 0), (0, 0)]
    assert service.told.count(("failed", "h2://one")) == 2


async def test_a_body_that_was_kept_goes_to_the_other_endpoint_too() -> None:
    one, two = StreamEndpoint("one"), StreamEndpoint("two")
    body = Body(FakeUpstream(), 2)
    body.feed(b"a")
    carried = await carry(first_of(one, two), body, method=b"PUT")
    one.connection.lose()
    await settle(3)
    body.feed(b"b")
    body.end([])
    assert [stream.received for stream in (*one.streams, *two.streams)] == [b"a", b"ab"]
    two.streams[0].answer(TWO, b"ok")
    assert carried.status == 200


async def test_a_service_that_has_no_way_left_is_a_failure_like_any_other() -> None:
    one = StreamEndpoint("one")
    one.connection.lose()
    carried = await carry(first_of(one))
    assert (carried.status, carried.code) == (503, "connect.refused")
    assert left(one) == [(0, 0)]


async def test_what_the_function_raises_is_what_the_client_is_told() -> None:
    def choose(x: Exchange, avoid: object) -> StreamEndpoint:
        raise GatewayError("choose.no_endpoint")

    carried = await carry(FunctionService(choose))
    assert (carried.status, carried.code) == (503, "choose.no_endpoint")


async def test_an_answer_that_breaks_off_leaves_the_other_streams_alone() -> None:
    endpoint = StreamEndpoint("one")
    service = first_of(endpoint)
    first, second = await carry(service), await carry(service)
    endpoint.streams[0].begin_answer(OK + b"content-length: 4\r\n").feed(b"ha")
    endpoint.streams[0].fail("relay.truncated")
    assert first.client.names[-1] == "abort"
    endpoint.streams[1].answer(TWO, b"ok")
    assert second.status == 200
    assert left(endpoint) == [(0, 0)]
