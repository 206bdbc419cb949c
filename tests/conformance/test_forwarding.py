"""What is added and taken away on the way (RFC 9110 7.6, RFC 7239): hop-by-hop fields, Via, X-Forwarded-*."""

from __future__ import annotations

import re

import pytest

from propylon import Exchange
from tests.support.checks import assert_problem, words
from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.upstream import answer, ok

HOP_BY_HOP = [
    b"keep-alive: timeout=5", b"proxy-connection: keep-alive", b"proxy-authenticate: Basic", b"te: gzip",
    b"proxy-authorization: Basic c2VjcmV0", b"upgrade: h2c", b"trailer: x-sum",
]  # fmt: skip


@pytest.mark.parametrize("line", HOP_BY_HOP, ids=lambda line: f"c25 9110-7.6.1 {line.decode()}")
async def test_hop_by_hop_request_fields_end_here(front: Fronts, line: bytes) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", line, b"x-kept: 1"))).status == 200
    (request,) = f.upstream.requests
    name, _, value = line.partition(b": ")
    assert value not in request.all(name.decode())
    assert request.header("x-kept") == "1"


async def test_c25_9110_7_8_an_upgrade_to_h2c_is_never_offered_upstream(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    lines = (b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__")
    assert (await client.ask(request_bytes(b"/", *lines))).status == 200
    (request,) = f.upstream.requests
    assert request.all("upgrade") == []
    assert request.all("http2-settings") == []
    assert not words(request.header("connection")) & {"upgrade", "http2-settings"}


@pytest.mark.parametrize(
    "nominated",
    [b"close, X-Custom", b"x-custom", b"X-CUSTOM , keep-alive", b",x-custom,,", b"a, x-custom\r\nconnection: b"],
)
async def test_c25_9110_7_6_1_fields_named_by_connection_end_here(front: Fronts, nominated: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.ask(request_bytes(b"/", b"connection: " + nominated, b"x-custom: secret", b"x-kept: 1"))
    (request,) = f.upstream.requests
    assert request.all("x-custom") == []
    assert request.header("x-kept") == "1"


async def test_c25_connection_cannot_take_away_what_the_gateway_sets(front: Fronts) -> None:
    def identify(x: Exchange) -> None:
        x.request.headers.set("x-user-id", "42")

    f = await front(policies=[identify])
    client = await f.client()
    owned = b"x-user-id, x-forwarded-for, x-forwarded-proto, x-forwarded-host, via, host, x-request-id"
    nominated = b"connection: close, " + owned
    assert (await client.ask(request_bytes(b"/", nominated, b"x-user-id: 0"))).status == 200
    (request,) = f.upstream.requests
    assert request.header("x-user-id") == "42"
    for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via", "host", "x-request-id"):
        assert request.header(name), name


@pytest.mark.parametrize(
    "line", [b"authorization: Bearer t", b"cookie: a=b", b"content-type: text/x", b"cache-control: no-store"]
)
async def test_c25_connection_cannot_take_away_credentials_and_end_to_end_fields(front: Fronts, line: bytes) -> None:
    f = await front()
    client = await f.client()
    name, _, value = line.partition(b": ")
    reply = await client.ask(request_bytes(b"/", b"connection: " + name, line))
    if reply.status == 400:
        assert f.upstream.received == b""
        return
    assert f.upstream.requests[0].all(name.decode()) == [value]


async def test_hop_by_hop_response_fields_end_here(front: Fronts) -> None:
    lines = [b"connection: close, x-hop", b"x-hop: 1", b"keep-alive: timeout=9", b"proxy-authenticate: Basic"]
    lines += [b"proxy-connection: close", b"upgrade: h2c", b"te: x", b"x-kept: 1"]
    f = await front(answer(ok(b"ok", *lines)))
    client = await f.client()
    reply = await client.ask(request_bytes())
    for name in ("x-hop", "keep-alive", "proxy-connection", "upgrade", "te"):
        assert reply.all(name) == [], name
    assert reply.header("x-kept") == "1"
    assert "close" not in words(reply.header("connection")), "the upstream's close is not the client's"
    assert (await client.ask(request_bytes())).status == 200


async def test_several_set_cookie_lines_stay_several(front: Fronts) -> None:
    f = await front(answer(ok(b"ok", b"set-cookie: a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT", b"Set-Cookie: b=2")))
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert reply.all("set-cookie") == [b"a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT", b"b=2"]


async def test_end_to_end_fields_pass_unchanged_and_in_order(front: Fronts) -> None:
    f = await front(answer(ok(b"ok", b"X-A: 1", b'etag: W/"x"', b"X-A: 2", b"x-empty:", b"server: s")))
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"X-B: 1", b"accept: */*", b"X-B: 2", b"x-empty:"))
    (request,) = f.upstream.requests
    assert request.all("x-b") == [b"1", b"2"]
    assert request.all("x-empty") == [b""]
    assert [v for n, v in reply.headers if n.lower() in (b"x-a", b"etag")] == [b"1", b'W/"x"', b"2"]
    assert reply.all("x-empty") == [b""]


async def test_9110_7_6_3_via_names_the_gateway_on_the_way_to_the_service(front: Fronts) -> None:
    f = await front(name="gate")
    client = await f.client()
    await client.ask(request_bytes(b"/", b"via: 1.0 first"))
    via = ", ".join(value.decode() for value in f.upstream.requests[0].all("via"))
    assert via == "1.0 first, 1.1 gate"


async def test_via_and_x_forwarded_are_left_out_when_so_configured(front: Fronts) -> None:
    f = await front(forwarded={"via": False, "x_forwarded": False})
    client = await f.client()
    await client.ask(request_bytes())
    (request,) = f.upstream.requests
    assert not [name for name, _ in request.headers if name.lower().startswith(b"x-forwarded")]
    assert request.all("via") == []


async def test_7239_4_forwarded_is_sent_when_so_configured(front: Fronts) -> None:
    f = await front(forwarded={"standard": True})
    client = await f.client()
    await client.ask(request_bytes(host=b"a.example:81"))
    forwarded = f.upstream.requests[0].header("forwarded")
    assert forwarded is not None
    parts = {part.strip().lower() for part in forwarded.split(";")}
    assert {"for=127.0.0.1", "proto=http", 'host="a.example:81"'} <= parts


SPOOFED = [
    b"x-forwarded-for: 6.6.6.6", b"X-Forwarded-For: 6.6.6.6, 7.7.7.7", b"x-forwarded-proto: https",
    b"forwarded: for=6.6.6.6",
    b"x-forwarded-host: evil.example", b"x-forwarded-port: 6666", b"x-forwarded-prefix: /evil", b"x-real-ip: 6.6.6.6",
    b"x-forwarded-server: evil", b"x-forwarded-scheme: evil", b"x-forwarded-ssl: on", b"x-forwarded: for=6.6.6.6",
    b"x-client-ip: 6.6.6.6", b"true-client-ip: 6.6.6.6", b"x-cluster-client-ip: 6.6.6.6",
]  # fmt: skip


@pytest.mark.parametrize("line", SPOOFED, ids=lambda line: f"c42 7239-8.1 {line.decode()}")
async def test_c42_what_an_untrusted_client_says_of_itself_is_dropped(front: Fronts, line: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.ask(request_bytes(b"/", line))
    (request,) = f.upstream.requests
    value = line.partition(b": ")[2]
    assert value not in [found for name, found in request.headers if name.lower() != b"user-agent"]
    assert request.header("x-forwarded-for") == "127.0.0.1"
    assert request.header("x-forwarded-proto") == "http"
    assert request.header("x-forwarded-host") == "a.example"


async def test_c42_every_copy_of_a_spoofed_header_is_dropped(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.ask(request_bytes(b"/", b"x-forwarded-for: 1.1.1.1", b"X-FORWARDED-FOR: 2.2.2.2", b"x-forwarded-for:"))
    assert f.upstream.requests[0].header("x-forwarded-for") == "127.0.0.1"


TRUSTED = ["127.0.0.0/8", "10.0.0.0/8"]


@pytest.mark.parametrize(
    ("chain", "client_address"),
    [
        (b"9.9.9.9", "9.9.9.9"),
        (b"6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (b"6.6.6.6, 9.9.9.9, 10.0.0.3", "9.9.9.9"),
        (b"10.0.0.2, 10.0.0.3", "10.0.0.2"),
        (b"6.6.6.6, 2001:db8::1", "2001:db8::1"),
    ],
)
async def test_c42_a_trusted_chain_is_counted_from_the_right(front: Fronts, chain: bytes, client_address: str) -> None:
    seen: list[str] = []

    def look(x: Exchange) -> None:
        seen.append(x.request.client)

    f = await front(policies=[look], trusted_proxies=TRUSTED)
    client = await f.client()
    await client.ask(request_bytes(b"/", b"x-forwarded-for: " + chain, b"x-forwarded-proto: https"))
    (request,) = f.upstream.requests
    assert seen == [client_address]
    forwarded = (request.header("x-forwarded-for") or "").split(", ")
    assert forwarded[-1] == "127.0.0.1"
    assert client_address in forwarded
    assert request.header("x-forwarded-proto") == "https"


@pytest.mark.parametrize(
    "chain", [b"6.6.6.6, not an address", b"unknown", b"9.9.9.9:99999999", b"<script>", b"9.9.9.9, ,"]
)
async def test_c42_nonsense_in_a_trusted_chain_never_becomes_the_client(front: Fronts, chain: bytes) -> None:
    seen: list[str] = []

    def look(x: Exchange) -> None:
        seen.append(x.request.client)

    f = await front(policies=[look], trusted_proxies=TRUSTED)
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"x-forwarded-for: " + chain))
    assert reply.status in (200, 400)
    assert all(re.fullmatch(r"[0-9a-f.:]+", address) for address in seen)
    assert "6.6.6.6" not in seen


ID = re.compile(r"[A-Za-z0-9._:+/=@-]{8,128}\Z")


async def test_a_request_id_is_made_and_shown_upstream(front: Fronts) -> None:
    seen: list[str] = []

    def look(x: Exchange) -> None:
        seen.append(x.request_id)

    f = await front(policies=[look])
    client = await f.client()
    await client.ask(request_bytes())
    await client.ask(request_bytes())
    ids = [request.header("x-request-id") for request in f.upstream.requests]
    assert ids == seen
    assert all(made and ID.match(made) for made in ids)
    assert ids[0] != ids[1]


async def test_a_good_request_id_of_the_client_is_kept(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.ask(request_bytes(b"/", b"x-request-id: abc-123_DEF.456"))
    assert f.upstream.requests[0].header("x-request-id") == "abc-123_DEF.456"


@pytest.mark.parametrize(
    "lines",
    [
        (b"x-request-id: " + b"a" * 129,),
        (b"x-request-id: ",),
        (b"x-request-id: a b",),
        (b"x-request-id: \xe9\xe9",),
        (b'x-request-id: "><script>',),
        (b"x-request-id: one", b"x-request-id: two"),
    ],
    ids=["too long", "empty", "space", "obs-text", "markup", "two"],
)
async def test_a_bad_request_id_of_the_client_is_replaced(front: Fronts, lines: tuple[bytes, ...]) -> None:
    f = await front()
    client = await f.client()
    await client.ask(request_bytes(b"/", *lines))
    made = f.upstream.requests[0].header("x-request-id")
    assert made is not None
    assert ID.match(made)
    assert made.encode() not in [line.partition(b": ")[2] for line in lines]


async def test_the_request_id_of_a_refusal_is_the_one_of_its_exchange(front: Fronts) -> None:
    f = await front(route={"path": "/only"})
    client = await f.client()
    reply = await client.ask(request_bytes(b"/other", b"x-request-id: find-me-1234"))
    assert assert_problem(reply, 404) == "match.no_route"
    assert reply.json()["request_id"] == "find-me-1234"


@pytest.mark.parametrize(("sent", "arrives"), [(b"1", "0"), (b"7", "6")])
async def test_9110_7_6_2_max_forwards_is_counted_down_on_options(front: Fronts, sent: bytes, arrives: str) -> None:
    f = await front()
    client = await f.client()
    await client.ask(request_bytes(b"/", b"max-forwards: " + sent, method=b"OPTIONS"))
    assert f.upstream.requests[0].header("max-forwards") == arrives


async def test_9110_7_6_2_options_with_max_forwards_zero_is_answered_here(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"max-forwards: 0", method=b"OPTIONS"))
    assert reply.status in (200, 204)
    assert f.upstream.received == b""
