"""The request line (RFC 9112 2, 3): version, method and target forms, and the one canonical path."""

from __future__ import annotations

import pytest

from tests.support.checks import assert_nothing_upstream, assert_refused
from tests.support.client import request_bytes
from tests.support.front import Fronts

HOST = b"host: a.example\r\n\r\n"

BAD_LINES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "c18 9112-2.2 bare LF everywhere": (b"GET / HTTP/1.1\nhost: a.example\n\n", (400,)),
    "c18 9112-2.2 bare LF after the request line": (b"GET / HTTP/1.1\n" + HOST, (400,)),
    "c18 9112-2.2 bare LF after a field": (b"GET / HTTP/1.1\r\nhost: a.example\nx: y\r\n\r\n", (400,)),
    "c18 9112-2.2 bare LF ends the head": (b"GET / HTTP/1.1\r\nhost: a.example\r\n\n", (400,)),
    "c18 9112-2.2 bare CR": (b"GET / HTTP/1.1\rhost: a.example\r\r\n\r\n", (400,)),
    "c18 9112-2.2 bare CR after the request line": (b"GET / HTTP/1.1\r" + HOST, (400,)),
    "c18 9112-2.2 CR CR LF": (b"GET / HTTP/1.1\r\r\n" + HOST, (400,)),
    "c18 9112-3 leading space": (b" GET / HTTP/1.1\r\n" + HOST, (400,)),
    "c18 9112-3 leading tab": (b"\tGET / HTTP/1.1\r\n" + HOST, (400,)),
    "c18 9112-3 tabs between": (b"GET\t/\tHTTP/1.1\r\n" + HOST, (400,)),
    "c18 9112-3 two spaces": (b"GET  / HTTP/1.1\r\n" + HOST, (400,)),
    "c18 9112-3 two spaces before the version": (b"GET /  HTTP/1.1\r\n" + HOST, (400,)),
    "c18 9112-3 trailing space": (b"GET / HTTP/1.1 \r\n" + HOST, (400,)),
    "c18 9112-3 a space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST, (400,)),
    "c18 9112-3 HTTP/0.9": (b"GET /\r\n\r\n", (400, 505)),
    "c18 9112-2.3 HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 HTTP/0.9 spelt": (b"GET / HTTP/0.9\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 http/1.1": (b"GET / http/1.1\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 HTTP/01.1": (b"GET / HTTP/01.1\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 HTTP/1.10": (b"GET / HTTP/1.10\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 HTTP/1": (b"GET / HTTP/1\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 HTTP/1,1": (b"GET / HTTP/1,1\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 ICY": (b"GET / ICY/1.1\r\n" + HOST, (400, 505)),
    "c18 9112-2.3 an Arabic digit": (b"GET / HTTP/1.\xd9\xa1\r\n" + HOST, (400, 505)),
    "c18 9110-9.1 method is no token": (b"GE(T / HTTP/1.1\r\n" + HOST, (400,)),
    "c18 9110-9.1 method with obs-text": (b"G\xc3\x8bT / HTTP/1.1\r\n" + HOST, (400,)),
    "c18 9110-9.1 no method": (b" / HTTP/1.1\r\n" + HOST, (400,)),
    "c18 NUL in the target": (b"GET /\x00 HTTP/1.1\r\n" + HOST, (400,)),
    "c18 obs-text in the target": (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST, (400,)),
    "c18 TLS hello": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\r\n\r\n", (400,)),
    "c18 HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 505)),
    "c21 9112-3.2.4 GET *": (b"GET * HTTP/1.1\r\n" + HOST, (400,)),
    "c21 9110-9.3.6 CONNECT": (b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST, (405, 501)),
    "c21 9110-9.3.8 TRACE": (b"TRACE / HTTP/1.1\r\nauthorization: Basic c2VjcmV0\r\n" + HOST, (405,)),
    "c21 9112-3.2.3 authority form": (b"GET a.example:80 HTTP/1.1\r\n" + HOST, (400,)),
    "c20 9112-3.2.2 unknown scheme": (b"GET gopher://a.example/ HTTP/1.1\r\n" + HOST, (400,)),
    "c20 9112-3.2.2 file scheme": (b"GET file:///etc/passwd HTTP/1.1\r\n" + HOST, (400,)),
    "c20 9112-3.2.2 no authority": (b"GET http:///x HTTP/1.1\r\n" + HOST, (400,)),
    "c20 9110-4.2.4 userinfo in the authority": (b"GET http://u:p@a.example/ HTTP/1.1\r\n" + HOST, (400,)),
    "c20 9112-3.2 host is bad beside a good authority": (
        b"GET http://a.example/ HTTP/1.1\r\nhost: a b\r\n\r\n",
        (400,),
    ),
}


@pytest.mark.parametrize(("raw", "statuses"), BAD_LINES.values(), ids=BAD_LINES.keys())
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
async def test_bad_request_lines_are_refused(
    front: Fronts, raw: bytes, statuses: tuple[int, ...], bytewise: bool
) -> None:
    f = await front()
    client = await f.client()
    await (client.send_bytewise if bytewise else client.send)(raw)
    client.half_close()
    await assert_refused(client, *statuses)
    await assert_nothing_upstream(f.upstream)


async def test_c21_trace_never_echoes_credentials(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.send(BAD_LINES["c21 9110-9.3.8 TRACE"][0])
    assert b"c2VjcmV0" not in await client.until_closed()


async def test_c21_options_asterisk_is_answered(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(b"OPTIONS * HTTP/1.1\r\n" + HOST)).status in (200, 204, 404)
    assert (await client.ask(request_bytes(b"/next"))).status == 200


@pytest.mark.parametrize(
    ("target", "host"),
    [
        pytest.param(b"http://a.example/p?q", b"a.example", id="c20 9112-3.2.2 same as Host"),
        pytest.param(b"HTTP://A.Example/p?q", b"a.example", id="c20 9110-4.2.3 any case"),
        pytest.param(b"http://a.example:80/p?q", b"a.example:80", id="c20 with a port"),
    ],
)
async def test_c20_absolute_form_is_taken_and_never_names_the_upstream(
    front: Fronts, target: bytes, host: bytes
) -> None:
    f = await front(route={"host": "a.example"})
    client = await f.client()
    assert (await client.ask(request_bytes(target, host=host))).status == 200
    (request,) = f.upstream.requests
    assert request.target == b"/p?q"
    assert request.header("host") == f.upstream.authority


async def test_c20_an_authority_that_differs_from_host_wins_or_is_refused(front: Fronts) -> None:
    f = await front(route={"host": "a.example"})
    client = await f.client()
    await client.send(request_bytes(b"http://b.example/p", host=b"a.example"))
    assert (await client.reply()).status in (400, 404)
    await assert_nothing_upstream(f.upstream)


async def test_c20_an_absolute_target_never_reaches_a_host_the_client_chose(front: Fronts) -> None:
    f = await front()
    victim = await front.upstream()
    client = await f.client()
    await client.send(request_bytes(victim.url.encode() + b"/p", host=victim.authority.encode()))
    assert (await client.reply()).status in (200, 400)
    assert victim.connections == []


REFUSED_TARGETS = [
    b"/%2e%2e/x", b"/a/%2e%2e/x", b"/a/..", b"/a/../x", b"/../x", b"/./x", b"/a/.", b"/a/%2E/x", b"/.%2e/x", b"/%2e./x",
    b"/a%2fb", b"/a%2Fb", b"/a%5cb", b"/a%5Cb", b"/a\\b", b"/\\..\\x", b"/a%00b", b"/a%0ab", b"/a%0d%0ab",
    b"/a%1fb", b"/a%7fb",
    b"/%c0%ae%c0%ae/x", b"/%c0%af", b"/%e0%80%af", b"/%ff", b"/%f8%80%80%80%ae", b"/%ed%a0%80", b"/%c3",
    b"/..;x=y/z", b"/a;b/c", b"/.;/x", b"/a;x=../b", b"/%3b/..;/x",
    b"/a%", b"/a%2", b"/a%zz", b"/a%u0041", b"/a#b", b"/#", b"x", b"?x", b"./x",
]  # fmt: skip


@pytest.mark.parametrize("target", REFUSED_TARGETS, ids=lambda t: f"c27 3986-6 {t!r}")
async def test_c27_targets_that_layers_read_differently_are_refused(front: Fronts, target: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(request_bytes(target))
    await assert_refused(client, 400)
    await assert_nothing_upstream(f.upstream)


CANONICAL_TARGETS = {
    b"/a//b": b"/a/b",
    b"//a": b"/a",
    b"///": b"/",
    b"//evil.example/x": b"/evil.example/x",
    b"/%61%2D%5f%7E": b"/a-_~",
    b"/%41%62": b"/Ab",
    b"/a%20b": b"/a%20b",
    b"/caf%c3%a9": b"/caf%C3%A9",
    b"/%252e%252e/x": b"/%252e%252e/x",
    b"/%252f": b"/%252f",
    b"/100%25": b"/100%25",
    b"/a...b/..c": b"/a...b/..c",
    b"/a?x=/../%2e%2e//;%2f": b"/a?x=/../%2e%2e//;%2f",
    b"/a??b=?": b"/a??b=?",
    b"/a?": b"/a?",
    b"/a?a=1&a=2&b=x%20y&c=x+y": b"/a?a=1&a=2&b=x%20y&c=x+y",
    b"/a:b@c!$&'()*+,=": b"/a:b@c!$&'()*+,=",
    b"/Case": b"/Case",
}


@pytest.mark.parametrize(("target", "sent"), CANONICAL_TARGETS.items(), ids=lambda t: f"c27 {t!r}")
async def test_c27_targets_reach_the_upstream_in_one_canonical_form(front: Fronts, target: bytes, sent: bytes) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes(target))).status == 200
    (request,) = f.upstream.requests
    assert request.target == sent
    again = await f.client()
    assert (await again.ask(request_bytes(sent))).status == 200
    assert f.upstream.requests[1].target == sent, "canon(canon(x)) != canon(x)"


@pytest.mark.parametrize("target", [b"/%61dmin", b"//admin", b"/admin", b"/ad%6Din", b"/%61%64%6d%69%6e"])
async def test_c27_routes_and_policies_see_the_same_path_as_the_upstream(front: Fronts, target: bytes) -> None:
    seen: list[str] = []

    def look(x: object) -> None:
        seen.append(x.request.path)  # type: ignore[attr-defined]

    f = await front(route={"path": "/admin"}, policies=[look])
    client = await f.client()
    assert (await client.ask(request_bytes(target))).status == 200
    assert seen == ["/admin"]
    assert f.upstream.requests[0].target == b"/admin"


async def test_c27_encoded_slashes_and_semicolons_are_kept_when_configured(front: Fronts) -> None:
    f = await front(paths={"encoded_slashes": "keep", "semicolons": "keep"})
    client = await f.client()
    assert (await client.ask(request_bytes(b"/a%2fb;c=d"))).status == 200
    assert f.upstream.requests[0].target == b"/a%2Fb;c=d"


@pytest.mark.parametrize("target", [b"/..%2fx", b"/a/..;x/b", b"/%2e%2e%2fx", b"/a/.;/b"])
async def test_c27_dot_segments_are_refused_even_where_slashes_and_semicolons_are_kept(
    front: Fronts, target: bytes
) -> None:
    f = await front(paths={"encoded_slashes": "keep", "semicolons": "keep"})
    client = await f.client()
    await client.send(request_bytes(target))
    await assert_refused(client, 400)
    await assert_nothing_upstream(f.upstream)


@pytest.mark.parametrize("count", [1, 100, 101, 10_000])
async def test_c28_hosts_match_in_any_case_however_many_there_are(front: Fronts, count: int) -> None:
    f = await front(route={"host": [f"Host-{number}.Example" for number in range(count)]})
    client = await f.client()
    for host in (b"host-0.example", b"HOST-0.EXAMPLE", b"hOsT-%d.eXample:8080" % (count - 1)):
        assert (await client.ask(request_bytes(host=host))).status == 200, host
    assert (await client.ask(request_bytes(host=b"host-%d.example" % count))).status == 404


async def test_c28_paths_are_case_sensitive(front: Fronts) -> None:
    f = await front(route={"path": "/Users/*"})
    client = await f.client()
    assert (await client.ask(request_bytes(b"/Users/1"))).status == 200
    assert (await client.ask(request_bytes(b"/users/1"))).status == 404
