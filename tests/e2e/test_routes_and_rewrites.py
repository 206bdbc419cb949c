"""What a route matches, which of several wins, and what it changes on the way to its service."""

from __future__ import annotations

from typing import Any

import pytest

from propylon import Gateway
from tests.support.checks import assert_problem
from tests.support.client import RawClient, request_bytes
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, answer, ok


async def echo(connection: UpstreamConnection) -> None:
    """Answer with the target that arrived."""
    while True:
        connection.send(ok((await connection.request()).target))


async def table(front: Fronts, routes: list[dict[str, Any]], **keys: Any) -> RawClient:
    """A client of a gateway whose routes answer with their names, in the order given."""
    gateway = Gateway(listen="127.0.0.1:0", **keys)
    for settings in routes:
        name = settings["name"]
        upstream = await front.upstream(answer(ok(name.encode())))
        gateway.route(**{"target": upstream.url} | settings)
    return await front.client(await front.start(gateway))


async def won(
    client: RawClient, target: bytes, *lines: bytes, method: bytes = b"GET", host: bytes = b"a.example"
) -> str:
    reply = await client.ask(request_bytes(target, *lines, method=method, host=host))
    return bytes(reply.body).decode() if reply.status == 200 else str(reply.status)


PATHS: list[dict[str, Any]] = [
    {"name": "any", "path": "/*"},
    {"name": "regex", "path_regex": "/users/[0-9]+"},
    {"name": "rest", "path": "/users/*"},
    {"name": "parameter", "path": "/users/{id}"},
    {"name": "exact", "path": "/users/me"},
    {"name": "deeper", "path": "/users/{id}/posts/{post}"},
    {"name": "two", "path": ["/one", "/other/*"]},
]


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"/users/me", "exact"), (b"/users/42", "parameter"), (b"/users/42/posts/7", "deeper"), (b"/users/", "rest"),
        (b"/users/42/posts", "rest"), (b"/users", "rest"), (b"/", "any"), (b"/usersx", "any"), (b"/one", "two"),
        (b"/one/x", "any"), (b"/other/x/y", "two"), (b"/users/me?x=1", "exact"), (b"/users//me", "exact"),
        (b"/users/%6de", "exact"),
    ],
)  # fmt: skip
async def test_the_most_specific_path_wins_whatever_the_order(
    front: Fronts, target: bytes, name: str, backwards: bool
) -> None:
    client = await table(front, PATHS[::-1] if backwards else PATHS)
    assert await won(client, target) == name


async def test_a_regex_matches_the_whole_path_only(front: Fronts) -> None:
    client = await table(front, [{"name": "regex", "path_regex": "/v[12]/x"}])
    assert await won(client, b"/v1/x") == "regex"
    assert await won(client, b"/v1/x/y") == "404"
    assert await won(client, b"/a/v1/x") == "404"


async def test_hosts_exact_before_wildcard_before_any(front: Fronts) -> None:
    client = await table(
        front,
        [
            {"name": "any", "path": "/*"},
            {"name": "wildcard", "path": "/*", "host": "*.example"},
            {"name": "longer", "path": "/*", "host": "*.b.example"},
            {"name": "exact", "path": "/*", "host": ["a.example", "z.example"]},
        ],
    )
    for host, name in (
        (b"a.example", "exact"), (b"Z.EXAMPLE:8080", "exact"), (b"c.example", "wildcard"), (b"x.b.example", "longer"),
        (b"b.example", "wildcard"), (b"example", "any"), (b"other.org", "any"),
    ):  # fmt: skip
        assert await won(client, b"/", host=host) == name, host


async def test_methods_and_405_with_allow(front: Fronts) -> None:
    client = await table(
        front,
        [
            {"name": "read", "path": "/x", "methods": ["GET"]},
            {"name": "write", "path": "/x", "methods": ["POST", "PUT"]},
        ],
    )
    assert await won(client, b"/x") == "read"
    assert (await client.ask(request_bytes(b"/x", method=b"HEAD"))).status == 200
    assert await won(client, b"/x", method=b"POST") == "write"
    reply = await client.ask(request_bytes(b"/x", method=b"DELETE"))
    assert assert_problem(reply, 405) == "match.method"
    assert {"GET", "POST", "PUT"} <= {word.strip() for word in (reply.header("allow") or "").split(",")}
    assert await won(client, b"/y", method=b"DELETE") == "404"


