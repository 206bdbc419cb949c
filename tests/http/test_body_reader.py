"""Where a body ends, and what follows it, for requests and responses."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.body_reader import CHUNKED, UNTIL_CLOSE, BodyReader
from propylon.http.refusal import Refusal


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


@given(st.binary(max_size=30), st.binary(max_size=10), st.lists(st.integers(0, 40), max_size=4))
def test_a_counted_body_ends_where_its_length_says(body: bytes, rest: bytes, cuts: list[int]) -> None:
    reader = BodyReader(len(body), "c")
    got = b""
    unread = b""
    for piece in pieces(body + rest, cuts):
        if reader.done:
            unread += piece
            continue
        got += b"".join(reader.feed(piece))
        unread += reader.rest if reader.done else b""
        assert reader.size == len(got)
        assert reader.left == len(body) - len(got)
    assert (got, unread, reader.done) == (body, rest, True)
    assert reader.trailers == []


def test_a_body_of_no_bytes_is_done_at_once() -> None:
    assert BodyReader(0, "c").done


def test_a_chunked_body_is_decoded_counted_and_has_trailers() -> None:
    reader = BodyReader(-1, "read.bad_chunk")
    assert reader.left == -1
    assert reader.feed(b"3\r\nabc\r\n2\r\nd") == [b"abc", b"d"]
    assert (reader.size, reader.done) == (4, False)
    assert reader.feed(b"e\r\n0\r\nx: 1\r\n\r\nGET") == [b"e"]
    assert (reader.size, reader.done, reader.rest, reader.trailers) == (5, True, b"GET", [(b"x", b"1")])


def test_a_malformed_chunk_is_refused_with_the_code_that_was_given() -> None:
    with pytest.raises(Refusal) as caught:
        BodyReader(-1, "read.bad_chunk").feed(b"zz\r\n")
    assert caught.value.code == "read.bad_chunk"


class Sink:
    """Collects what is poured."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        assert data
        self.pieces.append(data)


CODED = b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx: 1\r\n\r\nNEXT"
FRAMED = [(5, b"abcdeNEXT"), (CHUNKED, CODED), (UNTIL_CLOSE, b"abcdeNEXT")]


@pytest.mark.parametrize(("length", "data"), FRAMED, ids=["counted", "chunked", "until close"])
def test_pouring_is_feeding_whatever_the_cuts(length: int, data: bytes) -> None:
    ways = [[data], [data[at : at + 1] for at in range(len(data))]]
    ways += [[data[:at], data[at:]] for at in range(1, len(data))]
    for way in ways:
        fed, poured, sink = BodyReader(length, "c"), BodyReader(length, "c"), Sink()
        got: list[bytes] = []
        for piece in way:
            if fed.done:
                break
            got += fed.feed(piece)
            poured.pour(piece, sink)
            assert sink.pieces == got
            assert poured.size == fed.size == sum(map(len, got))
            for name in ("done", "rest", "left", "trailers"):
                assert getattr(poured, name) == getattr(fed, name)
        assert b"".join(got) == (b"abcdeNEXT" if length == UNTIL_CLOSE else b"abcde")
        assert fed.done is (length != UNTIL_CLOSE)


def test_only_a_body_that_ends_with_the_connection_is_complete_by_its_end() -> None:
    for length, data in FRAMED:
        assert BodyReader(length, "c").close() is (length == UNTIL_CLOSE)
        reader = BodyReader(length, "c")
        reader.feed(data)
        assert reader.close() is True
        assert reader.done
