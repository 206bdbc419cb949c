"""What a connection writes to an endpoint, and what waits while the endpoint does not take it."""

from __future__ import annotations

import pytest

from propylon.engine import exchange as exchange_module
from propylon.engine import timed as timed_module
from propylon.engine.exchange import Exchange
from propylon.http.request_head import HeadRules, RequestFields
from tests.support.endpoint_wire import LENGTH, OK, Wire
from tests.support.fakes import Clock, attempt_on

# requests


def test_a_whole_body_is_sent_with_its_length() -> None:
    wire = Wire(b"POST", send=False)
    wire.connection.send(b"POST", b"a", b"/", b"x: 1\r\n", b"y: 2\r\n", b"abc")
    assert wire.transport.take() == b"POST / HTTP/1.1\r\nhost: a\r\nx: 1\r\ny: 2\r\ncontent-length: 3\r\n\r\nabc"
    wire = Wire(b"POST", send=False)
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


# an endpoint that does not take it


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


@pytest.mark.parametrize("pieces", [[b"abcd"], [b"ab"]])
def test_a_body_that_is_not_as_long_as_was_said_fails_and_closes(pieces: list[bytes]) -> None:
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 3)
    for piece in pieces:
        wire.connection.write_body(piece)
    if wire.connection.error is None:
        wire.connection.end_body([])
    assert wire.code == "gateway.failed"
    assert wire.transport.aborted


def test_the_rest_of_an_upload_to_a_connection_that_is_lost_is_no_failure_of_the_gateway() -> None:
    wire = Wire(b"POST", send=False)
    wire.connection.send_head(b"POST", b"a", b"/", b"", b"", 9)
    wire.feed(LENGTH).eof()  # an early answer, and the end
    wire.connection.write_body(b"x" * 9)
    wire.connection.end_body([])
    assert wire.connection.complete
    assert wire.connection.error is None
