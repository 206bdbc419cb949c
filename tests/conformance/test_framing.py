"""Message framing (RFC 9112 6, 7): what is ambiguous is refused, and nothing of it reaches an upstream."""

from __future__ import annotations

import pytest

from tests.support.checks import assert_no_whole_request, assert_nothing_upstream, assert_refused, words
from tests.support.client import request_bytes
from tests.support.front import Fronts

POST = b"POST /x HTTP/1.1\r\nhost: a.example\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: a.example\r\n\r\n"
END = b"0\r\n\r\n"


def framed(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with these framing lines, then a body, then a request that must never be seen as one."""
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body + SMUGGLED


AMBIGUOUS_HEADS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "c01 9112-6.1 length then coding": (
        framed(b"content-length: 5", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
        (400,),
    ),
    "c01 9112-6.1 coding then length": (
        framed(b"transfer-encoding: chunked", b"content-length: 5", body=b"0\r\n\r\n"),
        (400,),
    ),
    "c02 9110-8.6 two different lengths": (framed(b"content-length: 5", b"content-length: 0", body=b"hello"), (400,)),
    "c02 9110-8.6 two equal lengths": (framed(b"content-length: 5", b"content-length: 5", body=b"hello"), (400,)),
    "c02 9110-8.6 list of different lengths": (framed(b"content-length: 5, 0", body=b"hello"), (400,)),
    "c02 9110-8.6 list of equal lengths": (framed(b"content-length: 5, 5", body=b"hello"), (400,)),
    "c05 Transfer_Encoding": (framed(b"transfer_encoding: chunked", body=b"5\r\nhello\r\n" + END), (400,)),
    "c05 9112-5.1 space before colon": (framed(b"transfer-encoding : chunked", body=b"5\r\nhello\r\n" + END), (400,)),
    "c05 9112-5.1 tab before colon": (framed(b"transfer-encoding\t: chunked", body=b"5\r\nhello\r\n" + END), (400,)),
    "c05 9112-2.2 first line begins with a space": (
        b"POST /x HTTP/1.1\r\n transfer-encoding: chunked\r\nhost: a.example\r\n\r\n" + END + SMUGGLED,
        (400,),
    ),
    "c05 Content_Length": (framed(b"content_length: 5", body=b"hello"), (400,)),
    "c05 9112-5.1 length with space before colon": (framed(b"content-length : 5", body=b"hello"), (400,)),
    "c04 9112-6.1 coding in HTTP/1.0": (
        b"POST /x HTTP/1.0\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n" + END + SMUGGLED,
        (400,),
    ),
    "c04 9112-6.3 two coding lines": (
        framed(b"transfer-encoding: chunked", b"transfer-encoding: chunked", body=END),
        (400,),
    ),
    "c04 9112-6.3 chunked then identity": (
        framed(b"transfer-encoding: chunked", b"transfer-encoding: identity", body=END),
        (400, 501),
    ),
    "c04 9112-5.2 coding in a folded line": (framed(b"transfer-encoding:\r\n chunked", body=END), (400,)),
    "c04 9112-5.2 coding before a folded line": (framed(b"transfer-encoding: chunked\r\n , gzip", body=END), (400,)),
}

for _length in (
    b"+5", b"-0", b"-5", b"0x5", b"1_0", b"5 5", b"", b"5.0", b"5e0", b"05", b"00", b"5;", b'"5"', b"5,",
    b"9223372036854775808", b"18446744073709551621", b"9" * 60, b"\xd9\xa5", b"\xef\xbc\x95", b"5\x00",
    b"\x0b5", b"5\xa0",
):  # fmt: skip
    AMBIGUOUS_HEADS[f"c03 9110-8.6 length {_length!r}"] = (framed(b"content-length: " + _length, body=b"hello"), (400,))

for _coding, _statuses in (
    (b"xchunked", (400, 501)), (b"identity", (400, 501)), (b"gzip", (400, 501)), (b"chunked, gzip", (400, 501)),
    (b"gzip, chunked", (400, 501)), (b"chunked, chunked", (400,)), (b",chunked", (400,)), (b"chunked,", (400,)),
    (b"chunked;a=b", (400, 501)), (b"chu\x0bnked", (400,)), (b"\xa0chunked", (400,)), (b"", (400,)),
    (b'"chunked"', (400, 501)), (b"chunked\x00", (400,)), (b"chun\xe2\x84\xaaed", (400, 501)), (b"\x0bchunked", (400,)),
):  # fmt: skip
    AMBIGUOUS_HEADS[f"c04 9112-6.1 coding {_coding!r}"] = (
        framed(b"transfer-encoding: " + _coding, body=b"5\r\nhello\r\n" + END),
        _statuses,
    )


@pytest.mark.parametrize(("raw", "statuses"), AMBIGUOUS_HEADS.values(), ids=AMBIGUOUS_HEADS.keys())
async def test_ambiguous_framing_is_refused_and_nothing_goes_upstream(
    front: Fronts, raw: bytes, statuses: tuple[int, ...]
) -> None:
    f = await front()
    client = await f.client()
    await client.send(raw)
    await assert_refused(client, *statuses, method="POST")
    await assert_nothing_upstream(f.upstream)


@pytest.mark.parametrize("name", ["c01 9112-6.1 length then coding", "c02 9110-8.6 two different lengths"])
async def test_ambiguous_framing_is_refused_when_it_comes_byte_by_byte(front: Fronts, name: str) -> None:
    raw, statuses = AMBIGUOUS_HEADS[name]
    f = await front()
    client = await f.client()
    await client.send_bytewise(raw)
    await assert_refused(client, *statuses, method="POST")
    await assert_nothing_upstream(f.upstream)


BAD_CHUNKS: dict[str, bytes] = {
    "c06 9112-7.1 size empty": b"\r\nhello\r\n" + END,
    "c06 9112-7.1 size 17 digits": b"00000000000000005\r\nhello\r\n" + END,
    "c06 9112-7.1 size overflows 64 bits": b"10000000000000005\r\nhello\r\n" + END,
    "c06 9112-7.1 size of 17 f": b"fffffffffffffffff\r\nhello\r\n" + END,
    "c07 9112-2.2 bare LF after the size": b"5\nhello\r\n" + END,
    "c07 9112-2.2 bare CR after the size": b"5\rhello\r\n" + END,
    "c07 9112-2.2 CR CR after the size": b"5\r\r\nhello\r\n" + END,
    "c07 9112-2.2 CR X after the size": b"5\rX\nhello\r\n" + END,
    "c07 9112-2.2 bare LF after the data": b"5\r\nhello\n" + END,
    "c07 9112-2.2 bare CR after the data": b"5\r\nhello\r" + END,
    "c07 9112-2.2 bare LF after the last chunk": b"5\r\nhello\r\n0\n\r\n",
    "c07 9112-2.2 bare LF ends the trailers": b"5\r\nhello\r\n0\r\n\n",
    "c08 9112-7.1.1 bare semicolon": b"5;\r\nhello\r\n" + END,
    "c08 9112-7.1.1 control character": b"5;a=\x01\r\nhello\r\n" + END,
    "c08 9112-7.1.1 NUL": b"5;a\x00=b\r\nhello\r\n" + END,
    "c08 9112-7.1.1 bare CR": b"5;a=b\rc\r\nhello\r\n" + END,
    "c08 9112-7.1.1 bare LF in an extension": b"5;a=b\nc\r\nhello\r\n" + END,
    "c08 9112-7.1.1 more than 1 KiB": b"5;a=" + b"b" * 1100 + b"\r\nhello\r\n" + END,
    "c08 9112-7.1.1 more than 1 KiB over several chunks": (b"1;a=" + b"b" * 200 + b"\r\nx\r\n") * 40 + END,
    "c09 9112-7.1 no CRLF after the data": b"5\r\nhello" + END,
    "c09 9112-7.1 data longer than its size": b"5\r\nhello!\r\n" + END,
    "c09 9112-7.1 data shorter than its size": b"7\r\nhello\r\n" + END + b"\r\n",
}

for _size in (b"0x5", b"+5", b"-1", b" 5", b"5 ", b"0_5", b"\t5", b"5\t", b"\xd9\xa5", b"5h", b"G"):
    BAD_CHUNKS[f"c06 9112-7.1 size {_size!r}"] = _size + b"\r\nhello\r\n" + END


@pytest.mark.parametrize("raw", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
@pytest.mark.parametrize("cuts", ["whole", "head first", "byte by byte"])
async def test_bad_chunks_are_refused_and_the_upstream_never_gets_a_whole_request(
    front: Fronts, raw: bytes, cuts: str
) -> None:
    f = await front()
    client = await f.client()
    data = CHUNKED + raw + SMUGGLED
    first = len(CHUNKED)
    offsets = {"whole": [], "head first": [first], "byte by byte": list(range(first, min(first + 120, len(data))))}
    await client.send(data, cuts=offsets[cuts])
    await assert_refused(client, 400, method="POST")
    await assert_no_whole_request(f.upstream)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'5;a=b;c="d \\" e";f\r\nhello\r\n0;last\r\n\r\n', id="c08 9112-7.1.1 extensions of every form"),
        pytest.param(b"0005\r\nhello\r\n000\r\n\r\n", id="c06 9112-7.1 leading zeros are digits"),
        pytest.param(b"5\r\nhello\r\n" + END, id="c06 9112-7.1 plain"),
        pytest.param(b"2\r\nhe\r\n3\r\nllo\r\n" + END, id="c06 9112-7.1 two chunks"),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
async def test_good_chunks_arrive_as_the_same_body_without_extensions(
    front: Fronts, body: bytes, bytewise: bool
) -> None:
    f = await front()
    client = await f.client()
    await (client.send_bytewise if bytewise else client.send)(CHUNKED + body)
    assert (await client.reply("POST")).status == 200
    (request,) = f.upstream.requests
    assert bytes(request.body) == b"hello"
    assert b";" not in f.upstream.received.partition(b"\r\n\r\n")[2]


TRAILERS = [b"content-length: 100", b"transfer-encoding: chunked", b"host: evil.example", b"authorization: Basic eA=="]
TRAILERS += [b"content-type: text/evil", b"cookie: a=b", b"x-forwarded-for: 6.6.6.6", b"x-user-id: root"]


@pytest.mark.parametrize("trailer", TRAILERS, ids=lambda line: f"c10 9110-6.5.1 {line.decode()}")
async def test_trailers_never_become_headers(front: Fronts, trailer: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(CHUNKED + b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n" + request_bytes(b"/next"))
    assert (await client.reply("POST")).status == 200
    assert (await client.reply()).status == 200
    first, second = f.upstream.requests
    name, _, value = trailer.partition(b": ")
    assert value not in first.all(name.decode())
    assert not [field for field in first.trailers if field[0].lower() == name]
    assert second.target == b"/next"


@pytest.mark.parametrize(
    "trailers",
    [
        pytest.param(b"x: " + b"y" * 40_000 + b"\r\n\r\n", id="c10 one line of 40 kB"),
        pytest.param(b"x: y\r\n" * 1000 + b"\r\n", id="c10 1000 lines"),
        pytest.param(b"no colon\r\n\r\n", id="c10 9112-7.1.2 no colon"),
        pytest.param(b"x : y\r\n\r\n", id="c10 9112-5.1 space before colon"),
        pytest.param(b" x: y\r\n\r\n", id="c10 9112-5.2 leading space"),
        pytest.param(b"x: y\n\r\n", id="c10 9112-2.2 bare LF"),
        pytest.param(b"x: \x00\r\n\r\n", id="c10 9110-5.5 NUL"),
    ],
)
async def test_bad_or_boundless_trailers_are_refused(front: Fronts, trailers: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(CHUNKED + b"5\r\nhello\r\n0\r\n" + trailers + SMUGGLED)
    await assert_refused(client, 400, 431, method="POST")
    await assert_no_whole_request(f.upstream)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    ("line", "body"), [(b"content-length: 5", b"hello"), (b"transfer-encoding: chunked", b"5\r\nhello\r\n" + END)]
)
async def test_c11_a_body_on_any_method_is_framed_and_the_next_request_is_intact(
    front: Fronts, method: str, line: bytes, body: bytes
) -> None:
    f = await front()
    client = await f.client()
    head = method.encode() + b" /body HTTP/1.1\r\nhost: a.example\r\n" + line + b"\r\n\r\n"
    await client.send(head + body + request_bytes(b"/next"))
    first = await client.reply(method)
    if first.status == 400:
        await client.assert_closed()
        await assert_no_whole_request(f.upstream)
        return
    assert first.status == 200
    assert (await client.reply()).status == 200
    carried, follower = f.upstream.requests
    assert (carried.method, carried.target, bytes(carried.body)) == (method.encode(), b"/body", b"hello")
    assert (follower.target, bytes(follower.body)) == (b"/next", b"")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(POST + b"content-length: 10\r\n\r\nhello", id="c12 9112-8 length 10, 5 sent"),
        pytest.param(CHUNKED + b"5\r\nhel", id="c12 9112-8 inside a chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n", id="c12 9112-8 no last chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\n", id="c12 9112-8 no end of trailers"),
    ],
)
async def test_c12_a_truncated_body_aborts_the_upstream_and_is_never_pooled(front: Fronts, raw: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(raw)
    await f.upstream.until(lambda: bool(f.upstream.requests), "the head")
    client.half_close()
    rest = await client.until_closed()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 "), rest
    await assert_no_whole_request(f.upstream)
    before = len(f.upstream.connections)
    again = await f.client()
    assert (await again.ask(request_bytes(b"/again"))).status == 200
    assert len(f.upstream.connections) == before + 1


REWRITTEN: dict[str, bytes] = {
    "c17 names in any case": b"POST /x HTTP/1.1\r\nHOST: a.example\r\nCONTENT-LENGTH: 2\r\nX-TEST: 1\r\n\r\nhi",
    "c17 9110-5.5 white space around values": (
        b"POST /x HTTP/1.1\r\nHost:\ta.example \t\r\nContent-Length:  2 \r\nX-Test: \t 1 \t\r\n\r\nhi"
    ),
    "c17 no white space": b"POST /x HTTP/1.1\r\nhost:a.example\r\ncontent-length:2\r\nx-test:1\r\n\r\nhi",
    "c17 9112-7 coding in capitals": (
        b"POST /x HTTP/1.1\r\nhost: a.example\r\nTransfer-Encoding: CHUNKED\r\nx-test: 1\r\n\r\n"
        b"2;x=y\r\nhi\r\n0\r\n\r\n"
    ),
    "c17 9112-2.2 an empty line before the request": b"\r\nPOST /x HTTP/1.1\r\nhost: a.example\r\n"
    b"content-length: 2\r\nx-test: 1\r\n\r\nhi",
    "c17 HTTP/1.0": b"POST /x HTTP/1.0\r\nhost: a.example\r\ncontent-length: 2\r\nx-test: 1\r\n\r\nhi",
}


@pytest.mark.parametrize("raw", REWRITTEN.values(), ids=REWRITTEN.keys())
async def test_what_goes_upstream_is_written_anew(front: Fronts, raw: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(raw)
    assert (await client.reply("POST")).status == 200
    (request,) = f.upstream.requests
    assert (request.method, request.target, request.version, bytes(request.body)) == (b"POST", b"/x", b"1.1", b"hi")
    assert request.header("x-test") == "1"
    assert request.head.startswith(b"POST /x HTTP/1.1\r\n")
    assert "close" not in words(request.header("connection"))


async def test_a_request_without_a_body_goes_out_without_framing_headers(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes())).status == 200
    (request,) = f.upstream.requests
    assert request.header("content-length") is None
    assert request.header("transfer-encoding") is None


async def test_an_empty_post_keeps_its_content_length_zero(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes(method=b"POST", body=b""))).status == 200
    assert f.upstream.requests[0].header("content-length") == "0"
