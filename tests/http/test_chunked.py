"""The chunked coding: any legal stream decodes to its payload, cut anywhere; nothing else is taken for one.

The reference here reads a whole stream with one regular expression a line, straight from the grammar of RFC 9112 7.1;
the decoder must agree with it about every stream, legal or corrupted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon.http import chunked as module
from propylon.http.chunked import ChunkedDecoder, last_chunk
from propylon.http.refusal import Refusal

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?)*\r\n"
)
TRAILER_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")


@dataclass
class Outcome:
    """What became of a stream: "done", "more" (the end is missing) or "refused"."""

    state: str
    payload: bytes = b""
    rest: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()


def reference(stream: bytes) -> Outcome | None:
    """Read a complete stream; None if there is no complete legal one at the front."""
    payload, position = b"", 0
    while True:
        line = SIZE_LINE.match(stream, position)
        if line is None:
            return None
        size, position = int(line[1], 16), line.end()
        if size == 0:
            break
        payload += stream[position : position + size]
        position += size
        if stream[position : position + 2] != b"\r\n":
            return None
        position += 2
    trailers = []
    while stream[position : position + 2] != b"\r\n":
        field = TRAILER_LINE.match(stream, position)
        if field is None:
            return None
        trailers.append((field[1], field[2].rstrip(b" \t")))
        position = field.end()
    return Outcome("done", payload, stream[position + 2 :], tuple(trailers))


def decode(pieces: list[bytes]) -> Outcome:
    decoder = ChunkedDecoder("read.bad_chunk")
    payload = b""
    for number, piece in enumerate(pieces):
        try:
            payload += b"".join(decoder.feed(piece))
        except Refusal as refused:
            assert refused.code == "read.bad_chunk"  # noqa: PT017 - either outcome is right
            return Outcome("refused", payload)
        if decoder.done:
            return Outcome("done", payload, decoder.rest + b"".join(pieces[number + 1 :]), tuple(decoder.trailers))
    return Outcome("more", payload)


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


EXTENSION = (
    rb"[ \t]{0,2};[ \t]{0,2}[a-z!]{1,3}"
    rb'(?:[ \t]?=[ \t]?(?:[a-z0-9]{1,3}|"(?:[a-z ;=,\t\x80-\xff]|\\["\\a;]){0,4}"))?'
)
EXTENSIONS = st.from_regex(rb"(?:%b){0,2}" % EXTENSION, fullmatch=True)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A legal stream with what follows it, and its payload."""
    stream = payload = b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4)):
        digits = draw(st.sampled_from([b"%x", b"%X", b"%04x", b"%016X"])) % len(piece)
        stream += digits + draw(EXTENSIONS) + b"\r\n" + piece + b"\r\n"
        payload += piece
    stream += draw(st.sampled_from([b"0", b"000", b"0" * 16])) + draw(EXTENSIONS) + b"\r\n"
    for name, value in draw(
        st.lists(st.tuples(st.sampled_from([b"x", b"Y-z"]), st.sampled_from([b"", b"1", b"a b\xe9"])), max_size=2)
    ):
        stream += name + draw(st.sampled_from([b":", b": ", b":\t"])) + value + b"\r\n"
    return stream + b"\r\n", payload


@given(streams(), st.binary(max_size=8))
def test_any_legal_stream_decodes_to_its_payload_whole_and_byte_by_byte(
    legal: tuple[bytes, bytes], rest: bytes
) -> None:
    stream, payload = legal
    whole = decode([stream + rest])
    assert (whole.state, whole.payload, whole.rest) == ("done", payload, rest)
    assert decode(bytewise(stream + rest)) == whole == reference(stream + rest)


@given(streams())
@settings(max_examples=40)
def test_a_cut_at_any_byte_changes_nothing(legal: tuple[bytes, bytes]) -> None:
    stream, payload = legal
    for cut in range(len(stream) + 1):
        found = decode([stream[:cut], stream[cut:]])
        assert (found.state, found.payload, found.rest) == ("done", payload, b"")
        assert decode([stream[:cut]]).state == ("done" if cut == len(stream) else "more")


