"""A 101: only one that was asked for, and what follows it belongs to the tunnel."""

from __future__ import annotations

from typing import Any, cast

import pytest

from propylon.http.request_head import HeadRules, RequestFields
from propylon.transport.stream import TransportStream
from tests.support.endpoint_wire import LENGTH, Wire
from tests.support.frames import SWITCH, frame, handshake


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
