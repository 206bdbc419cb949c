"""What goes out to a client: status lines, framing of bodies, trailers; and a client that does not take it."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.engine.sides import UNKNOWN
from propylon.http.response_head import OwnHead, ResponseHead
from propylon.inbound.http1_writer import JOIN_BYTES
from tests.support.fakes import OK
from tests.support.wire import GET, Wire


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


@given(
    version=st.sampled_from([b"1.0", b"1.1"]),
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    pieces=st.lists(st.binary(min_size=1, max_size=50) | st.just(b"x" * (JOIN_BYTES + 1)), max_size=5),
    known=st.booleans(),
)
def test_what_is_written_is_what_another_parser_reads(
    version: bytes, status: int, pieces: list[bytes], known: bool
) -> None:
    wire = Wire().feed(b"GET / HTTP/" + version + b"\r\nhost: a\r\n\r\n")
    size = sum(map(len, pieces))
    added = b"x-added: 1\r\n" + (b"content-length: %d\r\n" % size if known else b"")
    wire.connection.send_head(OwnHead(status, b"x: y\r\n"), added, size if known else UNKNOWN)
    for piece in pieces:
        wire.connection.write_body(piece)
    wire.connection.end_body([])
    response, body, over = read_by_h11(bytes(wire.transport.written), b"GET")
    assert response.status_code == status
    assert [pair for pair in response.headers if pair[0].startswith(b"x")] == [(b"x", b"y"), (b"x-added", b"1")]
    assert body == b"".join(pieces)
    assert over == (known or version == b"1.1"), "or the end of the connection is the body's"


def read_by_h11(data: bytes, method: bytes) -> tuple[h11.Response, bytes, bool]:
    """The response in `data`, its body, and whether it has ended without the end of the connection."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    response, body = parser.next_event(), bytearray()
    assert isinstance(response, h11.Response)
    while isinstance(event := parser.next_event(), h11.Data):
        body += event.data
    return response, bytes(body), isinstance(event, h11.EndOfMessage)
