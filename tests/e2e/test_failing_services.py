"""Services whose endpoints fail: clients get answers from the others, and a dead service is left in peace."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from propylon import Gateway
from tests.support.checks import assert_problem
from tests.support.client import RawClient, Reply, request_bytes
from tests.support.deadline import real_time, until, within
from tests.support.front import Fronts, service_of
from tests.support.oracle import Message
from tests.support.ports import free_port
from tests.support.upstream import PeerGone, ScriptedUpstream, UpstreamConnection, answer, ok

BUSY = ok(b"busy", status=b"503 Service Unavailable")
BROKEN = ok(b"broken", status=b"500 Internal Server Error")


async def hang(connection: UpstreamConnection) -> None:
    """Take requests, and answer none."""
    while True:
        await connection.request()


async def close(connection: UpstreamConnection) -> None:
    """Take a request, and close."""
    await connection.request()
    connection.close()


async def through(front: Fronts, *endpoints: str, route: dict[str, Any] | None = None, **service: Any) -> RawClient:
    """A client of a gateway in front of a service."""
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("many", list(endpoints), **service)
    gateway.route("/*", service="many", **(route or {}))
    return await front.client(await front.start(gateway))


def dead() -> str:
    """The URL of an endpoint where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def targets(*upstreams: ScriptedUpstream) -> list[list[bytes]]:
    return [[message.target for message in upstream.requests] for upstream in upstreams]


# retries


@pytest.mark.parametrize("failing", [close, None], ids=["closes", "dead"])
async def test_another_endpoint_answers_for_one_that_fails(front: Fronts, failing: Any) -> None:
    good = await front.upstream(answer(ok(b"good")))
    bad = dead() if failing is None else (await front.upstream(failing)).url
    client = await through(front, bad, good.url, balance="round_robin")
    for number in range(4):
        assert (await client.ask(request_bytes(b"/%d" % number))).body == b"good"
    assert targets(good) == [[b"/0", b"/1", b"/2", b"/3"]]


async def test_a_request_that_may_have_been_carried_out_is_not_sent_again(front: Fronts) -> None:
    bad, good = await front.upstream(close), await front.upstream()
    client = await through(front, bad.url, good.url, balance="round_robin")
    reply = await client.ask(request_bytes(b"/x", method=b"POST", body=b"once"))
    assert assert_problem(reply, 502) == "attempt.closed"
    assert targets(bad, good) == [[b"/x"], []]


async def test_a_post_that_never_left_is_sent_elsewhere_with_its_body(front: Fronts) -> None:
    good = await front.upstream()
    client = await through(front, dead(), good.url, balance="round_robin")
    reply = await client.ask(request_bytes(b"/x", method=b"POST", body=b"whole"))
    assert (reply.status, good.requests[0].body) == (200, b"whole")


