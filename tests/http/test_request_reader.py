"""Reading heads: a head, "more", or one refusal, wherever the bytes were cut."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from propylon.http.refusal import Refusal
from propylon.http.request_head import HeadRules
from propylon.http.request_reader import RequestReader

GET = b"GET /a?b HTTP/1.1\r\nhost: a.example\r\nx: 1\r\n\r\n"
READER = RequestReader(HeadRules())
SMALL = RequestReader(HeadRules(max_line_bytes=20, max_section_bytes=30))
LONG = b"GET / HTTP/1.1\r\nhost: a\r\nx: "
Head = tuple[bytes, bytes, bytes, int]


def outcome(data: bytes, reader: RequestReader = READER) -> Head | str | None:
    """What a reader says of `data`: the head it begins with, a code, or `None` for more."""
    try:
        head = reader.read(data)
    except Refusal as refusal:
        return refusal.code
    if head is None:
        return None
    line, fields, end = head
    return line.method, line.raw_target, fields.block, end


def test_a_head_is_read_with_the_byte_where_it_ends() -> None:
    expected = (b"GET", b"/a?b", b"x: 1\r\n", len(GET))
    assert outcome(GET) == expected
    assert outcome(GET + b"what follows\r\n\r\n") == expected
    assert outcome(b"GET / HTTP/1.0\r\n\r\n") == (b"GET", b"/", b"", 18), "no field at all"


def test_rfc9112_2_2_one_empty_line_before_a_request_is_ignored() -> None:
    assert outcome(b"\r\n" + GET) == (b"GET", b"/a?b", b"x: 1\r\n", len(GET) + 2)
    assert outcome(b"\r\n") is None
    assert outcome(b"\r\n\r") is None
    assert outcome(b"\r\n\r\n") == "read.bad_request_line"
    assert outcome(b"\r\n\r\n" + GET) == "read.bad_request_line"


@pytest.mark.parametrize("before", [b"", b"\r\n"], ids=["at once", "behind an empty line"])
def test_every_front_of_a_head_asks_for_more(before: bytes) -> None:
    data = before + GET
    assert [outcome(data[:size]) for size in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize(
    ("front", "code"),
    [
        (b"\x16\x03\x01", "read.bad_request_line"),
        (b"\x00", "read.bad_request_line"),
        (b" GET", "read.bad_request_line"),
        (b"GET / HTTP/1.1\n", "read.bad_request_line"),
        (b"GET / HTTP/1.1\r\nhost: a\n", "read.bad_request_line"),
        (b"GET / HTTP/2.0\r\n", "read.bad_version"),
        (b"TRACE / HTTP/1.1\r\n", "read.method_refused"),
        (b"\r\n\x00", "read.bad_request_line"),
        (b"GET /" + b"a" * 8192, "read.line_too_long"),
        (b"G" * 8193, "read.method_too_long"),
        (b"G" * 8192 + b" ", "read.line_too_long"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 32768, "read.head_too_large"),
    ],
)
def test_what_cannot_become_a_request_is_refused_before_it_is_whole(front: bytes, code: str) -> None:
    assert outcome(front) == code


@pytest.mark.parametrize(
    ("fits", "beyond", "code"),
    [
        (b"GET /aaaaaa HTTP/1.1", b"GET /aaaaaaa HTTP/1.1", "read.line_too_long"),
        (LONG + b"a" * 16, LONG + b"a" * 17, "read.head_too_large"),
    ],
    ids=["line", "section"],
)
def test_a_limit_is_the_same_for_what_comes_whole_and_for_what_comes_in_pieces(
    fits: bytes, beyond: bytes, code: str
) -> None:
    data = fits + b"\r\n\r\n"
    assert [outcome(data[:size], SMALL) for size in range(len(data))] == [None] * len(data)
    assert isinstance(outcome(data, SMALL), tuple)
    data = beyond + b"\r\n\r\n"
    assert code in [outcome(data[:size], SMALL) for size in range(len(data))]
    assert outcome(data, SMALL) == code


def test_heads_are_remembered_and_refusals_are_not() -> None:
    reader = RequestReader(HeadRules())
    heads = [reader.read(GET) for _ in range(3)]
    assert heads[1] is not None
    assert heads[2] is not None
    assert heads[1][0] is heads[2][0]
    assert heads[1][1] is heads[2][1]
    for _ in range(3):
        with pytest.raises(Refusal):
            reader.read(b"x\r\n\r\n")
    assert len(reader.lines) == 1


PARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"GET /a HTTP/1.0\r\n", b"host: a\r\n", b"x: y\r\n", b"\r\n", b"\r", b"\n", b" ", b":",
        b"a", b"GET", b"\x16\x03", b"\x00", b"content-length: 1\r\n", b"HTTP/1.1", b"a" * 20,
    ]
)  # fmt: skip


@given(st.lists(PARTS, max_size=8).map(b"".join), st.sampled_from([READER, SMALL]))
@example(b"GET /aaaaa HTTP/1.1\r\nhost: a\r\n\r\n", SMALL)
@settings(max_examples=400)
def test_no_cut_makes_a_difference(data: bytes, reader: RequestReader) -> None:
    """Byte by byte: "more" until the end of the head; once refused, refused whatever follows."""
    whole = outcome(data, reader)
    fronts = [outcome(data[:size], reader) for size in range(len(data) + 1)]
    said = [each for each in fronts if each is not None]
    if isinstance(whole, tuple):
        assert said[0] == whole
        assert all(each == whole for each in said)
    elif whole is None:
        assert said == []
    else:
        assert all(isinstance(each, str) for each in said)


@given(st.binary(max_size=60))
def test_noise_is_refused_or_not_finished(data: bytes) -> None:
    assert not isinstance(outcome(data), tuple)
