"""Request heads: one canonical request, or one refusal with its code."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.http.claims import CLAIMS, NEVER_TAKEN, RESTATED, taken_from
from propylon.http.fields import CONNECTION_BOUND
from propylon.http.refusal import Refusal
from propylon.http.request_head import HOSTS, HeadRules, RequestFields, RequestLine, host_of
from propylon.http.target import PathRules

RULES = HeadRules()


def fields(*lines: bytes, rules: HeadRules = RULES) -> RequestFields:
    return RequestFields(b"".join(line + b"\r\n" for line in lines), rules)


def refusal(*lines: bytes, rules: HeadRules = RULES) -> str:
    with pytest.raises(Refusal) as caught:
        fields(*lines, rules=rules)
    return caught.value.code


def test_a_request_line_is_method_target_and_version() -> None:
    line = RequestLine(b"GET /a//b%41?q=1 HTTP/1.1", RULES)
    assert (line.method, line.path, line.query, line.minor, line.authority) == (b"GET", b"/a/bA", b"q=1", 1, None)
    assert line.raw_target == b"/a//b%41?q=1"


def test_http_1_0_and_an_absolute_form_are_read() -> None:
    assert RequestLine(b"GET / HTTP/1.0", RULES).minor == 0
    line = RequestLine(b"GET http://a.example:81/x HTTP/1.1", RULES)
    assert (line.scheme, line.authority, line.path) == (b"http", b"a.example:81", b"/x")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "read.bad_request_line"),
        (b"GET /", "read.bad_request_line"),
        (b"GET  / HTTP/1.1", "read.bad_request_line"),
        (b"GET / HTTP/1.1 ", "read.bad_request_line"),
        (b" GET / HTTP/1.1", "read.bad_request_line"),
        (b"GET\t/\tHTTP/1.1", "read.bad_request_line"),
        (b"G(T / HTTP/1.1", "read.bad_request_line"),
        (b"GET / http/1.1", "read.bad_request_line"),
        (b"GET / HTTP/1.10", "read.bad_request_line"),
        (b"GET / HTTP/11", "read.bad_request_line"),
        (b"GET / HTTP/2.0", "read.bad_version"),
        (b"GET / HTTP/1.2", "read.bad_version"),
        (b"GET / HTTP/0.9", "read.bad_version"),
        (b"CONNECT a:1 HTTP/1.1", "read.connect_refused"),
        (b"TRACE / HTTP/1.1", "read.method_refused"),
        (b"GET /../x HTTP/1.1", "read.bad_target"),
        (b"GET * HTTP/1.1", "read.bad_target"),
        (b"GET x HTTP/1.1", "read.bad_target"),
    ],
)
def test_rfc9112_3_a_bad_request_line_is_refused_with_its_code(raw: bytes, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        RequestLine(raw, RULES)
    assert caught.value.code == code


def test_a_refusal_for_a_method_is_a_new_exception_each_time() -> None:
    caught = []
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            RequestLine(b"TRACE / HTTP/1.1", RULES)
        caught.append(refused.value)
    assert caught[0] is not caught[1]


def test_methods_are_case_sensitive() -> None:
    assert RequestLine(b"trace / HTTP/1.1", RULES).method == b"trace"


@given(st.binary(max_size=40) | st.from_regex(rb"[A-Z ]{1,5} [ -~]{1,10} HTTP/[0-9]\.[0-9]", fullmatch=True))
def test_any_bytes_are_a_request_line_or_one_refusal(raw: bytes) -> None:
    try:
        line = RequestLine(raw, RULES)
    except Refusal as refused:
        assert refused.code.startswith("read.")  # noqa: PT017 - either outcome is right
        assert refused.detail  # noqa: PT017 - either outcome is right
    else:
        assert raw.startswith(line.method + b" ")
        assert line.path.startswith((b"/", b"*"))


def test_the_path_rules_reach_the_target() -> None:
    kept = HeadRules(paths=PathRules(encoded_slashes=True, semicolons=True))
    assert RequestLine(b"GET /a%2fb;c HTTP/1.1", kept).path == b"/a%2Fb;c"


# framing


@pytest.mark.parametrize(
    ("lines", "length", "chunked"),
    [
        ([], -1, False),
        ([b"content-length: 0"], 0, False),
        ([b"Content-Length:\t12 "], 12, False),
        ([b"transfer-encoding: Chunked"], -1, True),
    ],
)
def test_rfc9112_6_the_framing_is_read(lines: list[bytes], length: int, chunked: bool) -> None:
    found = fields(*lines)
    assert (found.length, found.chunked) == (length, chunked)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"content-length: 1", b"transfer-encoding: chunked"], "read.bad_framing"),
        ([b"content-length: 1", b"content-length: 1"], "read.bad_framing"),
        ([b"content-length: 1, 1"], "read.bad_framing"),
        ([b"content-length: "], "read.bad_framing"),
        ([b"transfer-encoding: chunked", b"transfer-encoding: chunked"], "read.bad_framing"),
        ([b"transfer-encoding: chunked, chunked"], "read.bad_framing"),
        ([b"transfer-encoding: "], "read.bad_framing"),
        ([b"transfer-encoding: gzip, chunked"], "read.unknown_coding"),
        ([b"expect: 200-ok"], "read.expectation"),
        ([b"expect: 100-continue", b"expect: x"], "read.expectation"),
        ([b"host: a", b"host: a"], "read.bad_host"),
        ([b"host: a b"], "read.bad_host"),
        ([b"host: "], "read.bad_host"),
        ([b"a"], "read.bad_field"),
    ],
)
def test_rfc9112_6_3_what_is_ambiguous_is_refused(lines: list[bytes], code: str) -> None:
    assert refusal(*lines) == code


def test_a_name_in_another_case_does_not_hide_a_second_framing_field() -> None:
    assert refusal(b"Content-Length: 1", b"CONTENT-LENGTH: 1") == "read.bad_framing"
    assert refusal(b"cOnTeNt-LeNgTh: 1", b"Transfer-ENCODING: chunked") == "read.bad_framing"


def test_the_number_of_fields_is_bounded() -> None:
    rules = HeadRules(max_fields=3)
    assert len(fields(b"a: 1", b"b: 1", b"c: 1", rules=rules).visible) == 3
    assert refusal(b"a: 1", b"b: 1", b"c: 1", b"d: 1", rules=rules) == "read.too_many_fields"


# what is seen and sent


def test_what_ends_at_this_hop_is_not_seen() -> None:
    found = fields(*[b"%b: x" % name for name in sorted(CONNECTION_BOUND - {b"transfer-encoding"})], b"accept: y")
    assert found.visible == ((b"accept", b"y"),)
    assert found.block == b"accept: y\r\n"


def test_what_belongs_to_the_gateway_is_not_seen_in_either_spelling() -> None:
    rules = HeadRules(aliases="keep", max_fields=500)
    names = [name.rstrip("*").title().encode() for name in RESTATED + NEVER_TAKEN + CLAIMS]
    found = fields(
        *[b"%b: x" % name for name in names], *[b"%b: x" % n.replace(b"-", b"_") for n in names], rules=rules
    )
    assert found.visible == ()


def test_rfc9110_7_6_1_nominated_fields_end_here_too() -> None:
    found = fields(b"connection: close, X-Hop", b"x-hop: 1", b"connection: cookie", b"cookie: c", b"a: 1")
    assert found.visible == ((b"cookie", b"c"), (b"a", b"1"))
    assert found.close


def test_host_length_and_id_are_seen_but_written_anew() -> None:
    found = fields(b"Host: a", b"Content-Length: 3", b"X-Request-Id: abc", b"A: 1")
    assert [name for name, _ in found.visible] == [b"Host", b"Content-Length", b"X-Request-Id", b"A"]
    assert found.block == b"A: 1\r\n"


def test_expect_is_answered_here_and_not_sent() -> None:
    found = fields(b"Expect: 100-Continue")
    assert found.expects_continue
    assert found.block == b""


@pytest.mark.parametrize(
    ("lines", "request_id"),
    [
        ([b"x-request-id: abc"], b"abc"),
        ([b"x-request-id: a b"], b""),
        ([b"x-request-id: a", b"x-request-id: a"], b""),
        ([b"x-request-id: " + b"a" * 129], b""),
        ([], b""),
    ],
)
def test_an_id_is_kept_if_it_is_one_safe_value(lines: list[bytes], request_id: bytes) -> None:
    assert fields(*lines).request_id == request_id


def test_connection_options_are_read_from_every_field() -> None:
    found = fields(b"connection: upgrade", b"connection: keep-alive, TE", b"upgrade: websocket", b"te: trailers, x")
    assert (found.close, found.keep_alive, found.upgrade, found.websocket, found.wants_trailers) == (
        False, True, True, True, True,
    )  # fmt: skip


def test_an_upgrade_that_is_not_nominated_lacks_the_option() -> None:
    found = fields(b"upgrade: h2c, WebSocket")
    assert (found.websocket, found.upgrade) == (True, False)


@pytest.mark.parametrize("value", [b"h2c", b"websockets", b"websocket/13", b""])
def test_no_other_upgrade_is_a_websocket(value: bytes) -> None:
    found = fields(b"connection: upgrade", b"upgrade: " + value)
    assert (found.websocket, found.upgrade) == (False, True)


@pytest.mark.parametrize("name", [b"x_y", b"x.y", b"_", b"Content_Length"])
def test_names_that_others_read_differently_follow_the_rule(name: bytes) -> None:
    assert refusal(name + b": 1") == "read.bad_field"
    assert fields(name + b": 1", b"a: 1", rules=HeadRules(aliases="drop")).visible == ((b"a", b"1"),)
    kept = fields(name + b": 1", rules=HeadRules(aliases="keep")).visible
    assert kept == (() if name == b"Content_Length" else ((name, b"1"),)), "an alias of framing never gets past"


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ([b"via: 1.1 me"], True),
        ([b"via: 1.0 fred, 1.1 ME (x)"], True),
        ([b"via: 1.1 other"], False),
        ([b"cdn-loop: other, me; a=b"], True),
        ([b"cdn-loop: other", b"cdn-loop: me"], True),
        ([b"cdn-loop: me2"], False),
        ([], False),
    ],
)
def test_rfc9110_7_6_3_a_loop_is_seen(lines: list[bytes], passed: bool) -> None:
    found = fields(*lines)
    assert found.has_passed(b"me") is passed
    assert found.was_proxied is bool(lines)


def test_values_are_found_by_lower_case_name_in_order() -> None:
    found = fields(b"A: 1 ", b"a:2", b"B: 3")
    assert found.all(b"a") == [b"1", b"2"]
    assert found.first(b"a") == b"1"
    assert found.first(b"c") is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"Connection", b"A", b"te", b"X-Real-IP", b"Cookie"]),
            st.from_regex(rb"[a-zA-Z, -]{0,12}", fullmatch=True),
        )
    )
)
def test_the_block_is_what_is_visible_and_nothing_that_ends_here(pairs: list[tuple[bytes, bytes]]) -> None:
    found = fields(*[b"%b: %b" % pair for pair in pairs])
    lines = found.block.split(b"\r\n")[:-1]
    assert lines == [b"%b: %b" % pair for pair in found.visible]
    assert not any(name.lower() in CONNECTION_BOUND or taken_from(name.lower()) for name, _ in found.visible)
    assert [value for name, value in pairs if name == b"Cookie"] == [
        value for name, value in ((n, v) for n, v in found.visible) if name == b"Cookie"
    ] or any(v != v.strip(b" ") for _, v in pairs)


# the reader


@pytest.mark.parametrize(
    ("line", "lines", "host"),
    [
        (b"GET / HTTP/1.1", [b"host: a.example"], b"a.example"),
        (b"GET / HTTP/1.0", [], None),
        (b"GET http://a.example/ HTTP/1.0", [], b"a.example"),
        (b"GET http://a.example/ HTTP/1.1", [b"host: A.example"], b"a.example"),
    ],
)
def test_rfc9112_3_2_the_host_is_that_of_the_target_or_of_the_host_field(
    line: bytes, lines: list[bytes], host: bytes | None
) -> None:
    found = host_of(RequestLine(line, RULES), fields(*lines))
    assert (None if found is None else found.name) == host


@pytest.mark.parametrize(
    ("line", "lines", "code"),
    [
        (b"GET / HTTP/1.1", [], "read.bad_host"),
        (b"GET http://a.example/ HTTP/1.1", [], "read.bad_host"),
        (b"GET http://a.example/ HTTP/1.1", [b"host: b.example"], "read.bad_host"),
        (b"POST / HTTP/1.0", [b"host: a", b"transfer-encoding: chunked"], "read.bad_framing"),
        (b"GET / HTTP/1.0", [b"host: a", b"connection: upgrade", b"upgrade: websocket"], "upgrade.bad_handshake"),
    ],
)
def test_a_request_line_and_fields_that_contradict_each_other_are_refused(
    line: bytes, lines: list[bytes], code: str
) -> None:
    with pytest.raises(Refusal) as caught:
        host_of(RequestLine(line, RULES), fields(*lines))
    assert caught.value.code == code


def test_hosts_are_remembered_and_refusals_are_not() -> None:
    assert HOSTS[b"A.example"].name == b"a.example"
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            HOSTS[b"a b"]
        assert caught.value.code == "read.bad_host"


def test_a_detail_names_no_class_and_no_module() -> None:
    for raw in (b"x", b"GET /%zz HTTP/1.1", b"GET / HTTP/3.0"):
        with pytest.raises(Refusal) as caught:
            RequestLine(raw, RULES)
        assert not re.search(r"Error|propylon|0x[0-9a-f]{5}", caught.value.detail)


# versions of HTTP whose heads come as pairs


@pytest.mark.parametrize(
    "section",
    [
        b"Host: a.example\r\nX-A: 1\r\nx-a:\t2 \r\n",
        b"host: a\r\ncontent-length: 5\r\nconnection: x-b\r\nx-b: 1\r\ncookie: c=1\r\n",
        b"host: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nte: trailers\r\n",
    ],
)
def test_a_section_of_pairs_is_the_same_as_one_of_lines(section: bytes) -> None:
    pairs = [(name, value) for name, _, value in (line.partition(b":") for line in section.split(b"\r\n") if line)]
    read, made = RequestFields(section, HeadRules()), RequestFields.of(pairs, HeadRules())
    for name in RequestFields.__slots__:
        if name not in ("_with_claims", "_fields"):
            assert getattr(made, name) == getattr(read, name), name


@pytest.mark.parametrize("pair", [(b"x y", b"1"), (b"", b"1"), (b"x", b"a\r\nb: c"), (b"x", b"\x00"), (b"x_y", b"1")])
def test_a_pair_that_could_be_no_line_is_refused(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        RequestFields.of([(b"host", b"a"), pair], HeadRules())
    assert caught.value.code == "read.bad_field"


def test_a_target_of_its_parts_is_read_by_the_same_rules() -> None:
    line = RequestLine.of(b"GET", b"/%62?c", HeadRules())
    assert (line.method, line.path, line.query, line.minor) == (b"GET", b"/b", b"c", 1)
    for method, target in ((b"G T", b"/"), (b"GET", b"/a b"), (b"CONNECT", b"a:1"), (b"GET", b"/%")):
        with pytest.raises(Refusal):
            RequestLine.of(method, target, HeadRules())
