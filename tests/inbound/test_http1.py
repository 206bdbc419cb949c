"""One connection from a client: requests in order, bounded buffers, and an end for everything."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.engine.snapshot import ClientLimits
from propylon.engine.websocket.tunnel import CLOSE_SECONDS
from propylon.http.response_head import OwnHead
from propylon.inbound.http1 import TURN_REQUESTS
from propylon.transport.stream import TransportStream
from tests.support.fakes import OK, Clock, FakeTransport
from tests.support.frames import frame, handshake
from tests.support.tunnels import clock_of
from tests.support.wire import GET, POST, Wire, bodies, echo, local, stalled

# requests in, answers out


def test_a_request_reaches_the_endpoint_and_its_answer_the_client() -> None:
    assert repr(Wire(connect=False).connection) == "<ClientConnection new>"
    wire = Wire().feed(GET % 1)
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 answering>"
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


async def test_what_comes_while_requests_wait_for_their_turn_is_served_behind_them() -> None:
    wire = echo().feed(b"".join(GET % number for number in range(TURN_REQUESTS + 5)))
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 pipelined>"
    wire.feed(GET % 1000)
    assert len(wire.statuses()) == TURN_REQUESTS
    await asyncio.sleep(0)
    assert bodies(wire) == [b"/%d" % number for number in (*range(TURN_REQUESTS + 5), 1000)]


@pytest.mark.parametrize("pieces", [(b"\r\n",), (b"\r", b"\n")])
def test_rfc9112_2_2_an_empty_line_before_a_request_is_no_part_of_its_head(clock: Clock, pieces: list[bytes]) -> None:
    wire = echo().feed(*pieces)
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 idle>"
    assert wire.connection.deadline == clock.now + 75
    assert bodies(wire.feed(GET % 1 + b"\r\n" + GET % 2 + b"\r\n")) == [b"/1", b"/2"]
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 idle>"
    wire.feed(b"\r\n")
    assert wire.statuses() == [200, 200, 400]


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
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 answering, half-closed>"
    wire.answers(0, b"1")
    wire.answers(1, b"2")
    assert wire.statuses() == [200, 200]
    assert wire.transport.closing


def test_a_client_that_is_lost_ends_its_exchange() -> None:
    wire = Wire().feed(GET % 1)
    wire.lost()
    assert wire.upstream.finished == 1
    assert wire.connections.open == set()
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 closed>"
    wire.connection.check(inf)


# clients that do not read


def test_a_transport_holds_as_much_as_the_limit_says() -> None:
    wire = Wire(limits=ClientLimits(write_buffer=4096))
    assert wire.transport.high == 4096


def test_a_client_that_reads_nothing_holds_its_endpoint() -> None:
    wire = Wire().feed(GET % 1)
    stalled(wire)
    assert wire.upstream.paused
    wire.connection.resume_writing()
    assert not wire.upstream.paused


def test_a_client_that_reads_nothing_is_served_no_further_until_it_reads() -> None:
    wire = Wire(local)
    wire.connection.pause_writing()
    wire.feed(GET % 1, GET % 2 + GET % 3)
    assert repr(wire.connection) == "<ClientConnection 192.0.2.1 pipelined, stalled>"
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


def test_a_body_of_which_more_was_pipelined_than_may_wait_is_read_on_when_its_turn_comes() -> None:
    wire = Wire(limits=ClientLimits(pipeline_buffer=100))
    wire.connection.pause_writing()
    wire.feed(POST % 300 + b"x" * 200)
    assert not wire.transport.reading
    wire.connection.resume_writing()
    assert wire.transport.reading
    wire.feed(b"x" * 100)
    assert len(wire.upstream.request_body) == 300


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
