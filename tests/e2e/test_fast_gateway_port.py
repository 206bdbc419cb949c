"""The smoke suite of fast-gateway 4.2, carried over: the same routes in front of the same remote service.

Where the answers differ on purpose, the test says so: a path that exists with other methods is 405, not 404.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from propylon import Exchange, Gateway, Response
from tests.support.client import RawClient, Reply, request_bytes
from tests.support.deadline import real_time
from tests.support.front import Fronts
from tests.support.oracle import Message
from tests.support.upstream import UpstreamConnection, chunked, ok

DOCS = {"name": "Users Service", "endpoint": "/api-docs", "type": "swagger"}
JSON = b"content-type: application/json"


async def remote(connection: UpstreamConnection) -> None:
    """The remote service of the suite."""
    while True:
        request = await connection.request()
        if request.target == b"/longop":
            await real_time(0.6)
        connection.send(_remote_answer(request))


def _remote_answer(request: Message) -> bytes:
    path, _, query = request.target.partition(b"?")
    if (request.method, path) == (b"POST", b"/204"):
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    if (request.method, path) == (b"GET", b"/chunked"):
        return chunked(b"user", b"1")
    known = {b"/info", b"/longop", b"/endpoint-proxy", b"/endpoint-proxy-methods", b"/qs", b"/headers", b"/users"}
    if request.method in (b"GET", b"POST", b"PUT") and path in known and (request.method, path) != (b"POST", b"/info"):
        return ok(b'{"path": "%s", "query": "%s"}' % (path, query), JSON)
    return ok(b"", status=b"404 Not Found")


class ResponseTime:
    """Tells how long the exchange took."""

    def on_response(self, x: Exchange) -> None:
        assert x.response is not None
        x.response.headers.set("x-response-time", f"{x.elapsed * 1000:.3f}ms")


class PostProcessed:
    """Marks what passed."""

    def on_response(self, x: Exchange) -> None:
        assert x.response is not None
        x.response.headers.set("post-processed", "true")


class Cors:
    """Just enough for the suite."""

    def on_request(self, x: Exchange) -> Response | None:
        if x.request.method == "OPTIONS":
            return Response(204, headers={"access-control-allow-origin": "*"})
        return None


def abort(x: Exchange) -> Response:
    return Response(200, body="Hello World!")


def fail(x: Exchange) -> None:
    raise ValueError("ups, pre-processing error...")


def set_query(x: Exchange) -> None:
    x.request.query = "name=fast-gateway"


def short(x: Exchange) -> None:
    x.set_timeouts(response=0.2)


def suite(target: str) -> Gateway:
    """The gateway of the suite."""
    gateway = Gateway(listen="127.0.0.1:0", policies=[Cors(), short])

    def route(path: str, **settings: Any) -> None:
        gateway.route(path, target=target, **settings)

    route("/users/response-time/*", strip="/users/response-time", policies=[ResponseTime()])
    route("/users/proxy-aborted/*", policies=[abort])
    route("/users/on-request-error/*", policies=[fail])
    route("/users/rewritten/*", strip="/users/rewritten", policies=[PostProcessed()])
    route("/users/*", strip="/users", docs=DOCS)
    gateway.route(
        None, path_regex="/users-regex/.*", target=target, rewrite={"regex": "^/users-regex/(.*)$", "to": "/\\1"}
    )
    gateway.route(None, path_regex="/regex/.*", target=target, rewrite="/info")
    route("/endpoint-proxy")
    route("/endpoint-proxy-methods", methods=["GET", "POST"])
    route("/endpoint-proxy-methods-put", methods=["PUT"], rewrite="/endpoint-proxy-methods")
    route("/qs", policies=[set_query])
    route("/qs-no-overwrite", rewrite="/qs")
    route("/qs2", rewrite="/qs", query_edit={"set": {"name": "qs2"}})
    return gateway


@pytest.fixture
async def client(front: Fronts) -> RawClient:
    upstream = await front.upstream(remote)
    return await front.client(await front.start(suite(upstream.url)))


async def ask(client: RawClient, target: bytes, method: bytes = b"GET", *lines: bytes) -> Reply:
    body = b"" if method in (b"POST", b"PUT") else None
    return await client.ask(request_bytes(target, *lines, method=method, body=body))


async def test_services_json_lists_the_routes_in_order(client: RawClient) -> None:
    reply = await ask(client, b"/services.json")
    assert reply.status == 200
    assert (reply.header("content-type") or "").startswith("application/json")
    entries = reply.json()
    users = [entry for entry in entries if entry.get("docs")]
    assert [entry["docs"] for entry in users] == [DOCS]
    assert users[0]["prefix"] == "/users"


STATUSES = [
    (b"POST", b"/users/response-time/204", 204),
    (b"GET", b"/users/info", 200),
    (b"GET", b"/users-regex/info", 200),
    (b"GET", b"/endpoint-proxy", 200),
    (b"GET", b"/endpoint-proxy-methods", 200),
    (b"POST", b"/endpoint-proxy-methods", 200),
    (b"PUT", b"/endpoint-proxy-methods", 405),
    (b"PUT", b"/endpoint-proxy-methods-put", 200),
    (b"GET", b"/endpoint-proxy-methods-put", 405),
    (b"GET", b"/endpoint-proxy-sdfsfsfsf", 404),
    (b"GET", b"/regex/match", 200),
    (b"GET", b"/regex/match/deeply/nested", 200),
    (b"POST", b"/users/info", 404),
    (b"GET", b"/nowhere", 404),
]


@pytest.mark.parametrize(("method", "target", "status"), STATUSES)
async def test_statuses(client: RawClient, method: bytes, target: bytes, status: int) -> None:
    assert (await ask(client, target, method)).status == status


@pytest.mark.parametrize("target", [b"/users/info", b"/users/response-time/info"])
async def test_options_is_answered_by_the_gateways_policy(client: RawClient, target: bytes) -> None:
    reply = await ask(client, target, b"OPTIONS")
    assert reply.status == 204
    assert reply.header("access-control-allow-origin") == "*"


async def test_a_routes_policy_works_on_that_route_only(client: RawClient) -> None:
    assert (await ask(client, b"/users/info")).header("x-response-time") is None
    assert (await ask(client, b"/users/response-time/info")).header("x-response-time")


async def test_a_slow_remote_gets_504(client: RawClient) -> None:
    began = monotonic()
    assert (await ask(client, b"/users/longop")).status == 504
    assert monotonic() - began < 1.5


async def test_a_policy_answers_itself(client: RawClient) -> None:
    reply = await ask(client, b"/users/proxy-aborted/info")
    assert (reply.status, bytes(reply.body)) == (200, b"Hello World!")


async def test_a_policy_that_raises_is_500_and_says_nothing_of_it(client: RawClient) -> None:
    reply = await ask(client, b"/users/on-request-error/info")
    assert reply.status == 500
    assert b"ups" not in reply.body
    assert reply.json()["request_id"]


async def test_response_headers_are_rewritten(client: RawClient) -> None:
    assert (await ask(client, b"/users/rewritten/info")).header("post-processed") == "true"


async def test_chunked_with_connection_close(client: RawClient) -> None:
    await client.send(request_bytes(b"/users/chunked", b"connection: close"))
    reply = await client.reply()
    assert bytes(reply.body) == b"user1"
    await client.assert_closed()


async def test_chunked_with_keep_alive(client: RawClient) -> None:
    assert bytes((await ask(client, b"/users/chunked", b"GET", b"connection: keep-alive")).body) == b"user1"
    assert (await ask(client, b"/users/info")).status == 200


@pytest.mark.parametrize(
    ("target", "query"),
    [
        (b"/qs?name=nodejs&category=js", "name=fast-gateway"),
        (b"/qs-no-overwrite?name=nodejs&name=x&category=j%20s+x", "name=nodejs&name=x&category=j%20s+x"),
        (b"/qs2?name=nodejs", "name=qs2"),
        (b"/qs-no-overwrite", ""),
    ],
)
async def test_queries(client: RawClient, target: bytes, query: str) -> None:
    assert (await ask(client, target)).json() == {"path": "/qs", "query": query}


@pytest.mark.parametrize(
    ("host", "path"),
    [(b"nodejs.org:443", "/nodejs"), (b"github.com", "/github"), (b"a.company.tld", "/company"), (b"other.tld", "/")],
)
async def test_hostnames_lead_to_their_prefixes(front: Fronts, host: bytes, path: str) -> None:
    upstream = await front.upstream(remote_echo)
    gateway = Gateway(listen="127.0.0.1:0")
    for pattern, prefix in (("nodejs.org", "/nodejs"), ("github.com", "/github"), ("*.company.tld", "/company")):
        gateway.route("/*", host=pattern, target=upstream.url + prefix)
    gateway.route("/*", target=upstream.url)
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(b"/x", host=host))).body == (path.rstrip("/") + "/x").encode()


async def remote_echo(connection: UpstreamConnection) -> None:
    while True:
        connection.send(ok((await connection.request()).target))


@pytest.mark.parametrize(
    ("setting", "target", "status"), [(True, b"/services.json", 200), (False, b"/services.json", 404)]
)
async def test_services_json_is_configurable(front: Fronts, setting: bool, target: bytes, status: int) -> None:
    upstream = await front.upstream(remote)
    gateway = Gateway(listen="127.0.0.1:0", services_json=setting)
    gateway.route("/users/*", target=upstream.url)
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(target))).status == status


async def test_services_json_may_stand_elsewhere(front: Fronts) -> None:
    upstream = await front.upstream(remote)
    gateway = Gateway(listen="127.0.0.1:0", services_json="/api/catalogue")
    gateway.route("/users/*", target=upstream.url, docs=DOCS)
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(b"/services.json"))).status == 404
    assert (await client.ask(request_bytes(b"/api/catalogue"))).json()[0]["docs"] == DOCS


async def test_an_error_hook_sees_the_gateways_own_failure(front: Fronts) -> None:
    seen: list[str] = []

    class Observe:
        def on_error(self, x: Exchange, error: Exception) -> None:
            seen.append(type(error).__name__)

    upstream = await front.upstream(remote)
    upstream.stop_listening()
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/*", target=upstream.url, policies=[Observe()])
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes())).status == 503
    assert len(seen) == 1
