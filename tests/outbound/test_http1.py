"""One connection to an endpoint: every response framed exactly, and kept only if not one byte is in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.body import HIGH_WATER_BYTES, Body
from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.http.request_head import HeadRules, RequestFields
from propylon.outbound.http1 import MAX_HEAD_BYTES, MAX_INTERIM, EndpointConnection
from propylon.transport.stream import TransportStream
from tests.support.fakes import Clock, FakeClient, FakeTransport, attempt_on, exchange
from tests.support.frames import SWITCH, frame, handshake


class Pool:
    """Counts what comes back."""

    def __init__(self) -> None:
        self.given_back: list[object] = []
        self.lost_count = 0

    def give_back(self, connection: object) -> None:
        self.given_back.append(connection)

    def lost(self) -> None:
        self.lost_count += 1


class Sink:
    """Collects a body."""

    def __init__(self) -> None:
        self.data = b""
        self.trailers: list[tuple[bytes, bytes]] | None = None

    def write_body(self, data: bytes) -> None:
        self.data += data

    def end_body(self, trailers: list[tuple[bytes, bytes]]) -> None:
        assert self.trailers is None
        self.trailers = trailers


class Wire:
    """A connection with a fake transport, a pool that counts, and an exchange that waits."""

    def __init__(self, method: bytes = b"GET", *, send: bool = True) -> None:
        self.pool = Pool()
        self.connection = EndpointConnection(cast("Any", self.pool))
        self.connection.adopted = True
        self.transport = FakeTransport()
        self.connection.connection_made(cast("Any", self.transport))
        self.client = FakeClient()
        self.notified = 0
        self.begin(method)
        if send:
            self.connection.send(method, b"a", b"/", b"", b"", None)
            assert self.transport.take() == method + b" / HTTP/1.1\r\nhost: a\r\n\r\n"

    def begin(self, method: bytes = b"GET") -> None:
        self.x = exchange(client=self.client, method=method)
        self.x.start(self._waiting(self.x))
        self.connection.begin(self.x)

    async def _waiting(self, x: Exchange) -> None:
        while True:
            await x.pause()
            self.notified += 1

    def feed(self, *pieces: bytes) -> Wire:
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def eof(self, error: Exception | None = None) -> Wire:
        """Let the endpoint close, as a transport reports it."""
        if error is None:
            assert not self.connection.eof_received()
        self.connection.connection_lost(error)
        return self

    @property
    def body(self) -> bytes:
        """The body that has arrived and is whole."""
        assert self.connection.complete
        body = self.connection.body
        return body if isinstance(body, bytes) else body.held()

    @property
    def code(self) -> str:
        assert self.connection.error is not None
        return self.connection.error.code

    def kept(self) -> bool:
        """Finish the exchange, and say whether the connection went back to the pool."""
        self.connection.finish()
        if self.pool.given_back:
            assert self.pool.given_back == [self.connection]
            assert not self.transport.closing
            return True
        assert self.transport.closing
        return False


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"
TRAILERS = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: 1\r\n\r\n"
EMPTY = b"HTTP/1.1 304 x\r\ncontent-length: 5\r\n\r\n"
INTERIM = b"HTTP/1.1 103 x\r\nlink: a\r\n\r\nHTTP/1.1 100 x\r\n\r\n" + LENGTH


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]


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


def test_its_text_shows_its_state() -> None:
    wire = Wire()
    assert repr(wire.connection) == "<EndpointConnection busy>"
    wire.feed(LENGTH).connection.finish()
    assert repr(wire.connection) == "<EndpointConnection idle>"
    wire.eof()
    assert repr(wire.connection) == "<EndpointConnection closed>"


# heads


def test_interim_responses_are_passed_on_except_100() -> None:
    wire = Wire().feed(INTERIM)
    assert wire.client.calls == [("send_interim", 103)]


def test_a_flood_of_interim_responses_is_refused() -> None:
    one = b"HTTP/1.1 103 x\r\n\r\n"
    assert Wire().feed(one * MAX_INTERIM + LENGTH).connection.complete
    for pieces in ([one * (MAX_INTERIM + 1)], [one] * (MAX_INTERIM + 1)):
        wire = Wire().feed(*pieces)
        assert wire.code == "head.bad"
        assert wire.transport.closing


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 x\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 x\r\n\r\nbody",
        b"HTTP/1.1 200 x\r\ncontent-length: 1\r\n\r\nab",
    ],
)
def test_rfc9112_6_3_what_is_not_understood_is_the_endpoints_fault(head: bytes) -> None:
    wire = Wire().feed(head)
    assert wire.code == "head.bad"
    assert wire.connection.head is None
    assert not wire.kept()


def test_the_head_is_bounded_with_and_without_an_end() -> None:
    lines = b"a: " + b"b" * (MAX_HEAD_BYTES - 40) + b"\r\n"
    assert Wire().feed(OK + lines).connection.error is None
    assert Wire().feed(OK + lines, b"c: " + b"d" * 40).code == "head.bad"
    assert Wire().feed(OK + lines + b"c: " + b"d" * 30 + b"\r\n\r\n").code == "head.bad"


# requests


def test_a_whole_body_is_sent_with_its_length() -> None:
    wire = Wire(b"POST", send=False)
    wire.connection.send(b"POST", b"a", b"/", b"x: 1\r\n", b"y: 2\r\n", b"abc")
    assert wire.transport.take() == b"POST / HTTP/1.1\r\nhost: a\r\nx: 1\r\ny: 2\r\ncontent-length: 3\r\n\r\nabc"
    wire.connection.send(b"POST", b"a", b"/", b"", b"", b"")
    assert wire.transport.take() == b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"


def test_a_body_under_way_is_sent_as_its_length_says_or_in_chunks() -> None:
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 5)
    wire.connection.write_body(b"hello")
    wire.connection.end_body([])
    assert wire.transport.take() == b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", -1)
    wire.connection.write_body(b"0123456789abcdef")
    wire.connection.end_body([(b"x", b"1")])
    expected = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    assert wire.transport.take() == expected


@pytest.mark.parametrize(
    ("asked", "own"),
    [
        (b"te: trailers\r\nconnection: te\r\n", b"te: trailers\r\nconnection: te\r\n"),
        (
            b"connection: upgrade\r\nupgrade: websocket\r\n",
            b"upgrade: websocket\r\nconnection: upgrade\r\n",
        ),
        (b"te: gzip\r\n", b""),
    ],
)
def test_fields_that_end_at_this_hop_are_written_anew(asked: bytes, own: bytes) -> None:
    """RFC 9110 7.6.1, 10.1.4: the option of Connection comes with its field."""
    wire = Wire(send=False)
    wire.x.fields = RequestFields(asked, HeadRules())
    wire.connection.send(b"GET", b"a", b"/", b"x: 1\r\n", b"", None)
    assert wire.transport.take() == b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n" + own + b"\r\n"


def test_writing_to_a_connection_that_is_lost_does_nothing() -> None:
    wire = Wire(b"POST", send=False)
    wire.eof()
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", -1)
    wire.connection.write_body(b"abc")
    wire.connection.end_body([])
    wire.connection.hold(wire.client)
    wire.connection.release(wire.client)
    wire.connection.finish()
    assert wire.transport.take() == b""


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


def test_a_slow_endpoint_pauses_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 9)
    wire.connection.pause_writing()
    assert not wire.client.reading
    assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "attempt.stalled")
    wire.connection.resume_writing()
    assert wire.client.reading
    assert wire.x.deadline == float("inf")
    wire.connection.write_body(b"x" * 9)
    wire.connection.end_body([])
    assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "head.timeout")


def test_a_slow_endpoint_that_takes_the_end_gets_its_time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire(b"POST", send=False)
    wire.connection.send(b"POST", b"a", b"/", b"", b"", b"x" * 100)
    wire.connection.pause_writing()
    clock.now += 7
    wire.connection.resume_writing()
    assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "head.timeout")


def test_an_endpoint_that_takes_the_body_late_does_not_lose_the_time_of_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 9)
    wire.feed(OK + b"content-length: 9\r\n\r\n", b"abc")  # an early answer
    wire.connection.write_body(b"x" * 9)
    wire.connection.pause_writing()
    wire.connection.end_body([])
    assert wire.x.expiry == "attempt.stalled"
    wire.connection.resume_writing()
    assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "relay.idle_timeout")


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_rfc9112_9_2_bytes_before_the_request_are_no_answer_to_it(method: bytes) -> None:
    wire = Wire(method, send=False).feed(LENGTH)
    assert wire.connection.head is None
    assert wire.code == "attempt.closed"
    assert not wire.kept()


def test_bytes_before_a_second_request_are_no_answer_to_it_either() -> None:
    wire = Wire().feed(LENGTH)
    assert wire.kept()
    wire.begin()
    wire.feed(LENGTH)
    assert wire.connection.head is None
    assert wire.code == "attempt.closed"
    assert wire.transport.closing


def test_the_time_of_the_answer_begins_when_the_endpoint_has_taken_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire(b"POST", send=False)
    wire.transport.write = lambda data: wire.connection.pause_writing()  # type: ignore[method-assign]
    wire.connection.send(b"POST", b"a", b"/", b"", b"", b"x" * 100_000)
    assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "attempt.stalled")
    clock.now += 30
    wire.connection.resume_writing()
    assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "head.timeout")


def test_an_endpoint_that_takes_some_of_a_body_in_each_idle_time_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire(b"POST", send=False)
    unsent = 100_000
    wire.transport.get_write_buffer_size = lambda: unsent  # type: ignore[method-assign]
    wire.x.attempt = attempt_on(wire.x, wire.connection)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 200_000)
    wire.connection.pause_writing()
    for _ in range(5):
        unsent -= 10
        clock.now += 60
        wire.x.check(clock.now)
        assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "attempt.stalled")
    clock.now += 60
    codes: list[str] = []
    monkeypatch.setattr(Exchange, "fail", lambda x, error: codes.append(error.code))
    wire.x.check(clock.now)
    assert codes == ["attempt.stalled"]


def test_what_is_written_behind_a_stall_does_not_hide_that_the_endpoint_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire(b"POST", send=False)
    unsent = 0

    def write(data: bytes) -> None:
        nonlocal unsent
        unsent += len(data)

    wire.transport.write = write  # type: ignore[method-assign]
    wire.transport.get_write_buffer_size = lambda: unsent  # type: ignore[method-assign]
    wire.x.attempt = attempt_on(wire.x, wire.connection)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 900_000)
    wire.connection.write_body(b"x" * 70_000)
    wire.connection.pause_writing()
    wire.connection.write_body(b"x" * 200_000)  # what had been read of the client already
    unsent -= 100_000  # the endpoint took some of it
    clock.now += 60
    codes: list[str] = []
    monkeypatch.setattr(Exchange, "fail", lambda x, error: codes.append(error.code))
    wire.x.check(clock.now)
    assert codes == []


def test_an_upload_behind_an_early_head_is_not_ended_by_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, exchange_module, timed_module)
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 4)
    wire.feed(OK + b"content-length: 9\r\n\r\n", b"abc")
    assert wire.x.deadline == float("inf")
    wire.connection.write_body(b"abcd")
    wire.connection.end_body([])
    assert (wire.x.deadline, wire.x.expiry) == (clock.now + 60, "relay.idle_timeout")


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


# a WebSocket


class Taken:
    """Takes the place of an end of a tunnel: it reads what it is handed, and what had come before."""

    def __init__(self, stream: TransportStream | None) -> None:
        self.stream = stream
        self.early = b"" if stream is None else stream.attach(cast("Any", self), None)


def shaken(*pieces: bytes, asked: bytes = handshake()) -> Wire:
    """A connection on which a handshake was sent, and what was answered."""
    wire = Wire()
    wire.x.fields = RequestFields(asked.partition(b"\r\n")[2][:-2], HeadRules())
    return wire.feed(*pieces)


@pytest.mark.parametrize("cut", [1, 40, len(SWITCH) - 1, len(SWITCH), len(SWITCH) + 3])
def test_a_101_is_told_and_what_follows_it_waits(cut: int) -> None:
    data = SWITCH + frame(1, b"early", mask=None)
    wire = shaken(data[:cut], data[cut:])
    assert wire.connection.head is not None
    assert wire.connection.head.status == 101
    assert Taken(wire.connection.switch()).early == frame(1, b"early", mask=None)


def test_behind_a_101_nothing_is_read_until_it_is_taken() -> None:
    wire = shaken(SWITCH)
    assert wire.notified == 1
    assert not wire.transport.reading
    assert not wire.connection.complete


def test_it_is_handed_over_with_what_has_come_behind_the_101() -> None:
    wire = shaken(SWITCH + frame(1, b"early", mask=None))
    stream = wire.connection.switch()
    assert stream is not None
    assert (stream.stalled, stream.ended) == (False, False)
    end = Taken(stream)
    assert end.early == frame(1, b"early", mask=None)
    assert wire.transport.protocol is end
    assert wire.transport.reading


def test_a_stall_is_handed_over_and_no_hold_is_left_behind() -> None:
    wire = shaken()
    wire.connection.pause_writing()
    wire.feed(SWITCH)
    wire.connection.hold(wire.client)  # the client was full when its 101 was written
    stream = wire.connection.switch()
    assert stream is not None
    assert stream.stalled
    Taken(stream)
    assert wire.transport.reading


def test_a_connection_that_is_lost_behind_the_101_is_handed_over_to_nobody() -> None:
    wire = shaken(SWITCH)
    wire.eof()
    assert wire.connection.switch() is None
    assert wire.pool.lost_count == 1


def test_it_never_goes_back_to_the_pool() -> None:
    wire = shaken(SWITCH)
    Taken(wire.connection.switch())
    wire.connection.finish()
    assert wire.pool.given_back == []
    assert wire.transport.aborted
    wire.connection.connection_lost(None)
    assert wire.pool.lost_count == 1
    assert wire.connection.error is None


def test_101_may_follow_other_interim_responses_and_a_final_one_is_no_switch() -> None:
    wire = shaken(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + SWITCH)
    assert wire.client.calls == [("send_interim", 103)]
    assert wire.connection.head is not None
    wire = shaken(LENGTH)
    wire.connection.finish()
    assert len(wire.pool.given_back) == 1


@pytest.mark.parametrize(
    "head",
    [
        SWITCH.replace(b"s3pP", b"XXXX"),
        SWITCH.replace(b"sec-websocket-accept", b"x-accept"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
        SWITCH.replace(b"upgrade: websocket\r\n", b""),
        SWITCH.replace(b"upgrade: websocket", b"upgrade: h2c"),
        SWITCH.replace(b"upgrade: websocket", b"upgrade: websocket, h2c"),
        SWITCH.replace(b"connection: Upgrade\r\n", b""),
        SWITCH.replace(b"connection: Upgrade", b"connection: Upgrade, sec-websocket-accept"),
        SWITCH.replace(b"\r\n\r\n", b"\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
    ],
)
def test_rfc6455_4_1_a_101_that_does_not_answer_the_handshake_is_none(head: bytes) -> None:
    wire = shaken(head)
    assert wire.code == "head.bad"
    assert wire.transport.closing


def test_rfc9110_7_8_a_101_that_nobody_asked_for_is_none() -> None:
    wire = Wire().feed(SWITCH)
    assert wire.code == "head.bad"
    assert wire.transport.closing


def test_the_framing_of_a_101_means_nothing() -> None:
    wire = shaken(SWITCH.replace(b"\r\n\r\n", b"\r\ncontent-length: 5\r\n\r\n") + frame(1, b"x", mask=None))
    assert wire.connection.head is not None
    assert b"content-length" not in wire.connection.head.block
    assert Taken(wire.connection.switch()).early == frame(1, b"x", mask=None)