async def test_headers_query_and_clients_narrow_a_route(front: Fronts) -> None:
    client = await table(
        front,
        [
            {"name": "plain", "path": "/x"},
            {"name": "header", "path": "/x", "headers": {"x-version": "2"}},
            {"name": "present", "path": "/x", "headers": {"x-beta": "*"}},
            {"name": "regex", "path": "/x", "headers": {"user-agent": {"regex": "curl/.*"}}},
            {"name": "query", "path": "/x", "query": {"mode": "fast"}},
            {"name": "foreign", "path": "/x", "clients": ["10.0.0.0/8"], "priority": 1},
            {"name": "local", "path": "/local", "clients": ["127.0.0.0/8"]},
        ],
    )
    assert await won(client, b"/x") == "plain"
    assert await won(client, b"/x", b"X-Version: 2") == "header"
    assert await won(client, b"/x", b"x-version: 3") == "plain"
    assert await won(client, b"/x", b"x-beta: whatever") == "present"
    assert await won(client, b"/x", b"user-agent: curl/8.1") == "regex"
    assert await won(client, b"/x?mode=fast") == "query"
    assert await won(client, b"/x?a=1&%6dode=fast") == "query"
    assert await won(client, b"/x?mode=slow") == "plain"
    assert await won(client, b"/local") == "local"


async def test_priority_stands_above_precision(front: Fronts) -> None:
    client = await table(front, [{"name": "exact", "path": "/x"}, {"name": "first", "path": "/*", "priority": 10}])
    assert await won(client, b"/x") == "first"


async def test_the_earlier_of_two_equal_routes_wins(front: Fronts) -> None:
    client = await table(
        front,
        [
            {"name": "one", "path": "/x", "headers": {"x-a": "1"}},
            {"name": "two", "path": "/x", "headers": {"x-b": "1"}},
        ],
    )
    assert await won(client, b"/x", b"x-a: 1", b"x-b: 1") == "one"


REWRITES: list[tuple[dict[str, Any], bytes, bytes]] = [
    ({"path": "/api/*", "strip": "/api"}, b"/api/users/1", b"/users/1"),
    ({"path": "/api/*", "strip": "/api"}, b"/api", b"/"),
    ({"path": "/api/*", "strip": "/api"}, b"/api?x=1", b"/?x=1"),
    ({"path": "/api/*"}, b"/api/x", b"/api/x"),
    ({"path": "/u/{id}", "rewrite": "/v2/users/{id}"}, b"/u/42?x=1", b"/v2/users/42?x=1"),
    ({"path": "/u/{id}/{sub}", "rewrite": "/{sub}/of/{id}"}, b"/u/4%202/posts", b"/posts/of/4%202"),
    ({"path": "/a/*", "rewrite": {"prefix": "/a", "to": "/b/c"}}, b"/a/x", b"/b/c/x"),
    ({"path": "/a/*", "rewrite": {"prefix": "/a", "to": "/"}}, b"/a/x", b"/x"),
    (
        {"path": "/a/*", "rewrite": {"regex": "^/a/([a-z]+)/(.*)$", "to": "/\\2/\\1"}},
        b"/a/one/two/three",
        b"/two/three/one",
    ),
    ({"path": "/a/*", "rewrite": {"regex": "^/a/([a-z]+)$", "to": "/\\1"}}, b"/a/123", b"/a/123"),
    ({"path": "/q", "query_edit": {"set": {"a": "1"}, "remove": ["b"]}}, b"/q?a=0&b=2&c=%20", b"/q?a=1&c=%20"),
    ({"path": "/q", "query_edit": {"add": {"a": "2"}}}, b"/q?a=1", b"/q?a=1&a=2"),
    ({"path": "/q", "query_edit": {"add": {"a": "x y&z"}}}, b"/q", b"/q?a=x%20y%26z"),
    ({"path": "/q", "query_edit": {"remove": ["a"]}}, b"/q?a=1", b"/q"),
]


@pytest.mark.parametrize(("settings", "target", "sent"), REWRITES)
async def test_rewrites(front: Fronts, settings: dict[str, Any], target: bytes, sent: bytes) -> None:
    f = await front(route=settings)
    client = await f.client()
    assert (await client.ask(request_bytes(target))).status == 200
    assert f.upstream.requests[0].target == sent


@pytest.mark.parametrize(
    ("rule", "sent"), [("endpoint", None), ("preserve", "a.example:81"), ("inner.example", "inner.example")]
)
async def test_the_host_that_a_service_sees(front: Fronts, rule: str, sent: str | None) -> None:
    upstream = await front.upstream()
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.service("inner", endpoints=[upstream.url], host=rule)
    gateway.route("/*", service="inner")
    client = await front.client(await front.start(gateway))
    await client.ask(request_bytes(host=b"a.example:81"))
    (request,) = upstream.requests
    assert request.header("host") == (sent or upstream.authority)
    assert request.header("x-forwarded-host") == "a.example:81"