@given(st.data(), streams())
@settings(max_examples=300)
def test_a_corrupted_byte_is_read_as_the_grammar_says_or_refused(
    data: st.DataObject, legal: tuple[bytes, bytes]
) -> None:
    stream, _ = legal
    at = data.draw(st.integers(0, len(stream) - 1))
    byte = data.draw(st.sampled_from(list(b'\r\n\t 0;"\\:aFg\0\x7f\xff')) | st.integers(0, 255))
    corrupted = stream[:at] + bytes([byte]) + stream[at + 1 :]
    expected, found = reference(corrupted), decode([corrupted])
    if found.state == "done":
        assert found == expected
    else:
        assert expected is None
    assert decode(bytewise(corrupted)).state == found.state


@given(st.text('0123456789abcdefABCDEF;="\\ \t\r\n:xG\0', max_size=40))
def test_any_text_is_read_as_the_grammar_says_whatever_its_cuts(text: str) -> None:
    stream = text.encode("latin-1")
    expected, found = reference(stream), decode([stream])
    assert (found.state == "done") == (expected is not None)
    if expected is not None:
        assert found == expected
    assert decode(bytewise(stream)).state == found.state


@pytest.mark.parametrize(
    "stream",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rX",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-1\r\n",
        b"5_0\r\n",
        b"\r\n",
        b";x\r\n",
        b"5;\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b'5;a="x\r\nhello\r\n',
        b"5;a\rb\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"0" * 17 + b"\r\n",
        b"F" * 17 + b"\r\n",
        b"0\r\nx\r\n\r\n",
        b"0\r\nx : 1\r\n\r\n",
        b"0\r\n x: 1\r\n\r\n",
        b"0\r\nx: 1\n\r\n",
        b"0\r\n: 1\r\n\r\n",
        b"g",
        b"\n",
    ],
)
def test_rfc9112_7_1_every_deviation_is_refused_whole_and_byte_by_byte(stream: bytes) -> None:
    assert decode([stream]).state == "refused"
    assert decode(bytewise(stream)).state == "refused"


def test_a_line_without_end_is_refused_when_the_limit_is_passed() -> None:
    decoder = ChunkedDecoder("c")
    decoder.feed(b"1;" + b"a" * (module.MAX_LINE_BYTES - 2))
    with pytest.raises(Refusal, match="longer than 1024"):
        decoder.feed(b"a")


def test_a_line_of_the_greatest_length_is_read() -> None:
    line = b"1;" + b"a" * (module.MAX_LINE_BYTES - 2)
    assert decode([line + b"\r\nx\r\n0\r\n\r\n"]).payload == b"x"
    assert decode([line + b"a\r\nx\r\n0\r\n\r\n"]).state == "refused"


def test_cve_2023_39326_extensions_of_a_message_are_bounded_together() -> None:
    chunk = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
    allowed = module.MAX_EXTENSION_BYTES // 1001
    assert decode([chunk * allowed + b"0\r\n\r\n"]).state == "done"
    assert decode([chunk * (allowed + 1) + b"0\r\n\r\n"]).state == "refused"


def test_trailers_are_bounded_in_number_and_size() -> None:
    assert decode([b"0\r\n" + b"a: 1\r\n" * module.MAX_TRAILER_FIELDS + b"\r\n"]).state == "done"
    assert decode([b"0\r\n" + b"a: 1\r\n" * (module.MAX_TRAILER_FIELDS + 1) + b"\r\n"]).state == "refused"
    assert decode([b"0\r\n" + (b"a: " + b"b" * 1000 + b"\r\n") * 9 + b"\r\n"]).state == "refused"
    assert decode([b"0\r\na: " + b"b" * module.MAX_TRAILER_BYTES]).state == "refused"


def test_a_huge_size_is_no_allocation() -> None:
    assert decode([b"FFFFFFFFFFFFFFFF\r\nabc"]) == Outcome("more", b"abc")


def test_last_chunk_of_no_trailers_is_the_shortest() -> None:
    assert last_chunk([]) == module.LAST_CHUNK == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Length",
        b"transfer-encoding",
        b"Host",
        b"Authorization",
        b"Set-Cookie",
        b"Trailer",
        b"X-Forwarded-For",
        b"x-request-id",
    ],
)
def test_rfc9110_6_5_1_what_must_not_come_in_trailers_is_dropped(name: bytes) -> None:
    assert last_chunk([(b"x-sum", b"1"), (name, b"2")]) == b"0\r\nx-sum: 1\r\n\r\n"
