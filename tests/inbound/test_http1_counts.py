"""What an exchange counts of its client's bytes, as they pass the connection."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from propylon import Response
from propylon.engine.body import Body
from propylon.engine.exchange import Exchange
from propylon.inbound.http1_writer import JOIN_BYTES
from tests.support.fakes import OK
from tests.support.frames import SWITCH, close_frame, frame, handshake
from tests.support.wire import GET, POST, Wire

CHUNKED = b"POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: 1\r\n\r\n"


class Counts:
    """An on_done policy that notes the counts."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.protocols: list[str] = []

    def on_done(self, x: Exchange) -> None:
        self.seen.append((x.bytes_in, x.bytes_out))
        self.protocols.append(x.protocol)


@pytest.mark.parametrize("request_bytes", [GET % 1, POST % 5 + b"hello", CHUNKED], ids=["GET", "counted", "chunked"])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_every_byte_of_a_request_and_its_response_is_counted_once(request_bytes: bytes, piece: int) -> None:
    counts = Counts()
    wire = Wire(counts)
    wire.feed(*[request_bytes[at : at + piece] for at in range(0, len(request_bytes), piece)])
    wire.upstream.answer(OK + b"content-length: 2\r\n", b"ok")
    assert counts.seen == [(len(request_bytes), len(wire.transport.written))]


@pytest.mark.parametrize(
    "request_bytes", [b"GARBAGE\r\n\r\n", b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", b"\x16\x03\x01\x00"]
)
def test_what_is_refused_unread_was_read_nevertheless(request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "propylon.engine")
    wire = Wire()
    wire.feed(request_bytes)
    facts = cast("Any", caplog.records[0]).facts
    assert (facts["bytes_in"], facts["bytes_out"]) == (len(request_bytes), len(wire.transport.written))


def test_what_is_pipelined_belongs_to_the_next() -> None:
    counts = Counts()
    wire = Wire(counts, lambda x: Response(204), upstreams=0)
    wire.feed(GET % 1 + POST % 2 + b"hi" + GET % 300)
    assert [seen[0] for seen in counts.seen] == [len(GET % 1), len(POST % 2) + 2, len(GET % 300)]
    assert sum(seen[1] for seen in counts.seen) == len(wire.transport.written)


@pytest.mark.parametrize("size", [10, JOIN_BYTES + 1])
def test_chunks_interim_responses_and_the_end_are_counted(size: int) -> None:
    counts = Counts()
    wire = Wire(counts).feed(GET % 1)
    body = wire.upstream.begin_answer(OK)
    body.feed(b"x" * size)
    assert isinstance(wire.upstream.body, Body)
    wire.upstream.end_answer()
    assert counts.seen[0][1] == len(wire.transport.written)


def test_a_websocket_counts_its_frames_too() -> None:
    counts = Counts()
    wire = Wire(counts).feed(handshake())
    endpoint: Any = type(wire.transport)()
    wire.upstream.transport = endpoint
    wire.upstream.open(SWITCH)
    passed = frame(1, b"from the client") + close_frame(1000)
    wire.transport.protocol.data_received(passed)
    answer = frame(1, b"to it", mask=None) + close_frame(1000, mask=None)
    endpoint.protocol.data_received(answer)
    for transport in (endpoint, wire.transport):
        transport.protocol.connection_lost(None)
    assert counts.seen == [(len(handshake()) + len(passed), len(wire.transport.written))]


def test_the_protocol_is_that_of_the_request() -> None:
    counts = Counts()
    wire = Wire(counts, lambda x: Response(204), upstreams=0)
    wire.feed(GET % 1, b"GET / HTTP/1.0\r\n\r\n")
    assert counts.protocols == ["HTTP/1.1", "HTTP/1.0"]
