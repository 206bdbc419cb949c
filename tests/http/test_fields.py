"""Splitting header sections, and the few values that decide where a message ends."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.fields import OPTIONS, FieldName, content_length, is_chunked, render, split_fields, tokens
from propylon.http.memo import Memo
from propylon.http.refusal import Refusal

NAMES = st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,8}", fullmatch=True)
VALUES = st.binary(max_size=12).map(lambda raw: re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"v", raw).strip(b" \t"))
SECTIONS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
STRICT: Memo[bytes, FieldName] = Memo(lambda text: FieldName(text, frozenset({b"x-special"}), "read.bad_field"))
LOOSE: Memo[bytes, FieldName] = Memo(lambda text: FieldName(text.rstrip(b" \t"), frozenset(), "head.bad"))


def split_request(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name.text, value) for name, value in split_fields(block, STRICT, "read.bad_field")]


def split_response(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name.text, value) for name, value in split_fields(block, LOOSE, "head.bad")]


SPLITTERS = [split_request, split_response]


@given(SECTIONS)
def test_rendering_and_splitting_are_inverse(pairs: list[tuple[bytes, bytes]]) -> None:
    for split in SPLITTERS:
        assert split(render(pairs)) == pairs


@given(st.binary(max_size=40) | SECTIONS.map(render).flatmap(lambda raw: st.just(raw.replace(b":", b" :", 1))))
def test_any_bytes_are_fields_or_one_refusal(raw: bytes) -> None:
    for split, code in zip(SPLITTERS, ("read.bad_field", "head.bad"), strict=True):
        try:
            pairs = split(raw)
        except Refusal as refused:
            assert refused.code == code  # noqa: PT017 - either outcome is right
        else:
            assert all(name and not re.search(rb"[\s\x00-\x1f:]", name) for name, _ in pairs)
            assert not any(set(value) & set(b"\r\n\0") for _, value in pairs)
            assert len(pairs) == raw.count(b"\r\n")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"a: 1\r\n b\r\n", "line 2 begins with white space"),
        (b"a\r\n", "line 1 has no colon"),
        (b": 1\r\n", "line 1 has an empty name"),
        (b"a : 1\r\n", "line 1 has white space before the colon"),
        (b"a(b: 1\r\n", "line 1 has byte 0x28 in its name"),
        (b"a: 1\r\nb: \x00\r\n", "line 2 has a control character in its value"),
        (b"a: 1\rb: 2\r\n", "line 1 has a control character in its value"),
        (b"a: 1\nb: 2\r\n", "line 1 has a control character in its value"),
        (b"\xe9: 1\r\n", "line 1 has byte 0xe9 in its name"),
        (b"a: 1", "malformed"),
        (b"\r\n", "malformed"),
    ],
)
def test_rfc9110_5_a_refusal_says_which_line_broke_which_rule(block: bytes, reason: str) -> None:
    with pytest.raises(Refusal, match=re.escape(reason)) as caught:
        split_request(block)
    assert "RFC 91" in caught.value.detail


def test_rfc9112_5_1_white_space_before_the_colon_is_taken_from_services_only() -> None:
    assert split_response(b"a \t: 1\r\n") == [(b"a", b"1")]
    with pytest.raises(Refusal):
        split_request(b"a \t: 1\r\n")


@pytest.mark.parametrize("split", SPLITTERS)
def test_a_long_hostile_section_is_refused_in_linear_time(split: object) -> None:
    for block in (b"a" * 200_000, b"a:" + b" " * 200_000 + b"\0\r\n", b"a: b\r\n" * 30_000 + b"\0", b" " * 200_000):
        with pytest.raises(Refusal):
            split(block)  # type: ignore[operator]


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"7", 7), (b"10", 10), (b"9223372036854775807", 2**63 - 1)])
def test_rfc9110_8_6_a_length_is_plain_digits(value: bytes, length: int) -> None:
    assert content_length(value, "c") == length


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"01",
        b"+1",
        b"-1",
        b"1 ",
        b"0x1",
        b"1,1",
        b"1, 1",
        b"1_0",
        b"1e3",
        b"\xb2",
        b"1\n",
        b"9" * 19,
        b"1" * 5000,
    ],
)
def test_rfc9110_8_6_any_other_length_is_refused(value: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        content_length(value, "head.bad")
    assert caught.value.code == "head.bad"


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED"])
def test_rfc9112_6_1_chunked_alone_is_understood(value: bytes) -> None:
    assert is_chunked(value, "bad", "unknown") is True


@pytest.mark.parametrize(
    "value", [b"gzip", b"gzip, chunked", b"GZIP\t,\tchunked", b"x-gzip,chunked", b"deflate", b"compress"]
)
def test_rfc9112_6_1_a_known_coding_that_is_not_implemented_has_its_own_code(value: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        is_chunked(value, "bad", "unknown")
    assert caught.value.code == "unknown"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"identity",
        b"chunked,chunked",
        b"chunked, gzip",
        b",chunked",
        b"chunked;q=1",
        b"\x0bchunked",
        b"xchunked",
        b'"chunked"',
    ],
)
def test_rfc9112_6_1_any_other_coding_is_refused(value: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        is_chunked(value, "bad", "unknown")
    assert caught.value.code == "bad"


def test_rfc9110_5_6_1_lists_lose_empty_elements_and_case() -> None:
    assert tokens(b"Close,, \tTE ,x-A,") == [b"close", b"te", b"x-a"]
    assert tokens(b" , ") == []


def test_rfc9110_7_6_1_a_connection_field_nominates_what_ends_here() -> None:
    options = OPTIONS[b"X-Hop, close"]
    assert options.nominated == {b"x-hop", b"close"}
    assert (options.close, options.keep_alive, options.upgrade) == (True, False, False)


def test_a_name_is_classified_whatever_its_case_and_its_underscores() -> None:
    assert [STRICT[name].special for name in (b"X-Special", b"x_special", b"x-other")] == [True, True, False]
    assert [STRICT[name].alias for name in (b"X-Special", b"x_special", b"x.other")] == [False, True, True]


@pytest.mark.parametrize(
    "name",
    [
        b"host",
        b"authorization",
        b"cookie",
        b"content-length",
        b"content-type",
        b"x-forwarded-for",
        b"x-request-id",
        b"forwarded",
    ],
)
def test_a_client_cannot_nominate_away_what_carries_identity_framing_or_routing(name: bytes) -> None:
    assert OPTIONS[name].nominated == frozenset()