REPLACED = [
    # base path of the target, prefix -> its replacement (None: strip), request -> what the service gets
    ("", "/a", None, b"/a", b"/"),
    ("", "/a", None, b"/a/", b"/"),
    ("", "/a", None, b"/a?t=1", b"/?t=1"),
    ("", "/a", None, b"/a/?t=1", b"/?t=1"),
    ("", "/a", None, b"/a/x?y", b"/x?y"),
    ("", "/a", None, b"/a/x/", b"/x/"),
    ("", "/a/", None, b"/a", b"/"),
    ("/base", "/a", None, b"/a", b"/base"),
    ("/base", "/a", None, b"/a?", b"/base?"),
    ("/base", "/a", None, b"/a?t=1", b"/base?t=1"),
    ("/base", "/a", None, b"/a/", b"/base/"),
    ("/base", "/a", None, b"/a/?t=1", b"/base/?t=1"),
    ("/base", "/a", None, b"/a/x?y", b"/base/x?y"),
    ("/base/", "/a", None, b"/a", b"/base/"),
    ("/base/", "/a", None, b"/a?t=1", b"/base/?t=1"),
    ("/base/", "/a", None, b"/a/", b"/base/"),
    ("/base/", "/a", None, b"/a/x", b"/base/x"),
    ("/rpc/graphql", "/graphql/v1", None, b"/graphql/v1", b"/rpc/graphql"),
    ("/rpc/graphql", "/graphql/v1", None, b"/graphql/v1/", b"/rpc/graphql/"),
    ("/base", "/", None, b"/", b"/base/"),
    ("", "/a", "/b", b"/a", b"/b"),
    ("", "/a", "/b", b"/a/", b"/b/"),
    ("", "/a", "/b", b"/a?t=1", b"/b?t=1"),
    ("", "/a/", "/b/", b"/a", b"/b"),
    ("", "/a", "/b/", b"/a/x", b"/b/x"),
    ("", "/a", "/", b"/a", b"/"),
    ("/base", "/a", "/b", b"/a", b"/base/b"),
    ("/base", "/a", "/b", b"/a/", b"/base/b/"),
    ("/base", "/a", "/", b"/a", b"/base"),
    ("/base", "/a", "/", b"/a/", b"/base/"),
    ("/base/", "/a", "/b", b"/a", b"/base/b"),
]


@pytest.mark.parametrize(("base", "prefix", "to", "target", "sent"), REPLACED)
async def test_a_final_slash_is_neither_added_nor_lost(
    front: Fronts, base: str, prefix: str, to: str | None, target: bytes, sent: bytes
) -> None:
    upstream = await front.upstream(echo)
    gateway = Gateway(listen="127.0.0.1:0")
    change: dict[str, Any] = {"strip": prefix} if to is None else {"rewrite": {"prefix": prefix, "to": to}}
    gateway.route(f"{prefix.rstrip('/')}/*", target=upstream.url + base, **change)
    client = await front.client(await front.start(gateway))
    assert bytes((await client.ask(request_bytes(target))).body) == sent


async def test_several_endpoints_take_turns(front: Fronts) -> None:
    first, second = await front.upstream(answer(ok(b"1"))), await front.upstream(answer(ok(b"2")))
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.service("both", endpoints=[first.url, {"url": second.url}])
    gateway.route("/*", service="both")
    client = await front.client(await front.start(gateway))
    answers = {bytes((await client.ask(request_bytes())).body) for _ in range(10)}
    assert answers == {b"1", b"2"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_route_may_redirect(front: Fronts, status: int) -> None:
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/old/*", redirect={"https": True, "host": "new.example", "status": status})
    client = await front.client(await front.start(gateway))
    reply = await client.ask(request_bytes(b"/old/x?y"))
    assert reply.status == status
    assert reply.header("location") == "https://new.example/old/x?y"
    assert (await client.ask(request_bytes(b"/old/y"))).status == status


async def test_a_route_may_answer_itself(front: Fronts) -> None:
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/hello", respond={"status": 203, "body": "hello"})
    client = await front.client(await front.start(gateway))
    reply = await client.ask(request_bytes(b"/hello"))
    assert (reply.status, bytes(reply.body)) == (203, b"hello")
    head = await client.ask(request_bytes(b"/hello", method=b"HEAD"))
    assert (head.status, bytes(head.body), head.header("content-length")) == (203, b"", "5")
    posted = await client.ask(request_bytes(b"/hello", method=b"POST", body=b"ignored"))
    assert (posted.status, bytes(posted.body)) == (203, b"hello")


async def test_a_redirect_never_carries_a_line_break(front: Fronts) -> None:
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/old/*", redirect={"https": True, "host": "new.example"})
    client = await front.client(await front.start(gateway))
    await client.send(request_bytes(b"/old/%0d%0aset-cookie:x"))
    assert (await client.reply()).status == 400


async def test_all_requests_of_a_route_share_its_service(front: Fronts) -> None:
    f = await front(route={"path": ["/a", "/b/*"]})
    client = await f.client()
    for target in (b"/a", b"/b", b"/b/c"):
        assert (await client.ask(request_bytes(target))).status == 200
    assert len(f.upstream.connections) == 1


async def test_several_listeners_serve_the_same_routes(front: Fronts, tmp_path: Any) -> None:
    path = str(tmp_path / "gateway.sock")
    f = await front(listen=["127.0.0.1:0", f"unix:{path}"])
    tcp = await f.client()
    assert (await tcp.ask(request_bytes())).status == 200
    async with RawClient(0, unix=path) as client:
        assert (await client.ask(request_bytes())).status == 200
    assert len(f.upstream.requests) == 2
