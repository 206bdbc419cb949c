"""What other gateways were found to get wrong, one test a finding."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from propylon import Gateway
from tests.support.checks import assert_problem, assert_still_serves
from tests.support.client import ConnectionEnded, RawClient, request_bytes
from tests.support.deadline import real_time
from tests.support.front import Fronts
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answer, ok

QUERIES = [
    b"a=1&a=2&b=x%20y", b"a=x+y", b"a", b"=", b"&&", b"a=%41%7e", b"a[]=1&a[]=2", b"q=//x//",
    b"u=http://x/?y=z", b"a=1?b=2", b"", b"a=%2F%2f", b"a=;b=c", b"a=%00",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
async def test_d03_the_query_is_passed_to_the_byte(front: Fronts, query: bytes) -> None:
    f = await front()
    client = await f.client()
    assert (await client.ask(request_bytes(b"/x?" + query))).status == 200
    assert f.upstream.requests[0].target == b"/x?" + query


async def test_d03_no_query_gets_no_question_mark(front: Fronts) -> None:
    f = await front()
    client = await f.client()
    await client.ask(request_bytes(b"/x"))
    assert f.upstream.requests[0].target == b"/x"


@pytest.mark.parametrize(
    ("target", "sent"),
    [(b"/svc", b"/"), (b"/svc?q=1", b"/?q=1"), (b"/svc/", b"/"), (b"/svc/a", b"/a"), (b"/svc/svc/a", b"/svc/a")],
)
async def test_d04_a_prefix_matches_with_and_without_its_slash(front: Fronts, target: bytes, sent: bytes) -> None:
    f = await front(route={"path": "/svc/*", "strip": "/svc"})
    client = await f.client()
    assert (await client.ask(request_bytes(target))).status == 200
    assert f.upstream.requests[0].target == sent


@pytest.mark.parametrize("target", [b"/svcx", b"/svcx/a", b"/sv", b"/a/svc/b", b"/SVC/a"])
async def test_d04_d06_what_only_resembles_a_prefix_does_not_match(front: Fronts, target: bytes) -> None:
    f = await front(route={"path": "/svc/*", "strip": "/svc"})
    client = await f.client()
    assert (await client.ask(request_bytes(target))).status == 404
    assert f.upstream.received == b""


@pytest.mark.parametrize("base", ["/base/dir", "/base/dir/"])
async def test_d05_the_base_path_of_a_target_is_kept(front: Fronts, base: str) -> None:
    upstream = await front.upstream()
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/svc/*", target=upstream.url + base, strip="/svc")
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(b"/svc/echo?x"))).status == 200
    assert upstream.requests[0].target == b"/base/dir/echo?x"


async def test_d07_hop_by_hop_fields_stop_both_ways_and_the_client_is_named(front: Fronts) -> None:
    f = await front(answer(ok(b"ok", b"connection: close, x-inner", b"x-inner: 1", b"keep-alive: timeout=1")))
    client = await f.client()
    lines = (b"connection: keep-alive, x-outer", b"x-outer: 1", b"te: gzip", b"proxy-authorization: Basic eA==")
    reply = await client.ask(request_bytes(b"/", *lines))
    (request,) = f.upstream.requests
    for name in ("x-outer", "te", "proxy-authorization"):
        assert request.all(name) == []
    assert request.header("x-forwarded-for") == "127.0.0.1"
    assert request.header("x-forwarded-proto") == "http"
    for name in ("x-inner", "keep-alive"):
        assert reply.all(name) == []
    assert (await client.ask(request_bytes())).status == 200


async def test_d08_nothing_internal_reaches_a_client(front: Fronts) -> None:
    def explode(x: object) -> None:
        raise RuntimeError("secret-detail at /srv/app/db.py")

    f = await front(policies=[explode])
    client = await f.client()
    reply = await client.ask(request_bytes())
    assert_problem(reply, 500)
    assert b"secret" not in reply.body
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/dns/*", target="http://no-such-host.invalid:8080")
    other = await front.client(await front.start(gateway))
    reply = await other.ask(request_bytes(b"/dns/x"))
    assert_problem(reply, 503)
    assert b"invalid" not in reply.body


@pytest.mark.parametrize(
    "form", [b"/svc//%b/pwn", b"//%b/pwn", b"http://%b/svc/pwn", b"/svc/http://%b/pwn", b"/svc/@%b/pwn"]
)
async def test_d09_a_request_never_chooses_its_upstream(front: Fronts, form: bytes) -> None:
    f = await front()
    victim = await front.upstream()
    client = await f.client()
    await client.ask(request_bytes(form % victim.authority.encode()))
    assert victim.connections == []
    assert all(request.header("host") == f.upstream.authority for request in f.upstream.requests)


@pytest.mark.parametrize("target", [b"/svc/%2e%2e/admin", b"/svc/../admin", b"/svc/..%2fadmin", b"/svc/%2e%2e%2fadmin"])
async def test_d09_a_path_never_climbs_out_of_its_prefix(front: Fronts, target: bytes) -> None:
    f = await front(route={"path": "/svc/*", "rewrite": {"prefix": "/svc", "to": "/inner"}})
    client = await f.client()
    assert (await client.ask(request_bytes(target))).status == 400
    assert f.upstream.received == b""


@pytest.mark.parametrize(
    "body", [b'{"a" : 1.0,  "b": 123456789012345678901234567890}\n', b"not json", b"\x00\xff\xfe", b"a=1&b=%20+"]
)
@pytest.mark.parametrize(
    "kind", [b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"]
)
async def test_d10_bodies_are_passed_untouched(front: Fronts, body: bytes, kind: bytes) -> None:
    f = await front(answer(lambda request: ok(bytes(request.body))))
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"content-type: " + kind, method=b"POST", body=body))
    assert bytes(f.upstream.requests[0].body) == body
    assert f.upstream.requests[0].header("content-length") == str(len(body))
    assert bytes(reply.body) == body


async def test_d11_an_encoded_body_keeps_its_encoding(front: Fronts) -> None:
    packed = gzip.compress(b"hello")
    f = await front(answer(ok(packed, b"content-encoding: gzip")))
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", b"accept-encoding: gzip"))
    assert reply.header("content-encoding") == "gzip"
    assert gzip.decompress(bytes(reply.body)) == b"hello"


async def test_d12_a_stream_of_events_outlives_the_response_timeout(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(6):
            await real_time(0.08)
            connection.send(b"9\r\ndata: x\n\n\r\n")
        connection.send(b"0\r\n\r\n")

    f = await front(script, policies=[{"timeout": {"response": "150ms", "idle": "1s"}}])
    client = await f.client()
    assert bytes((await client.ask(request_bytes())).body) == b"data: x\n\n" * 6


async def test_d15_a_known_path_with_another_method_is_405_and_says_which_are_allowed(front: Fronts) -> None:
    f = await front(route={"path": "/only", "methods": ["GET", "POST"]})
    client = await f.client()
    reply = await client.ask(request_bytes(b"/only", method=b"PUT", body=b"x"))
    assert_problem(reply, 405)
    allowed = {method.strip() for method in (reply.header("allow") or "").split(",")}
    assert {"GET", "POST"} <= allowed <= {"GET", "HEAD", "POST", "OPTIONS"}
    assert (await client.ask(request_bytes(b"/other", method=b"PUT", body=b"x"))).status == 404


async def burst(port: int, count: int) -> list[int]:
    """Send `count` requests at once, each on its own connection."""

    async def one() -> int:
        async with RawClient(port) as client:
            return (await client.ask(request_bytes(b"/x", method=b"POST", body=b"x" * 1000))).status

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_d19_a_dead_service_under_a_burst_of_requests_harms_nothing(front: Fronts) -> None:
    upstream = await front.upstream()
    upstream.stop_listening()
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/*", target=upstream.url)
    await front.start(gateway)
    for _ in range(3):
        assert await burst(gateway.port, 50) == [503] * 50
    revived = ScriptedUpstream(answer(ok()))
    revived.port = upstream.port
    async with revived:
        await assert_still_serves(gateway.port)


async def test_d19_a_service_that_drops_every_connection_harms_nothing(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.reset()

    f = await front(script)
    assert await burst(f.port, 100) == [502] * 100


async def test_d20_early_answers_to_large_uploads_leave_everything_in_step(front: Fronts) -> None:
    async def script(connection: UpstreamConnection) -> None:
        while True:
            request = await connection.head()
            if request.method == b"POST":
                connection.send(ok(b"too big", status=b"413 Content Too Large"))
                connection.close()
                return
            connection.send(ok(b"fine"))

    f = await front(script)
    for _ in range(10):
        client = await f.client()
        await client.send(b"POST /up HTTP/1.1\r\nhost: a.example\r\ncontent-length: 3000000\r\n\r\n" + b"x" * 500_000)
        try:
            reply = await client.reply("POST")
        except ConnectionEnded as ended:
            raise AssertionError("the early answer was lost") from ended
        assert (reply.status, bytes(reply.body)) == (413, b"too big")
        client.close()
        other = await f.client()
        assert bytes((await other.ask(request_bytes(b"/next"))).body) == b"fine"
