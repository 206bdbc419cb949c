"""Legal targets that two programs may read differently: refused, or let through where the configuration says so."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from propylon import Exchange, Gateway, Response
from propylon.testing import TestClient
from tests.support.client import request_bytes
from tests.support.front import Fronts
from tests.support.upstream import UpstreamConnection, ok

E_ACUTE = "\u00e9".encode()

CASES = [
    ({"encoded_slashes": "keep"}, b"/a%2Fb", b"/a%2Fb"),
    ({"semicolons": "keep"}, b"/a;b=1", b"/a;b=1"),
    ({"invalid_utf8": "keep"}, b"/caf%e9?x=%E9", b"/caf%E9?x=%E9"),
    ({"double_slashes": "keep"}, b"/img/https://h/x//y?u=//", b"/img/https://h/x//y?u=//"),
    ({"raw_utf8": "encode"}, b"/caf" + E_ACUTE + b"?q=" + E_ACUTE, b"/caf%C3%A9?q=%C3%A9"),
]
IDS = [next(iter(rules)) for rules, _, _ in CASES]


async def echo(connection: UpstreamConnection) -> None:
    while True:
        connection.send(ok((await connection.request()).target))


async def sent(front: Fronts, target: bytes, route: dict[str, Any], **keys: Any) -> tuple[int, bytes]:
    """Status, and the target that the service got."""
    upstream = await front.upstream(echo)
    base = route.pop("base", "")
    gateway = Gateway(listen="127.0.0.1:0", **keys).route("/*", **{"target": upstream.url + base} | route)
    client = await front.client(await front.start(gateway))
    reply = await client.ask(request_bytes(target))
    return reply.status, bytes(reply.body)


@pytest.mark.parametrize(("rules", "target", "expected"), CASES, ids=IDS)
async def test_the_gateway_may_let_them_through(
    front: Fronts, rules: dict[str, str], target: bytes, expected: bytes
) -> None:
    assert await sent(front, target, {}, paths=rules) == (200, expected)


@pytest.mark.parametrize(("rules", "target", "expected"), CASES, ids=IDS)
async def test_a_route_may_let_them_through(
    front: Fronts, rules: dict[str, str], target: bytes, expected: bytes
) -> None:
    assert await sent(front, target, {"path_rules": rules}) == (200, expected)


@pytest.mark.parametrize(("rules", "target", "expected"), CASES, ids=IDS)
async def test_a_route_may_be_stricter_than_the_gateway(
    front: Fronts, rules: dict[str, str], target: bytes, expected: bytes
) -> None:
    (key,) = rules
    strict = {"double_slashes": "merge"}.get(key, "refuse")
    status, body = await sent(front, target, {"path_rules": {key: strict}}, paths=rules)
    if key == "double_slashes":
        assert (status, body) == (200, b"/img/https:/h/x/y?u=//")
    else:
        assert status == 400


@pytest.mark.parametrize(("rules", "target", "expected"), CASES, ids=IDS)
async def test_other_routes_stay_as_strict_as_they_were(
    front: Fronts, rules: dict[str, str], target: bytes, expected: bytes
) -> None:
    gateway = Gateway(listen="127.0.0.1:0")
    gateway.route("/*", respond="here").route("/other/*", respond="there", path_rules=rules)
    client = await front.client(await front.start(gateway))
    here = await client.ask(request_bytes(target))
    assert here.status == (200 if "double_slashes" in rules else 400)
    client = await front.client(gateway)
    assert (await client.ask(request_bytes(b"/other" + target))).status == 200


@pytest.mark.parametrize(("rules", "target", "expected"), CASES, ids=IDS)
async def test_no_route_is_no_way_through(front: Fronts, rules: dict[str, str], target: bytes, expected: bytes) -> None:
    gateway = Gateway(listen="127.0.0.1:0").route("/other/*", respond="there", path_rules=rules)
    client = await front.client(await front.start(gateway))
    assert (await client.ask(request_bytes(target))).status in (400, 404)


async def test_a_refusal_tells_which_setting_there_is(front: Fronts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    f = await front()
    for target, setting in ((b"/%E9", "invalid_utf8"), (b"/?" + E_ACUTE, "raw_utf8"), (b"/a;b", "semicolons")):
        client = await f.client()
        reply = await client.ask(request_bytes(target))
        assert (reply.status, setting in reply.json()["detail"]) == (400, True)


# what `//` must not open


@pytest.mark.parametrize("target", [b"/admin//keys", b"//admin/keys", b"/admin///keys//", b"/%61dmin//keys"])
@pytest.mark.parametrize("by_route", [False, True], ids=["gateway", "route"])
def test_kept_slashes_lead_past_no_route_and_no_condition(target: bytes, by_route: bool) -> None:
    rules = {"double_slashes": "keep"}
    gateway = Gateway(
        policies=[{"respond": {"status": 403}, "when": {"paths": ["/admin/*"]}}], paths={} if by_route else rules
    )
    gateway.route("/*", respond="open", path_rules=rules)
    assert TestClient(gateway).get(target.decode()).status == 403
    gateway = Gateway(paths={} if by_route else rules)
    gateway.route("/*", respond="open", path_rules=rules).route("/admin/keys/*", respond="admin")
    assert TestClient(gateway).get(target.decode()).text == "admin"


@pytest.mark.parametrize(
    ("route", "target", "expected"),
    [
        ({"strip": "/img"}, b"/img/https://h/x", b"/https://h/x"),
        ({"strip": "/img"}, b"//img//a//b", b"/a//b"),
        ({"strip": "/img"}, b"/img//", b"/"),
        ({"rewrite": {"prefix": "/img", "to": "/k"}}, b"/img//a", b"/k//a"),
        ({"path": "/img/*", "rewrite": "/k/{*}"}, b"/img/https://h/x", b"/k/https://h/x"),
        ({"path": "/img/*", "rewrite": "/k/{*}"}, b"/img//https://h/x", b"/k/https://h/x"),
        ({"base": "/bucket"}, b"/a//b", b"/bucket/a//b"),
    ],
)
async def test_kept_slashes_pass_rewrites(front: Fronts, route: dict[str, Any], target: bytes, expected: bytes) -> None:
    path = route.pop("path", "/*")
    upstream = await front.upstream(echo)
    keys = {"target": upstream.url + route.pop("base", "")} | route
    if "strip" in keys or "prefix" in str(route):
        path = "/img/*"
    gateway = Gateway(listen="127.0.0.1:0").route(path, path_rules={"double_slashes": "keep"}, **keys)
    client = await front.client(await front.start(gateway))
    assert bytes((await client.ask(request_bytes(target))).body) == expected


def test_a_policy_sees_the_path_that_is_sent() -> None:
    seen = []

    def look(x: Exchange) -> Response:
        seen.append((x.request.path, x.path_rest))
        return Response(204)

    rules = {"double_slashes": "keep"}
    gateway = Gateway().route("/a/*", respond="x", path_rules=rules, policies=[look])
    TestClient(gateway).get("//a//b//c")
    assert seen == [("/a//b//c", b"b//c")]
