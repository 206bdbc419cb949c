"""Heads of responses: one after the other, bounded, whatever their cuts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.refusal import Refusal
from propylon.http.request_head import HeadRules, RequestFields
from propylon.http.response_head import ResponseHead
from propylon.outbound.http1_reader import MAX_HEAD_BYTES, MAX_INTERIM, HeadReader, check_switch
from tests.support.endpoint_wire import INTERIM, LENGTH, OK, Wire, cuts
from tests.support.frames import SWITCH, handshake


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


@pytest.mark.parametrize(
    ("begun", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "'SSH-2.0-OpenSSH_9.2p1\\r\\n'"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "https://"),
        (b"\x16\x03\x03\x00\x7a", "https://"),
        (b"HTTP/2 200\r\n", "HTTP/2"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", r"\x00\x00\x12"),
        (b"HTTP/0.9 200 OK\r\n", "no response of HTTP/1.1"),
        (b"ICY 200 OK\r\n", "ICY"),
        (b"220 mail ESMTP\r\n", "220 mail"),
        (b"<html>", "<html>"),
        (b"\r\n", r"\r\n"),
        (b"HTTP/1.1 200 OK\n", "bare LF"),
        (b"HTTP/1.1 200 OK\r\na: b\nc: d\r", "bare LF"),
        (b"HTTP/1.1 200 OK\r\na: b\nc: d\r\n", "control character"),
        (b"HTTP/1.1 abc\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n", "no colon"),
    ],
)
def test_what_cannot_become_a_response_is_refused_at_once_and_shown(begun: bytes, told: str) -> None:
    for pieces in ([begun], [begun[at : at + 1] for at in range(len(begun))]):
        with pytest.raises(Refusal) as refused:
            read(pieces)
        assert refused.value.code == "head.bad"
        assert told in refused.value.detail or len(pieces) > 1
        assert refused.value.detail.isprintable()


def test_the_bound_of_a_head_is_that_of_the_endpoint() -> None:
    head = OK + b"a: " + b"b" * 100_000 + b"\r\n\r\n"
    assert HeadReader(200_000).feed(head) is not None
    for bound in (99_000, MAX_HEAD_BYTES):
        with pytest.raises(Refusal, match=f"longer than {bound} bytes"):
            HeadReader(bound).feed(head)


def read(pieces: list[bytes]) -> tuple[list[int], bytes]:
    """Read until the final head; return what was read, and what follows it."""
    reader = HeadReader()
    found: list[int] = []
    for at, piece in enumerate(pieces):
        head = reader.feed(piece)
        while head is not None:
            found.append(head.status)
            if head.status >= 200:
                return found, reader.rest + b"".join(pieces[at + 1 :])
            head = reader.feed(b"")
    return found, reader.rest


def test_heads_are_read_the_same_whatever_their_cuts() -> None:
    for pieces in cuts(INTERIM):
        assert read(pieces) == ([103, 100, 200], b"hello")


def test_half_a_head_is_kept() -> None:
    for at in range(len(OK)):
        assert read([OK[:at]]) == ([], OK[:at])


@given(st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=4))
def test_whatever_arrives_is_read_or_refused_the_same_whatever_its_cuts(noise: bytes, at: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> object:
        try:
            return read(pieces)
        except Refusal as refusal:
            return refusal.code

    data = INTERIM[:30] + noise + b"\r\n\r\n" + LENGTH
    places = [0, *sorted(at), len(data)]
    assert outcome([data[a:b] for a, b in pairwise(places)]) == outcome([data])


def test_interim_responses_are_counted_for_each_final_one() -> None:
    reader = HeadReader()
    for _ in range(3):
        for _ in range(MAX_INTERIM):
            assert reader.feed(b"HTTP/1.1 103 x\r\n\r\n") is not None
        assert reader.feed(OK + b"\r\n") is not None


def test_a_switch_answers_the_key_of_the_request() -> None:
    head = ResponseHead(SWITCH.removesuffix(b"\r\n"))
    asked = RequestFields(handshake().partition(b"\r\n")[2][:-2], HeadRules())
    check_switch(head, asked)
    for other in (asked.block, b"host: a\r\n"):
        with pytest.raises(Refusal):
            check_switch(head, RequestFields(other, HeadRules()))
