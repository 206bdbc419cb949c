"""Response heads from endpoints: rendered once, framed without a doubt, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.fields import CONNECTION_BOUND
from propylon.http.refusal import Refusal
from propylon.http.response_head import MAX_FIELDS, ResponseHead


def head(first: bytes = b"HTTP/1.1 200 OK", *lines: bytes) -> ResponseHead:
    return ResponseHead(b"".join(line + b"\r\n" for line in (first, *lines)))


@pytest.mark.parametrize(
    ("first", "reason", "status", "minor"),
    [
        (b"HTTP/1.1 200 OK", None, 200, 1),
        (b"HTTP/1.0 404 Not Found", None, 404, 0),
        (b"HTTP/1.1 599 ", b"", 599, 1),
        (b"HTTP/1.1 299", b"", 299, 1),
        (b"HTTP/1.1 200 na\xefve\t!", b"na\xefve\t!", 200, 1),
    ],
)
def test_rfc9112_4_a_reason_is_remembered_where_it_is_not_the_registered_one(
    first: bytes, reason: bytes | None, status: int, minor: int
) -> None:
    found = head(first)
    assert (found.reason, found.status, found.minor) == (reason, status, minor)


@pytest.mark.parametrize(
    "first",
    [
        b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20", b"HTTP/1.1 2000", b"HTTP/1.1 099 x", b"HTTP/1.1 600 x",
        b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"ICY 200 OK", b" HTTP/1.1 200 OK",
        b"HTTP/1.1  200 OK", b"HTTP/1.1 200 a\rb", b"HTTP/1.1 200 a\0b", b"HTTP/1.1 200OK", b"HTTP/1.1 +20 OK",
    ],
)  # fmt: skip
def test_rfc9112_4_a_bad_status_line_is_the_endpoints_fault(first: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        head(first)
    assert caught.value.code == "head.bad"


@pytest.mark.parametrize(
    "lines",
    [
        [b"content-length: 1", b"content-length: 1"],
        [b"content-length: 1, 1"],
        [b"content-length: x"],
        [b"content-length: 1", b"transfer-encoding: chunked"],
        [b"transfer-encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"transfer-encoding: gzip, chunked"],
        [b"transfer-encoding: identity"],
        [b"a"],
        [b" folded"],
        [b"a: b\0"],
    ],
    ids=lambda lines: b" ".join(lines).decode("latin-1"),
)
def test_rfc9112_6_3_what_is_ambiguous_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        head(b"HTTP/1.1 200 OK", *lines)
    assert caught.value.code == "head.bad"


def test_rfc9112_6_1_chunks_in_http_1_0_are_refused() -> None:
    with pytest.raises(Refusal):
        head(b"HTTP/1.0 200 OK", b"transfer-encoding: chunked")


def test_the_number_of_fields_is_bounded() -> None:
    head(b"HTTP/1.1 200 OK", *[b"a: 1"] * MAX_FIELDS)
    with pytest.raises(Refusal, match="more than 200"):
        head(b"HTTP/1.1 200 OK", *[b"a: 1"] * (MAX_FIELDS + 1))


def test_what_ends_at_this_hop_and_the_id_are_not_passed_on() -> None:
    dropped = [*sorted(CONNECTION_BOUND - {b"transfer-encoding", b"connection"}), b"X-Request-ID", b"x-hop"]
    found = head(b"HTTP/1.1 200 OK", b"Connection: x-hop", *[b"%b: x" % name for name in dropped], b"Server: s")
    assert found.visible == ((b"Server", b"s"),)
    assert found.block == b"Server: s\r\n"


def test_an_endpoint_cannot_nominate_away_a_cookie() -> None:
    found = head(b"HTTP/1.1 200 OK", b"connection: set-cookie, x", b"set-cookie: a", b"x: 1")
    assert found.block == b"set-cookie: a\r\n"


@pytest.mark.parametrize(
    ("first", "block"),
    [
        (b"HTTP/1.1 200 OK", b"content-length: 5\r\n"),
        (b"HTTP/1.1 304 x", b"content-length: 5\r\n"),
        (b"HTTP/1.1 204 x", b""),
        (b"HTTP/1.1 103 x", b""),
    ],
)
def test_rfc9110_8_6_a_length_is_sent_where_it_may_be(first: bytes, block: bytes) -> None:
    found = head(first, b"Content-Length: 5")
    assert found.length == 5
    assert found.block == block


@pytest.mark.parametrize(
    ("status", "method", "lines", "has_body"),
    [
        (b"200", b"GET", [], True),
        (b"200", b"GET", [b"content-length: 1"], True),
        (b"200", b"GET", [b"content-length: 0"], False),
        (b"200", b"GET", [b"transfer-encoding: chunked"], True),
        (b"200", b"HEAD", [b"content-length: 9"], False),
        (b"200", b"HEAD", [b"transfer-encoding: chunked"], False),
        (b"204", b"GET", [b"content-length: 9"], False),
        (b"304", b"GET", [b"transfer-encoding: chunked"], False),
        (b"404", b"POST", [], True),
    ],
)
def test_rfc9112_6_3_status_and_method_say_whether_a_body_follows(
    status: bytes, method: bytes, lines: list[bytes], has_body: bool
) -> None:
    assert head(b"HTTP/1.1 " + status + b" x", *lines).has_body(method) is has_body


@pytest.mark.parametrize(
    ("first", "lines", "reuse"),
    [
        (b"HTTP/1.1 200 OK", [], True),
        (b"HTTP/1.1 200 OK", [b"connection: Close"], False),
        (b"HTTP/1.1 200 OK", [b"connection: x", b"connection: y, close"], False),
        (b"HTTP/1.0 200 OK", [], False),
        (b"HTTP/1.0 200 OK", [b"connection: Keep-Alive"], True),
    ],
)
def test_rfc9112_9_3_the_connection_is_kept_as_version_and_field_say(
    first: bytes, lines: list[bytes], reuse: bool
) -> None:
    assert head(first, *lines).reusable is reuse


def test_a_date_is_seen_in_any_case() -> None:
    assert head(b"HTTP/1.1 200 OK", b"DATE: x").has_date
    assert not head(b"HTTP/1.1 200 OK", b"x-date: x").has_date


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda raw: b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n"))
def test_any_bytes_are_a_head_or_one_refusal(raw: bytes) -> None:
    try:
        found = ResponseHead(raw)
    except Refusal as refused:
        assert refused.code == "head.bad"  # noqa: PT017 - either outcome is right
    else:
        assert found.block.count(b"\r\n") == len(found.visible)
        assert b"\n" not in found.block.replace(b"\r\n", b"")
        assert b"\n" not in (found.reason or b"")


def test_a_head_of_pairs_is_the_same_as_one_of_lines() -> None:
    pairs = [(b"Date", b"now"), (b"content-length", b"3"), (b"connection", b"close"), (b"X-A", b"1")]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
    read, made = ResponseHead(b"HTTP/1.1 201 Created\r\n" + lines), ResponseHead.of(201, pairs)
    assert all(getattr(read, name) == getattr(made, name) for name in ResponseHead.__slots__)
    with pytest.raises(Refusal):
        ResponseHead.of(200, [(b"x", b"a\nb")])
