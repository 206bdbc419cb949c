"""One connection from a client: requests in order, bounded buffers, and an end for everything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon import Response
from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.body import Body
from propylon.engine.exchange import Exchange
from propylon.engine.snapshot import ClientLimits, ClientTimeouts
from propylon.engine.timing import Ending
from propylon.engine.websocket.settings import DRAINED
from propylon.engine.websocket.tunnel import CLOSE_SECONDS
from propylon.http.response_head import OwnHead, ResponseHead
from propylon.inbound import http1 as module
from propylon.inbound.connections import Connections
from propylon.inbound.http1 import (
    MAX_DRAIN_BYTES,
    PROBE_AGAIN_SECONDS,
    PROBE_SECONDS,
    TURN_REQUESTS,
    ClientConnection,
)
from propylon.runtime.core import Core
from propylon.transport.stream import TransportStream
from tests.support.fakes import OK, Clock, FakeEndpoint, FakeTransport, FakeUpstream, snapshot
from tests.support.frames import frame, handshake
from tests.support.tunnels import clock_of

EVENTS = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
GET = b"GET /%d HTTP/1.1\r\nhost: a.example\r\n\r\n"
TIMES = ClientTimeouts(header=10, keep_alive=75, write=60, body=30, linger=5)


class Wire:
    """A connection with a fake transport in front of a gateway of fakes."""

    def __init__(
        self,
        *policies: object,
        upstreams: int = 1,
        connections: Connections | None = None,
        connect: bool = True,
        **more: Any,
    ) -> None:
        self.upstreams = [FakeUpstream() for _ in range(upstreams)]
        self.endpoint = FakeEndpoint(*self.upstreams)
        made_of = snapshot(*policies, endpoint=self.endpoint, **({"client_timeouts": TIMES} | more))
        self.connections = connections or Connections(Core(made_of))
        self.transport = FakeTransport()
        self.connection = ClientConnection(self.connections)
        if connect:
            self.connection.connection_made(cast("Any", self.transport))

    @property
    def upstream(self) -> FakeUpstream:
        return self.upstreams[0]

    def feed(self, *pieces: bytes) -> Wire:
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def lost(self) -> None:
        self.connection.connection_lost(None)

    def statuses(self) -> list[int]:
        """The statuses of all answers so far."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", bytes(self.transport.written))]

    def answers(self, number: int, body: bytes = b"") -> None:
        """Let the upstream of request `number` answer."""
        self.upstreams[number].answer(OK + b"content-length: %d\r\n" % len(body), body)


def local(x: Exchange) -> Response:
    """Answer at once with the path that was asked for."""
    return Response(200, body=x.request.path)


def echo() -> Wire:
    return Wire(local)


def bodies(wire: Wire) -> list[bytes]:
    return re.findall(rb"\r\n\r\n(/[0-9]+)", bytes(wire.transport.written))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, module, exchange_module, timed_module)


# requests in, answers out


def test_a_request_reaches_the_endpoint_and_its_answer_the_client() -> None:
    wire = Wire().feed(GET % 1)
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 busy>"
    assert wire.upstream.line == b"GET /1"
    assert b"x-forwarded-for: 192.0.2.1\r\n" in wire.upstream.block
    wire.answers(0, b"ok")
    assert wire.transport.take().endswith(b"\r\n\r\nok")
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 idle>"
    assert not wire.transport.closing


def test_any_cut_of_a_stream_gives_the_same_answers() -> None:
    post = b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
    stream = b"\r\n" + GET % 1 + post % 2 + GET % 3 + post % 4 + GET % 5
    expected = [b"/1", b"/2", b"/3", b"/4", b"/5"]
    assert bodies(echo().feed(*[stream[at : at + 1] for at in range(len(stream))])) == expected
    for at in range(len(stream) + 1):
        assert bodies(echo().feed(stream[:at], stream[at:])) == expected


def test_a_chunked_body_is_decoded_the_same_whatever_its_cuts() -> None:
    stream = (
        b"POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;x\r\nab\r\n3\r\ncde\r\n0\r\ny: 1\r\n\r\n"
    )
    for at in range(len(stream) + 1):
        wire = Wire().feed(stream[:at], stream[at:])
        whole = wire.upstream.sent[0][-1] if wire.upstream.sent[0][0] == "send" else wire.upstream.request_body
        assert whole == b"abcde"


