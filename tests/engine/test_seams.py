"""The engine carries exchanges over services and upstreams of quite another kind, and does not notice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from propylon.engine.body import Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.forward import forward
from propylon.engine.sides import UNKNOWN
from propylon.runtime.core import Core
from tests.support.asgi_call import AsgiCall
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


# a client side that is an ASGI call


def scope_of(method: str = "GET", path: bytes = b"/x", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "2",
        "method": method,
        "scheme": "https",
        "raw_path": path,
        "query_string": b"a=1",
        "headers": [(b"host", b"a.example"), *headers],
        "client": ("192.0.2.7", 1234),
    }


async def called(service: FunctionService, scope: dict[str, Any], *events: dict[str, Any]) -> list[dict[str, Any]]:
    """What the call of the gateway as an ASGI application has sent."""
    received, sent = iter(events), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    core = Core(snapshot(route={"service": service}))
    await AsgiCall(core, scope, receive, send).run()
    return sent


async def test_an_asgi_call_is_carried_as_any_other_request() -> None:
    endpoint = StreamEndpoint("one")
    calling = asyncio.create_task(called(first_of(endpoint), scope_of()))
    await settle()
    (stream,) = endpoint.streams
    assert stream.request == [b"GET", b"one", b"/x?a=1"]
    body = stream.begin_answer(OK + b"x-a: 1\r\n")
    body.feed(b"one")
    await settle()
    body.feed(b"two")
    stream.end_answer()
    sent = await calling
    assert sent[0]["status"] == 200
    assert (b"x-a", b"1") in sent[0]["headers"]
    assert [event["body"] for event in sent[1:]] == [b"one", b"two", b""]
    assert left(endpoint) == [(0, 0)]


async def test_its_body_streams_and_a_failure_is_an_answer() -> None:
    endpoint = StreamEndpoint("one")
    scope = scope_of("POST", b"/x", (b"transfer-encoding", b"chunked"))
    pieces = [{"type": "http.request", "body": piece, "more_body": piece != b"c"} for piece in (b"a", b"b", b"c")]
    calling = asyncio.create_task(called(first_of(endpoint), scope, *pieces))
    await settle()
    (stream,) = endpoint.streams
    assert (stream.received, stream.request_sent) == (b"abc", True)
    stream.fail("attempt.closed")
    sent = await calling
    assert sent[0]["status"] == 502
    assert orjson.loads(sent[1]["body"])["code"] == "attempt.closed"


async def test_what_is_no_request_is_refused_and_a_client_that_goes_ends_it() -> None:
    endpoint = StreamEndpoint("one")
    refused = await called(first_of(endpoint), scope_of("GET", b"/%zz"))
    assert refused[0]["status"] == 400
    scope = scope_of("POST", b"/x", (b"content-length", b"5"))
    assert await called(first_of(endpoint), scope, {"type": "http.disconnect"}) == []
    assert left(endpoint) == [(0, 0)]