async def test_a_body_under_way_is_sent_again_from_its_beginning(front: Fronts) -> None:
    async def close_in_the_middle(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.close()

    bad, good = await front.upstream(close_in_the_middle), await front.upstream(answer(ok(b"good")))
    client = await through(front, bad.url, good.url, balance="round_robin")
    await client.send(b"PUT /x HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nfir")
    await bad.until(lambda: bool(bad.connections) and bad.connections[0].lost, "the end of the first try")
    await client.send(b"st!")
    reply = await client.reply()
    assert (reply.body, good.requests[0].body) == (b"good", b"first!")


async def test_answers_that_are_named_are_not_passed_on_while_tries_are_left(front: Fronts) -> None:
    bad, good = await front.upstream(answer(BUSY)), await front.upstream(answer(ok(b"good")))
    retry = {"statuses": [503], "backoff": "1ms"}
    client = await through(front, bad.url, good.url, balance="round_robin", retry=retry)
    assert [(await client.ask(request_bytes())).body for _ in range(2)] == [b"good", b"good"]
    alone = await through(front, bad.url, retry=retry)
    reply = await alone.ask(request_bytes())
    assert (reply.status, reply.body) == (503, b"busy")  # its own answer, as there is nobody else


async def test_retry_after_is_waited_for_where_there_is_nobody_else(front: Fronts) -> None:
    later = ok(b"", b"retry-after: 0", status=b"503 Service Unavailable")
    too_late = ok(b"", b"retry-after: 60", status=b"503 Service Unavailable")
    retry = {"statuses": [503], "same_endpoint": True, "backoff": "1ms"}
    for first, status, asked in ((later, 200, 2), (too_late, 503, 1)):
        upstream = await front.upstream(answer(first, ok()))
        client = await through(front, upstream.url, retry=retry)
        assert (await client.ask(request_bytes())).status == status
        assert len(upstream.requests) == asked


async def test_a_try_that_takes_too_long_is_given_up_for_another(front: Fronts) -> None:
    bad, good = await front.upstream(hang), await front.upstream(answer(ok(b"good")))
    retry = {"on": ["timeout"], "per_try": "50ms"}
    client = await through(front, bad.url, good.url, balance="round_robin", retry=retry)
    assert (await client.ask(request_bytes())).body == b"good"


async def test_retries_can_be_switched_off_and_a_route_has_the_last_word(front: Fronts) -> None:
    good = await front.upstream()
    client = await through(front, dead(), good.url, balance="round_robin", retry=False)
    assert assert_problem(await client.ask(request_bytes()), 503) == "connect.refused"
    client = await through(front, dead(), good.url, balance="round_robin", retry=False, route={"retry": 2})
    assert (await client.ask(request_bytes())).status == 200


# a service that is down


async def storm(client: RawClient, requests: int) -> Counter[int]:
    return Counter([(await client.ask(request_bytes(b"/%d" % number))).status for number in range(requests)])


async def test_a_service_that_refuses_everything_sees_no_storm_of_retries(front: Fronts) -> None:
    one, other = await front.upstream(answer(BUSY)), await front.upstream(answer(BUSY))
    retry = {"statuses": [503], "attempts": 5, "backoff": "0ms", "budget": {"ratio": "20%", "per_second": 0}}
    health = {"passive": False}
    client = await through(front, one.url, other.url, retry=retry, health=health)
    assert await storm(client, 200) == {503: 200}
    assert 220 <= len(one.requests) + len(other.requests) <= 240


async def test_an_open_circuit_answers_at_once_and_closes_by_a_single_probe(front: Fronts) -> None:
    gate = asyncio.Event()
    ill = True

    async def script(connection: UpstreamConnection) -> None:
        while True:
            await connection.request()
            if not ill:
                await gate.wait()
            connection.send(BROKEN if ill else ok(b"well"))

    upstream = await front.upstream(script)
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("ill", [upstream.url], breaker={"consecutive": 5, "open": "300ms", "max_open": "300ms"})
    gateway.route("/*", service="ill")
    running = await front.start(gateway)
    client, *others = [await front.client(running) for _ in range(10)]
    assert await storm(client, 20) == {500: 5, 503: 15}
    reply = await client.ask(request_bytes())
    assert assert_problem(reply, 503) == "choose.broken"
    assert reply.all("retry-after") == [b"1"]
    assert len(upstream.requests) == 5
    ill = False
    waiting: list[asyncio.Task[Reply]] = []
    async with within(5, "the probe"):
        while len(upstream.requests) == 5:  # many ask at the same time, one is the probe
            replies, waiting = [await each for each in waiting], []
            assert {reply.status for reply in replies} <= {503}
            waiting = [asyncio.create_task(each.ask(request_bytes(b"/probe"))) for each in others]
            done, _ = await asyncio.wait(waiting, timeout=0.1)
            waiting = [each for each in waiting if each not in done]
    assert len(waiting) == 1
    assert len(upstream.requests) == 6
    gate.set()
    assert (await waiting[0]).body == b"well"
    assert await storm(client, 10) == {200: 10}


async def test_a_route_falls_back_when_its_service_has_no_answer(front: Fronts) -> None:
    other = await front.upstream(answer(ok(b"other")))
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("gone", [dead()], breaker={"consecutive": 1, "open": "1m"})
    gateway.service("other", [other.url])
    gateway.route("/service/*", service="gone", fallback={"service": "other"})
    gateway.route("/respond/*", service="gone", fallback={"respond": {"status": 200, "json": {"items": []}}})
    client = await front.client(await front.start(gateway))
    for _ in range(3):  # first because nobody is there, then because the circuit is open
        assert (await client.ask(request_bytes(b"/service/x"))).body == b"other"
        assert (await client.ask(request_bytes(b"/respond/x"))).body == b'{"items":[]}'
    reply = await client.ask(request_bytes(b"/service/post", method=b"POST", body=b"kept"))
    assert (reply.body, other.requests[-1].body) == (b"other", b"kept")


async def test_an_answer_of_the_service_is_no_reason_to_fall_back(front: Fronts) -> None:
    upstream = await front.upstream(answer(BROKEN))
    client = await through(front, upstream.url, route={"fallback": {"respond": 204}})
    assert (await client.ask(request_bytes())).status == 500


# endpoints that are put aside


async def test_an_endpoint_that_keeps_failing_is_put_aside_and_comes_back(
    front: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "propylon.services")
    bad, good = await front.upstream(answer(BROKEN)), await front.upstream()
    health = {"passive": {"consecutive": 3, "statuses": "5xx", "eject": "200ms"}}
    client = await through(front, bad.url, good.url, balance="round_robin", health=health)
    assert await storm(client, 20) == {500: 3, 200: 17}
    before = len(bad.requests)
    async with within(5, "its return"):
        while len(bad.requests) == before:
            await client.ask(request_bytes())
    told = [record.getMessage() for record in caplog.records]
    assert told.count(f"endpoint {bad.url} is put aside for 0 s: 3 failures in a row (3x status 500)") == 1
    assert told.count(f"endpoint {bad.url} is back") == 1


# hedging


async def test_a_slow_endpoint_is_overtaken_and_its_request_cancelled(front: Fronts) -> None:
    slow, fast = await front.upstream(hang), await front.upstream(answer(ok(b"fast")))
    client = await through(front, slow.url, fast.url, balance="round_robin", hedge="30ms")
    assert (await client.ask(request_bytes(b"/x"))).body == b"fast"
    await slow.until(lambda: slow.connections[0].eof, "the end of the slow one")
    assert targets(slow, fast) == [[b"/x"], [b"/x"]]
    assert (await client.ask(request_bytes(b"/y"))).body == b"fast"


async def test_only_what_may_be_sent_twice_is_hedged_and_only_within_the_budget(front: Fronts) -> None:
    async def late(connection: UpstreamConnection) -> None:
        while True:
            await connection.request()
            await real_time(0.1)  # longer than a hedge waits
            connection.send(ok(b"late"))

    slow, fast = await front.upstream(late), await front.upstream(answer(ok(b"fast")))
    client = await through(front, slow.url, fast.url, balance="round_robin", hedge="20ms")
    assert (await client.ask(request_bytes(b"/x", method=b"POST", body=b"1"))).body == b"late"
    assert targets(fast) == [[]]
    none = {"budget": {"ratio": "0%", "per_second": 0}}
    client = await through(front, slow.url, fast.url, balance="round_robin", hedge="20ms", retry=none)
    assert (await client.ask(request_bytes(b"/y"))).body == b"late"
    assert targets(fast) == [[]]


# limits


async def test_more_requests_than_may_be_under_way_wait_for_their_turn_or_are_refused(front: Fronts) -> None:
    gate = asyncio.Event()

    def held(request: Message) -> bytes:
        return ok(request.target)

    async def script(connection: UpstreamConnection) -> None:
        try:
            while True:
                request = await connection.request()
                await gate.wait()
                connection.send(held(request))
        except PeerGone:
            pass

    upstream = await front.upstream(script)
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("small", [upstream.url], concurrency={"max": 2, "queue": 1, "queue_timeout": "5s"})
    gateway.route("/*", service="small")
    running = await front.start(gateway)
    clients = [await front.client(running) for _ in range(4)]
    for number, client in enumerate(clients[:2]):
        await client.send(request_bytes(b"/%d" % number))
        await upstream.until(lambda number=number: len(upstream.requests) == number + 1, "a request")  # type: ignore[misc]
    await clients[2].send(request_bytes(b"/2"))
    await until(lambda: "waiting=1" in repr(service_of(running, "small").concurrency), "the third is in line")
    refused = await clients[3].ask(request_bytes(b"/3"))
    assert assert_problem(refused, 503) == "choose.queue_full"
    assert len(upstream.requests) == 2
    gate.set()
    assert [(await client.reply()).body for client in clients[:3]] == [b"/0", b"/1", b"/2"]
    assert (await clients[3].ask(request_bytes(b"/4"))).status == 200


async def test_who_waits_too_long_is_told(front: Fronts) -> None:
    upstream = await front.upstream(hang)
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("small", [upstream.url], concurrency={"max": 1, "queue": 1, "queue_timeout": "50ms"})
    gateway.route("/*", service="small")
    running = await front.start(gateway)
    first, second = await front.client(running), await front.client(running)
    await first.send(request_bytes(b"/1"))
    await upstream.until(lambda: len(upstream.requests) == 1, "the first request")
    assert assert_problem(await second.ask(request_bytes(b"/2")), 503) == "choose.queue_timeout"


async def test_the_answer_that_opens_the_circuit_of_a_service_is_passed_on(front: Fronts) -> None:
    one, other = await front.upstream(answer(BUSY)), await front.upstream(answer(BUSY))
    breaker = {"per": "service", "consecutive": 1}
    client = await through(front, one.url, other.url, retry={"statuses": [503], "backoff": "1ms"}, breaker=breaker)
    assert (await client.ask(request_bytes())).body == b"busy"  # nobody else may be asked any more
    assert assert_problem(await client.ask(request_bytes()), 503) == "choose.broken"
