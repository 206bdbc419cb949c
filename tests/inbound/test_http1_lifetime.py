"""How long a client connection lives: its deadlines, whether it is kept, probes of half-closed clients, its ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from types import SimpleNamespace

import pytest

from propylon.engine.body import Body
from propylon.engine.timing import Ending
from propylon.engine.websocket.settings import DRAINED
from propylon.inbound.http1_lifetime import PROBE_AGAIN_SECONDS, PROBE_SECONDS
from tests.support.fakes import OK, Clock
from tests.support.frames import handshake
from tests.support.wire import EVENTS, GET, POST, Wire, echo, local, stalled


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


def test_rfc9110_15_5_22_a_426_of_the_gateway_says_to_what() -> None:
    wire = Wire().feed(handshake().replace(b": 13", b": 8"))
    upgrade = b"upgrade: websocket\r\nconnection: upgrade\r\n"
    assert wire.transport.written.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert wire.transport.written.count(upgrade) == 1


def test_a_426_of_a_service_is_not_taken_for_the_gateways() -> None:
    wire = Wire().feed(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    wire.upstream.answer(b"HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.0\r\nconnection: upgrade\r\n")
    assert b"upgrade:" not in wire.transport.written


# half-closed clients


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
    wire.transport.extra["socket"] = SimpleNamespace(getsockopt=lambda level, option: error, fileno=lambda: -1)
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


# clients that do not read


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


# lingering and draining


def test_a_client_that_never_closes_is_cut_off_after_the_linger_time(clock: Clock) -> None:
    wire = echo().feed(b"BAD\r\n\r\n")
    assert wire.connection.deadline == clock.now + 5
    wire.feed(b"more")
    assert wire.connection.deadline == clock.now + 5
    wire.connection.check(clock.now + 5)
    assert wire.transport.aborted


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


EVENT_STREAM = b"data: 1\n\n"


def streaming() -> Wire:
    wire = Wire().feed(GET % 1)
    wire.upstream.begin_answer(EVENTS, EVENT_STREAM)
    wire.transport.take()
    return wire


def test_a_client_that_acknowledges_nothing_of_a_stream_is_cut_after_the_write_timeout(clock: Clock) -> None:
    wire = streaming()
    wire.transport.unsent = 40
    for _ in range(4):
        wire.connections.sweep(clock.now)
        assert not wire.transport.aborted
        assert isinstance(wire.upstream.body, Body)
        wire.upstream.body.feed(EVENT_STREAM)
        wire.transport.unsent += 30
        clock.now += 15.0
    wire.connections.sweep(clock.now)
    assert wire.transport.aborted
    assert wire.upstream.finished == 1


def test_a_client_that_acknowledges_a_little_stays(clock: Clock) -> None:
    wire = streaming()
    wire.transport.unsent = 1000
    for _ in range(20):
        clock.now += 15.0
        wire.connections.sweep(clock.now)
        wire.transport.unsent -= 1
    assert not wire.transport.aborted


def test_a_stream_of_which_all_is_acknowledged_is_watched_again_with_its_next_event(clock: Clock) -> None:
    wire = streaming()
    wire.connections.sweep(clock.now + 15.0)
    assert wire.connection.deadline == inf
    assert isinstance(wire.upstream.body, Body)
    wire.upstream.body.feed(EVENT_STREAM)
    assert wire.connection.deadline == clock.now + 15.0


def test_a_half_closed_client_that_acknowledges_nothing_is_cut_too(clock: Clock) -> None:
    wire = half_closed_stream(EVENT_STREAM)
    wire.transport.unsent = 40
    for _ in range(9):
        wire.connections.sweep(clock.now)
        wire.transport.unsent += 20  # by a probe
        clock.now += 8.0
    assert wire.transport.aborted
