"""What is rewritten on the way to a service and back: URLs, prefixes, fields, queries, and the case of names."""

from __future__ import annotations

import pytest

from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.upstream import answer, ok


async def test_a_path_leads_back_through_the_gateway_and_another_host_is_left(front: Fronts) -> None:
    f = await front(
        answer(
            ok(b"", b"location: http://127.0.0.1:1/items/?a=1", status=b"307 Temporary Redirect"),
            ok(b"", b"location: /items/", b"content-location: /items/5", status=b"201 Created"),
        ),
        route={"path": "/api/*", "strip": "/api"},
    )
    client = await f.client()
    assert (await client.ask(request_bytes(b"/api/items"))).header("location") == "http://127.0.0.1:1/items/?a=1"
    reply = await client.ask(request_bytes(b"/api/items", host=b"shop.example"))
    assert (reply.header("location"), reply.header("content-location")) == ("/api/items/", "/api/items/5")


async def test_the_address_of_an_endpoint_never_reaches_a_client(front: Fronts) -> None:
    def redirect(request: object) -> bytes:
        where = f.upstream.url.encode()
        return ok(
            b"moved", b"Location: " + where + b"/items/", b"Refresh: 0; url=" + where, status=b"301 Moved Permanently"
        )

    f = await front(answer(redirect), route={"path": "/api/*", "strip": "/api"})
    client = await f.client()
    for method in (b"GET", b"HEAD"):
        reply = await client.ask(request_bytes(b"/api/items", host=b"shop.example:8080", method=method))
        assert reply.header("location") == "http://shop.example:8080/api/items/"
        assert reply.header("refresh") == "0; url=http://shop.example:8080/api"
        assert reply.header("content-length") == "5"


async def test_a_service_gets_the_prefix_and_only_what_is_kept(front: Fronts) -> None:
    policies = [{"headers": {"request": {"keep": ["accept"], "set": {"x-user": "{id}", "x-from": "{client.address}"}}}}]
    route = {
        "path": "/api/{id}/*",
        "strip": "/api",
        "query_edit": {"keep": ["page"], "set": {"user": "u {id}"}},
    }
    f = await front(route=route, policies=policies)
    client = await f.client()
    fields = (b"accept: a/b", b"cookie: c=1", b"x-forwarded-prefix: /evil", b"authorization: x", b"content-type: t/t")
    await client.ask(request_bytes(b"/api/a%20b/c?page=2&admin=1&Page=3", *fields, method=b"POST", body=b"hi"))
    [sent] = f.upstream.requests
    assert sent.target == b"/a%20b/c?page=2&user=u%20a%20b"
    names = sorted(name for name, _ in sent.headers)
    assert sent.header("x-forwarded-prefix") == "/api"
    assert (sent.header("x-user"), sent.header("x-from")) == ("a%20b", "127.0.0.1")
    assert not {"cookie", "authorization"} & {name.lower() for name in names}
    assert (sent.header("accept"), sent.header("content-type"), sent.body) == ("a/b", "t/t", b"hi")


@pytest.mark.parametrize("case", ["lower", "title"])
async def test_names_have_capitals_on_both_sides_for_devices_that_compare_them(front: Fronts, case: str) -> None:
    f = await front(answer(ok(b"hello", b"x-Own: content-length: 1", b"etag: w")), field_names={"case": case})
    client = await f.client()
    await client.send(b"POST / HTTP/1.1\r\nHOST: a.example\r\nx-low: 1\r\nCONTENT-LENGTH: 2\r\n\r\nhi")
    raw = await client.read_until(b"hello")
    sent = bytes(f.upstream.connections[0].received)
    names = {line.partition(b":")[0] for line in (raw + sent).split(b"\r\n") if b":" in line}
    assert b"x-Own" in names
    wanted = {b"content-length", b"date", b"etag", b"host", b"x-forwarded-for", b"x-low"}
    assert (wanted <= names) == (case == "lower")
    titled = {b"Content-Length", b"Date", b"ETag", b"Host", b"X-Forwarded-For", b"X-Low"}
    assert (titled <= names) == (case == "title")
    assert raw.endswith(b"\r\n\r\nhello")
    assert sent.endswith(b"\r\n\r\nhi")


async def test_maintenance_is_one_policy_of_the_gateway(front: Fronts) -> None:
    entry = {
        "respond": {"status": 503, "body": "Back at noon.", "headers": {"retry-after": "600"}},
        "unless": {"paths": ["/health"]},
    }
    f = await front(policies=[entry])
    client = await f.client()
    reply = await client.ask(request_bytes(b"/x"))
    assert (reply.status, bytes(reply.body), reply.header("retry-after")) == (503, b"Back at noon.", "600")
    assert (await client.ask(request_bytes(b"/health"))).status == 200
