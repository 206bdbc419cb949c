"""Bodies of requests: passed on as they come, waited for, refused, dropped, and never without bound."""

from __future__ import annotations

from math import inf

from propylon.inbound.http1_lifetime import MAX_DISCARD_BYTES
from tests.support.fakes import Clock
from tests.support.wire import GET, POST, Wire, bodies, echo


def test_the_rest_of_a_small_unread_body_is_dropped_and_the_connection_kept() -> None:
    wire = echo().feed(POST % 10 + b"abc")
    assert wire.statuses() == [200]
    assert not wire.transport.eof
    wire.feed(b"defghij" + GET % 2)
    assert bodies(wire) == [b"/1", b"/2"]


def test_a_large_or_unbounded_unread_body_ends_the_connection() -> None:
    for request in (
        POST % (MAX_DISCARD_BYTES + 1),
        b"POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
    ):
        wire = echo().feed(request)
        assert wire.statuses() == [200]
        assert b"connection: close\r\n" in wire.transport.written
        assert wire.transport.eof
        wire.feed(b"x" * 1000 + GET % 2)
        assert bodies(wire) == [b"/1"]


def test_an_unread_body_that_stops_coming_ends_the_connection(clock: Clock) -> None:
    wire = echo().feed(POST % 9 + b"abc")
    assert wire.connection.deadline == clock.now + 30
    wire.connection.check(clock.now + 30)
    assert wire.transport.closing


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


def test_a_fin_in_the_middle_of_a_body_is_told() -> None:
    wire = Wire().feed(POST % 5 + b"ab")
    assert wire.connection.eof_received() is True
    assert wire.statuses() == [400]
    assert b"read.unexpected_eof" in wire.transport.written


def test_a_full_endpoint_holds_its_client_and_nobody_else_lets_it_go() -> None:
    wire = Wire().feed(POST % 9 + b"abc")
    wire.connection.hold("endpoint")
    wire.connection.hold("policy")
    assert not wire.transport.reading
    wire.connection.release("policy")
    assert not wire.transport.reading
    wire.connection.release("endpoint")
    assert wire.transport.reading


def test_a_body_nobody_wants_any_more_is_read_although_the_endpoint_was_full() -> None:
    wire = Wire().feed(POST % 9 + b"abc")
    wire.connection.hold(wire.upstream)
    wire.answers(0)
    assert wire.statuses() == [200]
    assert wire.transport.reading


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
