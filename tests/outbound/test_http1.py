"""One connection to an endpoint: every response framed exactly, and kept only if not one byte is in doubt."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.body import HIGH_WATER_BYTES, Body
from propylon.engine.errors import GatewayError
from tests.support.endpoint_wire import CHUNKED, EMPTY, INTERIM, LENGTH, OK, TRAILERS, Sink, Wire, cuts
from tests.support.fakes import Clock, FakeUpstream


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        (LENGTH, b"hello"), (CHUNKED, b"hello"), (TRAILERS, b"hello"), (EMPTY, b""), (INTERIM, b"hello"),
        (OK + b"content-length: 0\r\n\r\n", b""),
    ],
    ids=["length", "chunked", "trailers", "304", "interim", "nothing"],
)  # fmt: skip
def test_a_response_is_read_the_same_whatever_its_cuts_and_the_connection_is_kept(stream: bytes, body: bytes) -> None:
    for pieces in cuts(stream):
        wire = Wire()
        wire.feed(*pieces)
        assert wire.connection.heard
        assert wire.connection.head is not None
        assert wire.body == body
        assert wire.connection.error is None
        assert wire.kept()
        assert not wire.connection.fresh


def test_a_chunked_body_that_arrives_whole_is_plain_bytes_unless_it_has_trailers() -> None:
    assert Wire().feed(CHUNKED).connection.body == b"hello"
    wire = Wire().feed(TRAILERS)
    sink = Sink()
    assert isinstance(wire.connection.body, Body)
    wire.connection.body.pipe(sink)
    assert (sink.data, sink.trailers) == (b"hello", [(b"x", b"1")])


def test_rfc9112_6_3_a_body_without_length_ends_with_the_connection_which_is_not_kept() -> None:
    for pieces in cuts(OK + b"\r\nhello"):
        wire = Wire().feed(*pieces)
        assert not wire.connection.complete
        assert wire.eof().body == b"hello"
        assert not wire.pool.given_back
        assert wire.pool.lost_count == 1


def test_a_body_without_length_that_breaks_off_is_not_complete() -> None:
    wire = Wire().feed(OK + b"\r\nhello").eof(ConnectionResetError())
    assert not wire.connection.complete
    assert wire.code == "relay.truncated"


def refused(*pieces: bytes, unread: bytes = b"", body: bytes | None = b"upload") -> Wire:
    """A request that is reset while it is sent; `unread` was not read before."""
    wire = Wire(b"POST", send=False)
    wire.x.body = body
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 9)
    wire.feed(*pieces)
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.sendall(unread)
        wire.transport.extra["socket"] = reading
        return wire.eof(ConnectionResetError())


@pytest.mark.parametrize("stream", [LENGTH, CHUNKED, TRAILERS], ids=["length", "chunked", "trailers"])
def test_9112_9_5_a_response_that_was_not_read_before_the_reset_is_complete(stream: bytes) -> None:
    for at in range(len(stream)):
        wire = refused(*([stream[:at]] if at else []), unread=stream[at:])
        assert wire.body == b"hello"
        assert wire.connection.error is None
        wire.connection.finish()
        assert (wire.pool.given_back, wire.pool.lost_count) == ([], 1)


def test_a_reset_without_a_whole_response_is_a_failure() -> None:
    assert refused().code == "attempt.closed"
    assert refused(LENGTH[:9]).code == "attempt.closed"
    assert refused(LENGTH[:-1]).code == "relay.truncated"


def test_a_refusal_without_length_is_whole_when_the_reset_is_that_of_the_unread_request() -> None:
    refusal = b"HTTP/1.1 401 x\r\n\r\nwho?"
    assert refused(refusal).body == b"who?"
    assert refused(unread=refusal).body == b"who?"
    assert refused(refusal, body=None).code == "relay.truncated"
    assert refused(OK + b"\r\nhalf").code == "relay.truncated"


def test_an_endpoint_that_closes_is_not_written_to_until_it_has_read_everything() -> None:
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 9)
    assert not wire.connection.eof_received()
    assert wire.transport.aborted


@pytest.mark.parametrize("stream", [LENGTH, CHUNKED, TRAILERS], ids=["length", "chunked", "trailers"])
def test_a_response_that_breaks_off_anywhere_has_failed_and_is_not_kept(stream: bytes) -> None:
    end = stream.index(b"\r\n\r\n") + 4
    for at in range(len(stream)):
        wire = Wire().feed(*([stream[:at]] if at else [])).eof()
        assert wire.code == ("attempt.closed" if at < end else "relay.truncated")
        assert wire.connection.heard is (at > 0)
        wire.connection.finish()
        assert not wire.pool.given_back


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("stream", [LENGTH, CHUNKED, EMPTY], ids=["length", "chunked", "304"])
@pytest.mark.parametrize("together", [True, False])
def test_a_byte_too_many_is_never_taken_for_the_next_response(method: bytes, stream: bytes, together: bool) -> None:
    if method == b"HEAD":
        stream = stream[: stream.index(b"\r\n\r\n") + 4]
    wire = Wire(method)
    wire.feed(*([stream + b"H"] if together else [stream, b"H"]))
    assert not wire.kept()


@given(st.integers(0, len(CHUNKED) - 1), st.integers(0, 255))
@settings(max_examples=200)
def test_a_corrupted_response_fails_or_is_read_and_never_anything_else(at: int, byte: int) -> None:
    wire = Wire().feed(CHUNKED[:at] + bytes([byte]) + CHUNKED[at + 1 :]).eof()
    assert wire.connection.complete is (wire.connection.error is None)
    if wire.connection.error is not None:
        assert wire.code in ("head.bad", "attempt.closed", "relay.bad_chunk", "relay.truncated")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_rfc9112_9_3_a_connection_that_the_endpoint_does_not_keep_is_not_kept(head: bytes) -> None:
    assert not Wire().feed(head).kept()


def test_an_unread_body_is_not_kept() -> None:
    wire = Wire().feed(OK + b"content-length: 9\r\n\r\nabc")
    assert not wire.kept()


def test_a_request_that_was_not_sent_whole_is_not_kept() -> None:
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 9)
    wire.connection.write_body(b"abc")
    wire.feed(LENGTH)
    assert wire.connection.complete
    assert not wire.kept()


def test_an_exchange_that_is_given_up_before_its_head_closes_the_connection() -> None:
    assert not Wire().kept()


def test_a_kept_connection_carries_the_next_exchange_from_the_beginning() -> None:
    wire = Wire().feed(LENGTH)
    wire.connection.finish()
    wire.begin(b"HEAD")
    wire.connection.send(b"HEAD", b"a", b"/", b"", b"", None)
    assert (wire.connection.head, wire.connection.heard, wire.connection.complete) == (None, False, False)
    wire.feed(OK + b"content-length: 7\r\n\r\n")
    assert wire.body == b""


def test_a_byte_while_it_rests_closes_it() -> None:
    wire = Wire().feed(LENGTH)
    wire.connection.finish()
    assert wire.connection.usable
    wire.feed(b"H")
    assert not wire.connection.usable
    assert wire.transport.closing


def test_a_connection_that_was_closed_while_it_rested_fails_at_once_and_was_not_heard_of() -> None:
    wire = Wire().feed(LENGTH)
    wire.connection.finish()
    wire.eof()
    wire.begin()
    assert wire.code == "attempt.closed"
    assert not wire.connection.heard
    wire.connection.send(b"GET", b"a", b"/", b"", b"", None)
    wire.connection.finish()
    assert len(wire.pool.given_back) == 1


def test_a_connection_that_the_endpoint_closes_while_it_rests_takes_no_exchange() -> None:
    wire = Wire().feed(LENGTH)
    wire.connection.finish()
    wire.connection.eof_received()  # and the transport has still to tell of the end
    assert not wire.connection.usable
    wire.begin()
    assert wire.code == "attempt.closed"
    assert repr(wire.connection) == "<EndpointConnection closing>"


@pytest.mark.parametrize("stream", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_a_byte_behind_the_last_piece_of_a_body_is_not_kept(stream: bytes) -> None:
    head, _, body = stream.partition(b"\r\n\r\n")
    wire = Wire().feed(head + b"\r\n\r\n", body + b"H")
    assert wire.body == b"hello"
    assert not wire.kept()


def test_its_text_shows_its_state() -> None:
    wire = Wire(b"POST", send=False)
    assert repr(wire.connection) == "<EndpointConnection begun>"
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 1)
    assert repr(wire.connection) == "<EndpointConnection sending>"
    wire.connection.write_body(b"x")
    wire.connection.end_body([])
    assert repr(wire.connection) == "<EndpointConnection waiting>"
    wire.feed(LENGTH[:-1])
    assert repr(wire.connection) == "<EndpointConnection receiving>"
    wire.feed(LENGTH[-1:]).connection.finish()
    assert repr(wire.connection) == "<EndpointConnection idle>"
    wire.eof()
    assert repr(wire.connection) == "<EndpointConnection closed>"


def test_the_first_failure_stands_when_the_connection_is_lost_behind_it() -> None:
    wire = Wire().feed(OK + b"transfer-encoding: chunked\r\n\r\n", b"zz")
    assert wire.code == "relay.bad_chunk"
    notified = wire.notified
    wire.eof()
    assert wire.code == "relay.bad_chunk"
    assert wire.notified == notified


@pytest.mark.parametrize("framing", [b"content-length: 5\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n5\r\n"])
def test_what_takes_the_last_piece_may_give_the_exchange_up(framing: bytes) -> None:
    wire = Wire().feed(OK + framing)

    class Quitter(Sink):
        def write_body(self, data: bytes) -> None:
            wire.connection.finish()

    body = wire.connection.body
    assert isinstance(body, Body)
    body.pipe(Quitter())
    wire.feed(b"hello" if b"length" in framing else b"hello\r\n0\r\n\r\n")
    assert not wire.pool.given_back
    assert not body.ended
    assert repr(wire.connection) == "<EndpointConnection closing>"


# pausing, and time


def test_a_slow_client_pauses_the_endpoint() -> None:
    wire = Wire().feed(OK + b"content-length: 9\r\n\r\n")
    wire.connection.hold(wire.client)
    assert not wire.transport.reading
    assert wire.x.deadline == float("inf")
    wire.connection.release(wire.client)
    assert wire.transport.reading
    assert wire.x.expiry == "relay.idle_timeout"


def test_an_endpoint_that_two_hold_waits_for_both() -> None:
    wire = Wire().feed(OK + b"content-length: 9\r\n\r\n")
    wire.connection.hold("a")
    wire.connection.hold("b")
    wire.connection.release("a")
    assert not wire.transport.reading
    wire.connection.release("nobody")
    assert not wire.transport.reading
    wire.connection.release("b")
    assert wire.transport.reading


def test_a_body_that_nobody_takes_pauses_the_endpoint_and_a_kept_connection_reads_again() -> None:
    size = HIGH_WATER_BYTES + 10
    wire = Wire().feed(OK + b"content-length: %d\r\n\r\n" % size, b"x" * (size - 1))
    assert not wire.transport.reading
    wire.feed(b"x")
    assert wire.kept()
    assert wire.transport.reading


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_rfc9112_9_2_bytes_before_the_request_are_no_answer_to_it(method: bytes) -> None:
    wire = Wire(method, send=False).feed(LENGTH)
    assert wire.connection.head is None
    assert wire.code == "head.bad"
    assert not wire.kept()


def test_bytes_before_a_second_request_are_no_answer_to_it_either() -> None:
    wire = Wire().feed(LENGTH)
    assert wire.kept()
    wire.begin()
    wire.feed(LENGTH)
    assert wire.connection.head is None
    assert wire.code == "attempt.closed"
    assert wire.transport.closing


def test_each_piece_of_a_body_renews_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire().feed(OK + b"content-length: 9\r\n\r\n", b"a")
    clock.now += 10
    wire.feed(b"b")
    assert wire.x.deadline == clock.now + 60
    wire.connection.hold(wire.client)
    wire.feed(b"c")
    assert wire.x.deadline == float("inf")


def test_the_exchange_is_told_of_the_head_the_end_and_a_failure() -> None:
    wire = Wire().feed(OK, b"content-length: 2\r\n\r\n")
    assert wire.notified == 1
    wire.feed(b"a")
    assert wire.notified == 1
    wire.feed(b"b")
    assert wire.notified == 2
    wire = Wire().eof()
    assert wire.notified == 1


def test_what_is_piped_arrives_as_it_comes() -> None:
    wire = Wire().feed(OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
    sink = Sink()
    assert isinstance(wire.connection.body, Body)
    wire.connection.body.pipe(sink)
    wire.feed(b"2\r\nb", b"c\r\n")
    assert sink.data == b"abc"
    wire.feed(b"0\r\ny: 2\r\n\r\n")
    assert sink.trailers == [(b"y", b"2")]


def test_a_detached_body_is_dropped() -> None:
    wire = Wire().feed(OK + b"content-length: 9\r\n\r\nabc")
    body = wire.connection.body
    wire.connection.finish()
    assert isinstance(body, Body)
    assert body.held() == b""


def test_a_connection_error_is_only_for_the_log() -> None:
    wire = Wire().eof(OSError("10.0.0.7 reset"))
    error = wire.connection.error
    assert isinstance(error, GatewayError)
    assert error.log == "10.0.0.7 reset"
    assert error.detail == ""


@pytest.mark.parametrize("ending", ["close", "eof", "lost"])
def test_the_room_of_a_connection_is_given_back_at_its_close_and_once(ending: str) -> None:
    wire = Wire()
    wire.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    wire.connection.finish()
    if ending == "close":
        wire.connection.close()
        assert wire.pool.lost_count == 1
    elif ending == "eof":
        assert not wire.connection.eof_received()
        assert wire.pool.lost_count == 1
    wire.connection.connection_lost(None)
    assert wire.pool.lost_count == 1


@pytest.mark.parametrize("unsent", [0, 1])
def test_a_connection_whose_endpoint_responds_and_does_not_take_the_body_is_not_reused(unsent: int) -> None:
    wire = Wire(b"POST", send=False)
    body = wire.x.body = Body(FakeUpstream(), 5)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 5)
    body.pipe(wire.connection)
    body.feed(b"hello")
    body.end([])
    wire.transport.unsent = unsent
    wire.feed(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
    wire.connection.finish()
    assert wire.pool.given_back == ([] if unsent else [wire.connection])