async def test_five_thousand_pipelined_requests_are_answered_in_order_without_recursion() -> None:
    wire = echo().feed(b"".join(GET % number for number in range(5000)))
    assert len(wire.statuses()) == TURN_REQUESTS, "then other connections get their turn"
    for _ in range(5000 // TURN_REQUESTS + 1):
        await asyncio.sleep(0)
    assert bodies(wire) == [b"/%d" % number for number in range(5000)]


async def test_an_endpoint_that_answers_at_once_makes_no_recursion_either() -> None:
    wire = Wire(upstreams=3000)
    for upstream in wire.upstreams:
        upstream.on_send = lambda upstream: upstream.answer(OK + b"content-length: 0\r\n")
    wire.feed(b"".join(GET % number for number in range(3000)))
    for _ in range(3000 // TURN_REQUESTS + 1):
        await asyncio.sleep(0)
    assert len(wire.statuses()) == 3000


def test_the_second_request_waits_for_the_answer_to_the_first() -> None:
    wire = Wire(upstreams=2).feed(GET % 1 + GET % 2)
    assert wire.upstreams[1].sent == []
    wire.answers(0, b"1")
    assert wire.upstreams[1].line == b"GET /2"
    wire.answers(1, b"2")
    assert wire.statuses() == [200, 200]


@given(st.lists(st.integers(1, 200), max_size=20))
@settings(max_examples=50)
def test_answers_keep_the_order_of_requests_whatever_the_cuts(sizes: list[int]) -> None:
    stream = b"".join(GET % number for number in range(12))
    wire = echo()
    for size in sizes:
        wire.feed(stream[:size])
        stream = stream[size:]
    wire.feed(stream)
    assert bodies(wire) == [b"/%d" % number for number in range(12)]


def test_what_is_pipelined_is_held_up_to_a_bound_and_then_the_client_waits() -> None:
    wire = Wire(upstreams=2, limits=ClientLimits(pipeline_buffer=100)).feed(GET % 1)
    wire.feed(b"x" * 100)
    assert wire.transport.reading
    wire.feed(b"x")
    assert not wire.transport.reading
    wire.answers(0)
    assert wire.transport.reading
    assert wire.statuses()[0] == 200


# refusals


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nhost: a\n\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 40000, 431),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: a\r\n" * 101 + b"\r\n", 431),
        (b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    ],
)
@pytest.mark.parametrize("pieces", [1, 50])
def test_a_bad_request_is_answered_once_and_the_connection_ends(request_bytes: bytes, status: int, pieces: int) -> None:
    size = -(-len(request_bytes) // pieces)
    wire = Wire().feed(*[request_bytes[at : at + size] for at in range(0, len(request_bytes), size)])
    assert wire.statuses() == [status]
    assert b"connection: close\r\n" in wire.transport.written
    assert wire.transport.eof
    wire.feed(GET % 1)
    assert wire.statuses() == [status]
    assert wire.upstream.sent == []


def test_a_bad_request_behind_good_ones_is_refused_after_their_answers() -> None:
    wire = Wire(upstreams=2).feed(GET % 1 + b"BAD\r\n\r\n" + GET % 2)
    assert wire.statuses() == []
    wire.answers(0)
    assert wire.statuses() == [200, 400]
    assert wire.transport.eof


def test_too_many_connections_are_told_so() -> None:
    first = Wire(limits=ClientLimits(connections=1))
    second = Wire(connections=first.connections)
    assert second.statuses() == [503]
    assert b"retry-after: 1\r\n" in second.transport.written
    assert second.transport.eof
    first.lost()
    second.lost()
    assert Wire(connections=first.connections).statuses() == []


def test_a_loop_is_seen() -> None:
    wire = Wire(pseudonym=b"me").feed(b"GET / HTTP/1.1\r\nhost: a\r\nvia: 1.1 me\r\n\r\n")
    assert wire.statuses() == [508]


# keeping and closing


@pytest.mark.parametrize(
    ("head", "kept", "said"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\n", True, b""),
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n", False, b"connection: close"),
        (b"GET / HTTP/1.0\r\n", False, b"connection: close"),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n", True, b"connection: keep-alive"),
    ],
)
def test_rfc9112_9_3_the_connection_is_kept_as_version_and_field_say(head: bytes, kept: bool, said: bytes) -> None:
    wire = echo().feed(head + b"\r\n")
    assert wire.transport.eof is not kept
    assert b"".join(re.findall(rb"connection: [a-z-]+", bytes(wire.transport.written))) == said


def test_a_response_of_unknown_length_is_chunked_and_for_http_1_0_ends_with_the_connection() -> None:
    wire = Wire().feed(GET % 1)
    wire.upstream.begin_answer(OK + b"transfer-encoding: chunked\r\n", b"abc")
    wire.upstream.end_answer()
    assert wire.transport.take().endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    wire = Wire().feed(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    wire.upstream.begin_answer(OK + b"transfer-encoding: chunked\r\n", b"abc")
    wire.upstream.end_answer()
    sent = wire.transport.take()
    assert sent.endswith(b"connection: close\r\n\r\nabc")
    assert wire.transport.eof


def test_large_pieces_are_chunked_too() -> None:
    wire = Wire().feed(GET % 1)
    wire.upstream.begin_answer(OK + b"transfer-encoding: chunked\r\n", b"x" * 20000)
    assert wire.transport.take().endswith(b"\r\n\r\n4e20\r\n" + b"x" * 20000 + b"\r\n")


@pytest.mark.parametrize(("te", "trailers"), [(b"", b""), (b"te: trailers\r\n", b"x-sum: 1\r\n")])
def test_rfc9110_6_5_1_trailers_are_for_who_asked_for_them(te: bytes, trailers: bytes) -> None:
    wire = Wire().feed(b"GET / HTTP/1.1\r\nhost: a\r\n" + te + b"\r\n")
    body = wire.upstream.begin_answer(OK + b"transfer-encoding: chunked\r\n", b"a")
    wire.upstream.complete = True
    body.end([(b"x-sum", b"1")])
    assert wire.transport.take().endswith(b"1\r\na\r\n0\r\n" + trailers + b"\r\n")


def test_interim_responses_are_for_http_1_1() -> None:
    for version, expected in ((b"1.1", [103]), (b"1.0", [])):
        wire = Wire().feed(b"GET / HTTP/" + version + b"\r\nhost: a\r\n\r\n")
        wire.connection.send_interim(ResponseHead(b"HTTP/1.1 103 Early\r\nlink: a\r\n"))
        assert wire.statuses() == expected


# bodies nobody reads


POST = b"POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"


def test_the_rest_of_a_small_unread_body_is_dropped_and_the_connection_kept() -> None:
    wire = echo().feed(POST % 10 + b"abc")
    assert wire.statuses() == [200]
    assert not wire.transport.eof
    wire.feed(b"defghij" + GET % 2)
    assert bodies(wire) == [b"/1", b"/2"]


def test_a_large_or_unbounded_unread_body_ends_the_connection() -> None:
    for request in (POST % (MAX_DRAIN_BYTES + 1), b"POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"):
        wire = echo().feed(request)
        assert wire.statuses() == [200]
        assert b"connection: close\r\n" in wire.transport.written
        assert wire.transport.eof
        wire.feed(b"x" * 1000 + GET % 2)
        assert bodies(wire) == [b"/1"]


def test_rfc9110_10_1_1_a_client_that_waits_for_100_is_not_asked_for_a_body_nobody_reads() -> None:
    wire = echo().feed(b"POST /1 HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert wire.statuses() == [200]
    assert wire.transport.eof


def test_rfc9110_10_1_1_100_is_sent_once_when_the_body_is_wanted() -> None:
    wire = Wire().feed(b"POST /1 HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert wire.transport.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.feed(b"ab", b"c")
    assert wire.upstream.request_body == b"abc"
    assert wire.transport.take() == b""


def test_a_body_is_passed_on_as_it_comes() -> None:
    wire = Wire().feed(POST % 6 + b"ab", b"cd", b"efGET")
    assert wire.upstream.request_body == b"abcdef"
    assert wire.upstream.sent[-1] == ("end_body", [])


def test_a_malformed_chunk_fails_the_exchange_and_ends_the_connection() -> None:
    wire = Wire().feed(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", b"zz\r\n")
    assert wire.statuses() == [400]
    assert wire.transport.eof
    assert wire.upstream.finished == 1
    assert ("end_body", []) not in wire.upstream.sent


def test_a_body_beyond_its_limit_is_refused_when_it_is_passed() -> None:
    wire = Wire(lambda x: x.limit_body(4))
    wire.feed(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert wire.statuses() == []
    wire.feed(b"2\r\nde\r\n")
    assert wire.statuses() == [413]
    assert wire.transport.eof


# half-closed clients, and those that go away


async def test_a_fin_behind_many_pipelined_requests_ends_none_of_them() -> None:
    wire = echo().feed(b"".join(GET % number for number in range(500)))
    assert wire.connection.eof_received() is True
    for _ in range(500 // TURN_REQUESTS + 1):
        await asyncio.sleep(0)
    assert len(wire.statuses()) == 500
    assert wire.transport.closing


def test_a_fin_at_rest_closes() -> None:
    assert Wire().connection.eof_received() is False
    half = Wire().feed(b"GET / HT")
    half.connection.eof_received()
    assert half.transport.closing, "half a request never becomes a whole one"


def test_rfc9112_9_6_a_client_that_has_sent_its_fin_still_gets_its_answers() -> None:
    wire = Wire(upstreams=2).feed(GET % 1 + GET % 2)
    assert wire.connection.eof_received() is True
    wire.answers(0, b"1")
    wire.answers(1, b"2")
    assert wire.statuses() == [200, 200]
    assert wire.transport.closing


def test_a_fin_in_the_middle_of_a_body_is_told() -> None:
    wire = Wire().feed(POST % 5 + b"ab")
    assert wire.connection.eof_received() is True
    assert wire.statuses() == [400]
    assert b"read.unexpected_eof" in wire.transport.written


def test_a_client_that_is_lost_ends_its_exchange() -> None:
    wire = Wire().feed(GET % 1)
    wire.lost()
    assert wire.upstream.finished == 1
    assert wire.connections.open == set()
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 closed>"
    wire.connection.check(inf)


def test_a_half_closed_client_is_probed(clock: Clock) -> None:
    wire = Wire().feed(GET % 1)
    wire.connection.eof_received()
    assert wire.connection.deadline == clock.now + PROBE_SECONDS
    clock.now += PROBE_SECONDS
    wire.connection.check(clock.now)
    assert wire.transport.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.connection.check(clock.now)
    assert wire.transport.take() == b""
    assert not wire.transport.aborted


def half_closed_stream(sent: bytes, error: int = 0, head: bytes = EVENTS) -> Wire:
    """An event stream under way whose client has sent a FIN; `error` is what its socket tells."""
    wire = Wire().feed(GET % 1)
    wire.transport.extra["socket"] = SimpleNamespace(getsockopt=lambda level, option: error)
    wire.upstream.begin_answer(head, sent)
    wire.connection.eof_received()
    wire.transport.take()
    return wire


def test_a_half_closed_client_of_an_event_stream_is_probed_with_a_comment(clock: Clock) -> None:
    wire = half_closed_stream(b"data: 1\n")
    wire.connections.sweep(clock.now + 0.4)
    assert wire.transport.take() == b""
    clock.now += PROBE_SECONDS
    wire.connections.sweep(clock.now)
    assert wire.transport.take() == b"2\r\n:\n\r\n"
    wire.connections.sweep(clock.now + 0.1)
    assert wire.connection.deadline == clock.now + 0.1 + PROBE_AGAIN_SECONDS
    wire.connections.sweep(clock.now + 0.1 + PROBE_AGAIN_SECONDS)
    assert wire.transport.take() == b"2\r\n:\n\r\n"
    assert not wire.transport.aborted


def test_a_half_closed_client_of_an_event_stream_that_has_gone_ends_it(clock: Clock) -> None:
    wire = half_closed_stream(b"data: 1\n\n", error=104)
    wire.connections.sweep(clock.now + PROBE_SECONDS)
    assert wire.upstream.finished == 0
    wire.connections.sweep(clock.now + PROBE_SECONDS + 0.1)
    assert wire.transport.aborted
    assert wire.upstream.finished == 1


def test_a_probe_waits_for_the_end_of_a_line_and_never_comes_into_a_compressed_stream(clock: Clock) -> None:
    wire = half_closed_stream(b"data: 1")
    wire.connections.sweep(clock.now + PROBE_SECONDS)
    assert wire.transport.take() == b""
    assert isinstance(wire.upstream.body, Body)
    wire.upstream.body.feed(b"\n")
    wire.transport.take()
    wire.connections.sweep(clock.now + PROBE_SECONDS + 0.1)
    assert wire.transport.take() == b"2\r\n:\n\r\n"

    packed = half_closed_stream(b"\x1f\x8b\n", head=EVENTS + b"content-encoding: gzip\r\n")
    packed.connections.sweep(clock.now + PROBE_SECONDS)
    packed.connections.sweep(clock.now + PROBE_SECONDS + 1)
    assert packed.transport.take() == b""
    assert not packed.transport.aborted


# backpressure


def test_a_transport_holds_as_much_as_the_limit_says() -> None:
    wire = Wire(limits=ClientLimits(write_buffer=4096))
    assert wire.transport.high == 4096


def stalled(wire: Wire) -> Body:
    """A response under way whose client reads nothing."""
    body = wire.upstream.begin_answer(OK + b"content-length: 9\r\n", b"abc")
    wire.connection.pause_writing()
    return body


def test_a_client_that_reads_nothing_holds_its_endpoint() -> None:
    wire = Wire().feed(GET % 1)
    stalled(wire)
    assert wire.upstream.paused
    wire.connection.resume_writing()
    assert not wire.upstream.paused


def test_a_full_endpoint_holds_its_client_and_nobody_else_lets_it_go() -> None:
    wire = Wire().feed(POST % 9 + b"abc")
    wire.connection.hold("endpoint")
    wire.connection.hold("policy")
    assert not wire.transport.reading
    wire.connection.release("policy")
    assert not wire.transport.reading
    wire.connection.release("endpoint")
    assert wire.transport.reading


def test_a_client_that_still_reads_nothing_holds_the_endpoint_of_its_next_request() -> None:
    """A transport says once that it is full: what is answered next must wait all the same."""
    wire = Wire(upstreams=2).feed(GET % 1 + GET % 2)
    wire.upstream.begin_answer(OK + b"content-length: 3\r\n", b"abc")
    wire.connection.pause_writing()
    wire.upstream.end_answer()
    second = wire.upstreams[1]
    if second.sent:  # it may also wait with the request
        second.begin_answer(OK + b"content-length: 9\r\n", b"abc")
        assert second.paused
    wire.connection.resume_writing()
    assert second.sent
    assert not second.paused


def test_a_body_nobody_wants_any_more_is_read_although_the_endpoint_was_full() -> None:
    wire = Wire().feed(POST % 9 + b"abc")
    wire.connection.hold(wire.upstream)
    wire.answers(0)
    assert wire.statuses() == [200]
    assert wire.transport.reading


# deadlines


def test_a_connection_at_rest_closes_after_the_keep_alive_time(clock: Clock) -> None:
    wire = Wire()
    assert wire.connection.deadline == clock.now + 75
    wire.feed(GET % 1)
    assert wire.connection.deadline == inf
    wire.answers(0)
    assert wire.connection.deadline == clock.now + 75
    wire.connection.check(clock.now + 74)
    assert not wire.transport.closing
    wire.connection.check(clock.now + 75)
    assert wire.transport.closing
    assert wire.statuses() == [200]


@pytest.mark.parametrize("rested", [0, 70])
def test_a_head_has_its_time_from_its_first_byte_however_long_the_connection_rested(clock: Clock, rested: int) -> None:
    wire = Wire()
    clock.now += rested
    begun = clock.now
    wire.feed(b"GET / HTTP/1.1\r\n")
    clock.now += 9
    wire.feed(b"host")
    assert wire.connection.deadline == begun + 10
    wire.connection.check(begun + 10)
    assert wire.statuses() == [408]
    assert wire.transport.eof


def test_a_body_has_its_time_from_its_last_byte(clock: Clock) -> None:
    wire = Wire().feed(POST % 9 + b"abc")
    assert wire.connection.deadline == clock.now + 30
    clock.now += 20
    wire.feed(b"d")
    assert wire.connection.deadline == clock.now + 30
    wire.connection.check(clock.now + 30)
    assert wire.statuses() == [408]
    assert b"read.body_timeout" in wire.transport.written
    assert wire.transport.eof


def test_a_client_that_is_held_is_not_to_blame_for_the_time(clock: Clock) -> None:
    wire = Wire().feed(POST % 9 + b"abc")
    wire.connection.hold("endpoint")
    assert wire.connection.deadline == inf
    clock.now += 100
    wire.connection.release("endpoint")
    assert wire.connection.deadline == clock.now + 30


def test_a_client_that_reads_nothing_is_cut_off_after_the_write_time(clock: Clock) -> None:
    wire = Wire().feed(GET % 1)
    stalled(wire)
    wire.connection.check(clock.now + 59.9)
    assert not wire.transport.aborted
    wire.connection.check(clock.now + 60)
    assert wire.transport.aborted
    assert wire.upstream.finished == 1


def test_what_leaves_soon_behind_a_stall_counts_from_then(clock: Clock) -> None:
    wire = echo().feed(GET % 1)
    unsent = 100_000
    wire.transport.get_write_buffer_size = lambda: unsent  # type: ignore[method-assign]
    wire.connection.pause_writing()
    began, unsent = clock.now, 90_000
    while not wire.transport.aborted:
        clock.now = wire.connection.deadline
        wire.connection.check(clock.now)
    assert began + 60 < clock.now <= began + 75


def test_a_client_that_reads_nothing_is_served_no_further_until_it_reads() -> None:
    wire = Wire(local)
    wire.connection.pause_writing()
    wire.feed(GET % 1, GET % 2 + GET % 3)
    assert wire.statuses() == []
    wire.connection.resume_writing()
    assert bodies(wire) == [b"/1", b"/2", b"/3"]


def test_a_client_that_stalls_in_the_middle_of_what_it_pipelined_waits_there() -> None:
    wire = Wire(local)

    def write(data: bytes) -> None:
        wire.transport.written += data
        wire.connection.pause_writing()

    wire.transport.write = write  # type: ignore[method-assign]
    wire.feed(GET % 1 + GET % 2 + GET % 3)
    assert bodies(wire) == [b"/1"]
    wire.connection.resume_writing()
    assert bodies(wire) == [b"/1", b"/2"]
    wire.connection.resume_writing()
    assert bodies(wire) == [b"/1", b"/2", b"/3"]


def test_what_a_stalled_client_pipelines_is_bounded() -> None:
    wire = Wire(local, limits=ClientLimits(pipeline_buffer=100))
    wire.connection.pause_writing()
    wire.feed(b"x" * 101)
    assert not wire.transport.reading


def test_a_client_that_reads_again_is_read_again(clock: Clock) -> None:
    wire = Wire(local, limits=ClientLimits(pipeline_buffer=100))
    wire.connection.pause_writing()
    wire.feed(GET % 1 + GET % 2 + GET % 3)
    assert not wire.transport.reading
    wire.connection.resume_writing()
    assert bodies(wire) == [b"/1", b"/2", b"/3"]
    assert wire.transport.reading


def test_a_stalled_client_that_goes_on_sending_is_cut_off_after_the_write_time(clock: Clock) -> None:
    wire = Wire(local)
    wire.connection.pause_writing()
    began = clock.now
    for _ in range(5):
        clock.now += 10
        wire.feed(GET % 1)
    assert wire.connection.deadline <= began + 60
    clock.now = began + 60
    wire.connection.check(clock.now)
    assert wire.transport.aborted


def test_a_client_that_reads_a_little_in_each_write_time_is_not_cut_off(clock: Clock) -> None:
    wire = echo().feed(GET % 1)
    unsent = 100_000
    wire.transport.get_write_buffer_size = lambda: unsent  # type: ignore[method-assign]
    wire.connection.pause_writing()
    for _ in range(5):
        unsent -= 10
        clock.now += 60
        wire.connection.check(clock.now)
        assert not wire.transport.aborted
        assert wire.connection.deadline <= clock.now + 60
    clock.now += 60
    wire.connection.check(clock.now)
    assert wire.transport.aborted


def test_what_is_written_behind_a_stall_does_not_hide_that_the_client_reads(clock: Clock) -> None:
    wire = Wire(lambda x: x.set_timeouts(idle=None)).feed(GET % 1)
    unsent = 0

    def write(data: bytes) -> None:
        nonlocal unsent
        unsent += len(data)

    wire.transport.write = write  # type: ignore[method-assign]
    wire.transport.get_write_buffer_size = lambda: unsent  # type: ignore[method-assign]
    body = wire.upstream.begin_answer(OK + b"content-length: 900000\r\n", b"x" * 70_000)
    wire.connection.pause_writing()
    body.feed(b"x" * 200_000)  # what had been read of the endpoint already
    unsent -= 100_000  # the client took some of it
    clock.now += 60
    wire.connection.check(clock.now)
    assert not wire.transport.aborted


def test_a_client_that_never_closes_is_cut_off_after_the_linger_time(clock: Clock) -> None:
    wire = echo().feed(b"BAD\r\n\r\n")
    assert wire.connection.deadline == clock.now + 5
    wire.feed(b"more")
    assert wire.connection.deadline == clock.now + 5
    wire.connection.check(clock.now + 5)
    assert wire.transport.aborted


def test_a_client_that_takes_the_tail_of_an_answer_late_still_has_a_keep_alive_time(clock: Clock) -> None:
    wire = Wire().feed(GET % 1)
    wire.upstream.begin_answer(OK + b"content-length: 3\r\n", b"abc")
    wire.connection.pause_writing()
    wire.upstream.end_answer()
    clock.now += 1
    wire.connection.resume_writing()
    assert wire.connection.deadline <= clock.now + 75
    wire.connection.check(clock.now + 75)
    assert wire.transport.closing


def test_a_client_that_takes_the_tail_of_its_last_answer_late_is_still_cut_off_if_it_never_closes(clock: Clock) -> None:
    wire = Wire().feed(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    wire.upstream.begin_answer(OK + b"content-length: 3\r\n", b"abc")
    wire.connection.pause_writing()
    wire.upstream.end_answer()
    clock.now += 1
    wire.connection.resume_writing()
    assert wire.connection.deadline <= clock.now + 5
    wire.connection.check(clock.now + 5)
    assert wire.transport.aborted


def test_a_slow_client_has_the_write_time_for_the_tail_of_its_last_answer(clock: Clock) -> None:
    wire = Wire().feed(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    wire.upstream.begin_answer(OK + b"content-length: 3\r\n", b"abc")
    wire.connection.pause_writing()
    wire.upstream.end_answer()
    wire.connection.check(clock.now + 6)  # the linger time is for what a client still sends, not for what it reads
    assert not wire.transport.aborted
    wire.connection.check(clock.now + 60)
    assert wire.transport.aborted


def test_an_unread_body_that_stops_coming_ends_the_connection(clock: Clock) -> None:
    wire = echo().feed(POST % 9 + b"abc")
    assert wire.connection.deadline == clock.now + 30
    wire.connection.check(clock.now + 30)
    assert wire.transport.closing


def test_the_deadline_of_an_exchange_is_looked_at_too(clock: Clock) -> None:
    wire = Wire().feed(GET % 1)
    wire.connections.sweep(clock.now + 59)
    assert wire.statuses() == []
    wire.connections.sweep(clock.now + 60)
    assert wire.statuses() == [504]
    assert not wire.transport.closing


def test_a_sweep_passes_over_an_exchange_that_has_no_deadline(clock: Clock) -> None:
    wire = Wire(lambda x: x.set_timeouts(response=None)).feed(GET % 1)
    assert (wire.connection.deadline, wire.connection.due) == (inf, inf)


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (OwnHead(404, b""), b"HTTP/1.1 404 Not Found\r\n"),
        (OwnHead(599, b""), b"HTTP/1.1 599 \r\n"),
        (OwnHead(200, b"", b"Fine"), b"HTTP/1.1 200 Fine\r\n"),
        (OwnHead(200, b"", b""), b"HTTP/1.1 200 \r\n"),
    ],
)
def test_rfc9112_4_a_status_has_its_registered_reason_or_the_services_own(head: OwnHead, line: bytes) -> None:
    wire = Wire().feed(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    wire.connection.send(head, b"x: 1\r\n", b"")
    assert wire.transport.written == line + b"x: 1\r\n\r\n"


def test_rfc9110_15_5_22_a_426_of_the_gateway_says_to_what() -> None:
    wire = Wire().feed(handshake().replace(b": 13", b": 8"))
    upgrade = b"upgrade: websocket\r\nconnection: upgrade\r\n"
    assert wire.transport.written.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert wire.transport.written.count(upgrade) == 1


def test_a_426_of_a_service_is_not_taken_for_the_gateways() -> None:
    wire = Wire().feed(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    wire.upstream.answer(b"HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.0\r\nconnection: upgrade\r\n")
    assert b"upgrade:" not in wire.transport.written


# a WebSocket


class Taken:
    """Takes the place of an end of a tunnel: it reads what it is handed, and what had come before."""

    def __init__(self, stream: TransportStream | None) -> None:
        self.stream = stream
        self.early = b"" if stream is None else stream.attach(cast("Any", self), None)


def switched(wire: Wire) -> Taken:
    return Taken(wire.connection.switch(OwnHead(101, b"a: b\r\n", b"x"), b"c: d\r\n"))


def test_a_101_is_sent_and_the_connection_handed_over_with_what_has_come_behind_the_request() -> None:
    wire = Wire().feed(handshake() + frame(1, b"early"))
    assert wire.upstream.block.count(b"early") == 0
    end = switched(wire)
    upgrade = b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    assert wire.transport.written == b"HTTP/1.1 101 x\r\na: b\r\nc: d\r\n" + upgrade
    assert end.early == frame(1, b"early")
    assert end.stream is not None
    assert (end.stream.stalled, end.stream.ended) == (False, False)
    assert wire.transport.protocol is end
    assert wire.connection.deadline == inf


def test_a_client_that_has_sent_much_before_the_101_is_read_again_behind_it() -> None:
    wire = Wire(limits=ClientLimits(pipeline_buffer=100)).feed(handshake(), b"x" * 200)
    assert not wire.transport.reading
    assert switched(wire).early == b"x" * 200
    assert wire.transport.reading


def test_a_stall_and_a_fin_before_the_101_are_handed_over_too_and_their_deadlines_end(clock: Clock) -> None:
    wire = Wire().feed(handshake())
    wire.connection.eof_received()
    wire.connection.pause_writing()
    stream = switched(wire).stream
    assert stream is not None
    assert (stream.stalled, stream.ended) == (True, True)
    assert wire.connection.deadline == inf


def test_a_101_that_fills_the_buffer_is_a_stall_and_no_deadline_of_this_side_is_left(clock: Clock) -> None:
    wire = Wire().feed(handshake())
    wire.transport.write = lambda data: wire.connection.pause_writing()  # type: ignore[method-assign]
    stream = switched(wire).stream
    assert stream is not None
    assert stream.stalled
    assert wire.connection.deadline == inf
    clock.now += 1000
    wire.connection.check(clock.now)
    assert not wire.transport.aborted


def test_a_client_that_is_gone_is_handed_over_to_nobody() -> None:
    wire = Wire().feed(handshake())
    wire.transport.closing = True
    wire.connection._transport = None
    assert switched(wire).stream is None


def test_behind_the_101_a_lost_connection_is_the_tunnels_affair() -> None:
    wire = Wire().feed(handshake())
    switched(wire)
    wire.lost()
    assert wire.connection.exchange is not None
    assert wire.connections.open == {wire.connection}, "the endpoint's deadlines are still looked at"
    wire.connection.exchange_done(wire.connection.exchange)
    assert wire.connections.open == set()


def test_an_endpoint_that_does_not_answer_when_its_client_is_gone_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = clock_of(monkeypatch)
    wire = Wire().feed(handshake())
    endpoint = wire.upstream.transport = FakeTransport()
    wire.upstream.open()
    wire.transport.protocol.connection_lost(None)
    assert endpoint.written
    clock.now += CLOSE_SECONDS + 0.1
    wire.connections.sweep(clock.now)
    assert endpoint.aborted
    endpoint.protocol.connection_lost(None)
    assert wire.connections.open == set()


def test_a_cut_client_takes_its_tunnel_along() -> None:
    wire = Wire().feed(handshake())
    wire.upstream.transport = FakeTransport()
    wire.upstream.open()
    endpoint = wire.upstream.transport
    wire.connection.abort()
    assert wire.transport.aborted
    assert endpoint.aborted


@pytest.mark.parametrize("behind", [b"", frame(1, b"early"), GET % 1])
def test_bytes_behind_a_handshake_that_failed_are_no_request(behind: bytes) -> None:
    wire = Wire(lambda x: None, upstreams=2).feed(handshake() + behind)
    wire.answers(0)
    assert wire.statuses() == [200]
    assert wire.transport.eof is bool(behind)
    assert wire.upstreams[1].sent == []


def test_requests_in_front_of_a_handshake_are_answered_first() -> None:
    wire = Wire(upstreams=2).feed(GET % 1 + handshake() + frame(1, b"early"))
    assert wire.upstreams[1].sent == []
    wire.answers(0)
    assert wire.upstreams[1].sent
    assert switched(wire).early == frame(1, b"early")


# draining


def test_a_draining_worker_closes_what_rests_and_answers_what_is_under_way() -> None:
    resting = Wire()
    busy = Wire(connections=resting.connections)
    busy.feed(GET % 1)
    resting.connections.intake.draining = True
    for wire in (resting, busy):
        wire.connection.drain(Ending(inf, DRAINED))
    assert resting.transport.closing
    assert not busy.transport.closing
    resting.upstream.answer(OK + b"content-length: 0\r\n")
    assert b"connection: close\r\n" in busy.transport.written
    assert busy.transport.eof


@pytest.mark.parametrize(
    "end",
    [
        lambda wire: wire.upstream.end_answer(),
        lambda wire: (wire.upstream.end_answer(), wire.feed(b"defghi")),
    ],
    ids=["a response under way", "an unread body"],
)
def test_a_connection_whose_answer_had_begun_before_the_draining_is_closed_behind_it(
    end: Callable[[Wire], object], request: pytest.FixtureRequest
) -> None:
    unread = "unread" in request.node.name
    wire = Wire().feed(POST % 9 + b"abc" if unread else GET % 1)
    wire.upstream.begin_answer(OK + b"content-length: 3\r\n", b"abc")
    wire.connections.intake.draining = True
    wire.connection.drain(Ending(inf, DRAINED))
    end(wire)
    assert wire.transport.eof or wire.transport.closing


def test_a_draining_worker_ends_event_streams_and_closes_their_connections(clock: Clock) -> None:
    wire = Wire().feed(GET % 1)
    wire.upstream.begin_answer(EVENTS, b"data: 1\n\n")
    wire.upstream.body.feed(b"data: 2\n")
    wire.connections.intake.draining = True
    wire.connections.drain(clock.now, 10.0, DRAINED)
    wire.connections.sweep(clock.now)
    assert not wire.transport.eof
    wire.upstream.body.feed(b"\ndata: 3\n\n")
    assert wire.transport.written.endswith(b"data: 3\n\n\r\n0\r\n\r\n")
    assert wire.transport.eof
    assert wire.upstream.finished == 1


# where it comes from


def test_a_proxy_protocol_header_tells_the_peer() -> None:
    wire = Wire(connect=False)
    wire.connection = ClientConnection(wire.connections, b"198.51.100.7", b"443")
    wire.connection.connection_made(cast("Any", wire.transport))
    wire.feed(GET % 1)
    assert b"x-forwarded-for: 198.51.100.7\r\n" in wire.upstream.block


def test_a_unix_peer_has_no_address() -> None:
    wire = Wire(connect=False)
    wire.transport.extra = {"peername": "", "sockname": "/run/p.sock"}
    wire.connection.connection_made(cast("Any", wire.transport))
    assert repr(wire.connection) == "<ClientConnection unix idle>"


def test_the_origin_follows_the_host_of_each_request() -> None:
    wire = Wire(upstreams=2)
    for number, host in enumerate((b"a.example", b"b.example")):
        wire.feed(b"GET / HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
        assert b"x-forwarded-host: " + host + b"\r\n" in wire.upstreams[number].block
        wire.answers(number)
