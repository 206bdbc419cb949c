"""Header fields (RFC 9110 5, RFC 9112 3.2, 5): what is malformed or means two things is refused."""

from __future__ import annotations

import pytest

from propylon import Exchange
from tests.support.checks import assert_nothing_upstream, assert_refused
from tests.support.client import request_bytes
from tests.support.front import Fronts

BAD_HOSTS: dict[str, bytes] = {
    "c19 9112-3.2 no Host": b"GET / HTTP/1.1\r\n\r\n",
    "c19 9112-3.2 two Hosts": b"GET / HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\n\r\n",
    "c19 9112-3.2 the same Host twice": b"GET / HTTP/1.1\r\nhost: a.example\r\nhost: a.example\r\n\r\n",
}
for _host in (
    b"", b"a.example, b.example", b"user@a.example", b"u:p@a.example", b"a.example/x", b"http://a.example",
    b"a.example:65536",
    b"a.example:99999999999", b"a.example:-1", b"a.example:8x", b"a.example:80:80", b":80", b"b\xc3\xbccher.example",
    b"a b", b"a.example\t.x", b"a.example?x", b"a.example#x", b"a\\b", b"[::1", b"::1", b"[::1]x", b"[fe80::1%25eth0]",
    b"[g::1]", b"a.example:\xd9\xa5", b"a<b", b'a"b', b"a.example;x",
):  # fmt: skip
    BAD_HOSTS[f"c19 9112-3.2 {_host!r}"] = b"GET / HTTP/1.1\r\nhost: " + _host + b"\r\n\r\n"


@pytest.mark.parametrize("raw", BAD_HOSTS.values(), ids=BAD_HOSTS.keys())
async def test_c19_a_missing_or_malformed_host_is_refused(front: Fronts, raw: bytes) -> None:
    f = await front()
    client = await f.client()
    await client.send(raw)
    await assert_refused(client, 400)
    await assert_nothing_upstream(f.upstream)


@pytest.mark.parametrize(
    "host", [b"a.example", b"A.EXAMPLE:8080", b"127.0.0.1", b"[::1]", b"[::1]:80", b"a-b.example:65535", b"localhost"]
)
async def test_c19_good_hosts_are_taken(front: Fronts, host: bytes) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes(host=host))).status == 200


BAD_FIELDS: dict[str, bytes] = {
    "c22 9112-5.1 space before the colon": b"x : y",
    "c22 9112-5.1 tab before the colon": b"x\t: y",
    "c22 9112-5.2 obs-fold": b"x: y\r\n z",
    "c22 9112-5.2 obs-fold with a tab": b"x: y\r\n\tz",
    "c22 9110-5.1 empty name": b": y",
    "c22 9112-5 no colon": b"xy",
    "c22 9112-2.2 bare CR inside": b"x: y\rz",
    "c22 9112-2.2 bare CR at the end": b"x: y\r",
    "c22 9112-2.2 bare LF inside": b"x: y\nz: w",
    "c22 9110-5.1 a space in the name": b"x y: z",
    "c23 underscore": b"x_user: root",
    "c23 dot": b"x.user: root",
    "c23 content_type": b"content_type: text/plain",
    "c23 x_forwarded_for": b"X_Forwarded_For: 6.6.6.6",
}
for _byte in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F):
    BAD_FIELDS[f"c22 9110-5.5 {_byte:#04x} in a value"] = b"x: a" + bytes([_byte]) + b"b"
for _byte in (0x00, 0x0B, 0x22, 0x28, 0x2C, 0x2F, 0x3B, 0x3D, 0x40, 0x5B, 0x7B, 0x7F, 0x80, 0xE9):
    BAD_FIELDS[f"c22 9110-5.1 {_byte:#04x} in a name"] = b"x" + bytes([_byte]) + b"y: z"


@pytest.mark.parametrize("line", BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
@pytest.mark.parametrize("place", ["before host", "after host"])
async def test_malformed_fields_are_refused(front: Fronts, line: bytes, place: str) -> None:
    f = await front()
    client = await f.client()
    lines = [line, b"host: a.example"] if place == "before host" else [b"host: a.example", line]
    await client.send(b"GET / HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")
    await assert_refused(client, 400)
    await assert_nothing_upstream(f.upstream)


async def test_c22_obs_text_passes_as_the_same_bytes(front: Fronts) -> None:
    seen: list[str | None] = []

    def look(x: Exchange) -> None:
        seen.append(x.request.headers.get("x-name"))

    f = await front(policies=[look])
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", b"x-name: caf\xe9 \xc3\xa9"))).status == 200
    assert f.upstream.requests[0].all("x-name") == [b"caf\xe9 \xc3\xa9"]
    assert seen == [b"caf\xe9 \xc3\xa9".decode("latin-1")]


async def test_c22_a_tab_inside_a_value_is_kept(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", b"x-tab: a\tb"))).status == 200
    assert f.upstream.requests[0].all("x-tab") == [b"a\tb"]


@pytest.mark.parametrize("name", [b"x_user", b"x.user", b"x-forwarded_for", b"host_"])
async def test_c23_aliases_are_dropped_when_so_configured(front: Fronts, name: bytes) -> None:
    f = await front(field_names={"underscores": "drop"})
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", name + b": root", b"x-kept: 1"))).status == 200
    (request,) = f.upstream.requests
    assert request.all(name.decode()) == []
    assert request.header("x-kept") == "1"


async def test_c23_aliases_are_kept_when_so_configured(front: Fronts) -> None:
    f = await front(field_names={"underscores": "keep"})
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", b"x_user: me"))).status == 200
    assert f.upstream.requests[0].header("x_user") == "me"


@pytest.mark.parametrize(
    "value",
    [
        b"1.1 gate",
        b"1.0 other, 1.1 gate",
        b"1.1 GATE",
        b"HTTP/1.1 gate",
        b"1.1 gate (a comment)",
        b"1.1 x (,), 1.1 gate",
    ],
)
async def test_c26_a_request_that_came_through_here_already_is_a_loop(front: Fronts, value: bytes) -> None:
    f = await front(name="gate")
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"via: " + value))
    assert reply.status in (400, 508)
    await assert_nothing_upstream(f.upstream)


async def test_c26_8586_a_cdn_loop_with_our_name_is_a_loop(front: Fronts) -> None:
    f = await front(name="gate")
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", b"cdn-loop: other; x=1, gate"))).status in (400, 508)
    await assert_nothing_upstream(f.upstream)


@pytest.mark.parametrize("value", [b"1.1 other", b"1.1 gateway", b"1.1 x (gate)"])
async def test_c26_someone_elses_via_is_no_loop(front: Fronts, value: bytes) -> None:
    f = await front(name="gate")
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", b"via: " + value))).status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"x-http-method-override: DELETE",
        b"x-http-method: DELETE",
        b"x-method-override: DELETE",
        b"x-original-url: /admin",
        b"X-Original-URL: /admin",
        b"x-rewrite-url: /admin",
    ],
)
async def test_c29_headers_that_override_method_or_path_are_taken_away(front: Fronts, line: bytes) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes(b"/", line))).status == 200
    (request,) = f.upstream.requests
    assert request.all(line.partition(b":")[0].decode()) == []
    assert (request.method, request.target) == (b"GET", b"/")
